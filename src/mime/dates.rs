//! The date ladder: what the store holds, else `Received`, else `Date`, else the file's time, and which it was.
//!
//! Dates are read by a tokenizer of our own. mail-parser agrees with it on every well-formed date (the tests compare),
//! but reads `GMT+0200` and `CEST` as UTC, accepts day 32 and 30 February, and gives up on a date without a zone.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::HeaderFacts;
use crate::model::{DateRule, InternalDate};

/// Bytes of a date that are looked at; longer ones are no dates, and mail is hostile.
const MAX_BYTES: usize = 512;
/// 1970-01-01T00:00:00Z to 2100-12-31T23:59:59Z; beyond are broken clocks.
const RANGE_S: std::ops::RangeInclusive<i64> = 0..=4_133_980_799;

/// Reads a date as mail has them (RFC 5322 3.3 with its obsolete forms, and what is met in life); `None` if it is none.
///
/// Besides RFC 5322: ctime, ISO 8601, `01-Jan-2024`, years of two digits, a time of day missing or with `AM`/`PM`, zones such
/// as `GMT+0200` and `CEST`. An unknown zone, or none, is taken for UTC. The result is in whole seconds from 1970 to 2100.
pub fn parse_date(text: &[u8]) -> Option<Timestamp> {
    let mut parts = Parts::default();
    let mut commented_zone = None;
    for_each_word(text.get(..MAX_BYTES).unwrap_or(text), |word, in_comment| {
        if !in_comment {
            return parts.take(word);
        }
        if commented_zone.is_none() {
            commented_zone = zone(word);
        }
        Some(())
    })?;
    parts.zone_s = parts.zone_s.or(commented_zone);
    parts.timestamp()
}

/// The internal date of an item: the store's own first, whatever its rule, then the topmost `Received`, then `Date`, and
/// the file's time only when there is nothing else.
pub fn internal_date(stored: Option<InternalDate>, facts: &HeaderFacts, file_time: Option<Timestamp>) -> Option<InternalDate> {
    let by = |rule| move |at| InternalDate { at, rule };
    stored
        .or_else(|| facts.received.map(by(DateRule::Received)))
        .or_else(|| facts.date.map(by(DateRule::DateHeader)))
        .or_else(|| file_time.map(by(DateRule::FileTime)))
}

/// Calls `f` with each word and whether it stands in a comment; stops when `f` gives `None`.
fn for_each_word(text: &[u8], mut f: impl FnMut(&[u8], bool) -> Option<()>) -> Option<()> {
    let mut depth = 0usize;
    let mut word = Vec::with_capacity(32);
    for &byte in text {
        let parts_words = byte.is_ascii_whitespace() || matches!(byte, b',' | b'(' | b')' | b'"' | 0 | 0x0b);
        if !parts_words {
            word.push(byte);
            continue;
        }
        if !word.is_empty() {
            f(&word, depth > 0)?;
            word.clear();
        }
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    if word.is_empty() { Some(()) } else { f(&word, depth > 0) }
}

/// What has been read of a date so far.
#[derive(Debug, Default)]
struct Parts {
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
    /// Hour, minute, second.
    time: Option<(i8, i8, i8)>,
    afternoon: Option<bool>,
    zone_s: Option<i32>,
    words: usize,
}

impl Parts {
    /// Takes the next word; `None` when this cannot be a date.
    fn take(&mut self, word: &[u8]) -> Option<()> {
        self.words += 1;
        let first = *word.first()?;
        if first.is_ascii_alphabetic() {
            return self.take_name(word);
        }
        if matches!(first, b'+' | b'-') && self.time.is_some() {
            self.zone_s = self.zone_s.or_else(|| zone(word));
            return Some(());
        }
        if first.is_ascii_digit() {
            if word.contains(&b':') && (self.day.is_some() || !word.contains(&b'-')) {
                return self.take_time(word);
            }
            if word.contains(&b'-') || word.contains(&b'/') {
                return self.take_joined(word);
            }
            return self.take_number(word);
        }
        // Non-ASCII names of days and stray punctuation: harmless first, or after the date.
        (self.words == 1 || self.time.is_some()).then_some(())
    }

    fn take_name(&mut self, word: &[u8]) -> Option<()> {
        if word.eq_ignore_ascii_case(b"am") || word.eq_ignore_ascii_case(b"pm") {
            self.afternoon = Some(word.eq_ignore_ascii_case(b"pm"));
        } else if let Some(month) = month(word) {
            // A second month is a day's name in another language (`mar.` for Tuesday): which is which cannot be known.
            if self.month.replace(month).is_some() {
                return None;
            }
        } else if is_day_name(word) {
        } else if self.time.is_some() {
            self.zone_s = self.zone_s.or_else(|| zone(word));
        } else if self.words > 1 && !self.has_date() {
            return None;
        }
        Some(())
    }

    fn has_date(&self) -> bool {
        self.day.is_some() && self.month.is_some() && self.year.is_some()
    }

    /// A day, a year, or a zone without its sign.
    fn take_number(&mut self, word: &[u8]) -> Option<()> {
        let word = word.strip_suffix(b".").unwrap_or(word);
        let dots = word.iter().filter(|&&b| b == b'.').count();
        if dots == 2 && self.has_date() && self.time.is_none() {
            return self.take_time(&word.iter().map(|&b| if b == b'.' { b':' } else { b }).collect::<Vec<_>>());
        }
        let value = number(word)?;
        if self.day.is_none() && word.len() <= 2 {
            self.day = Some(i8::try_from(value).ok()?);
        } else if self.year.is_none() {
            self.year = Some(year(word.len(), value)?);
        } else if self.time.is_some() && word.len() == 4 && self.zone_s.is_none() {
            self.zone_s = digits_zone(word);
        } else {
            return None;
        }
        Some(())
    }

    /// `HH:MM`, `HH:MM:SS` or with a fraction, and perhaps a zone glued to it.
    fn take_time(&mut self, word: &[u8]) -> Option<()> {
        let end = word.iter().position(|b| !b.is_ascii_digit() && !matches!(b, b':' | b'.')).unwrap_or(word.len());
        let (clock, rest) = word.split_at_checked(end)?;
        let whole = clock.split(|&b| b == b'.').next()?;
        let mut fields = whole.split(|&b| b == b':');
        let mut field = || fields.next().map(|text| (text.len() <= 2).then(|| number(text)).flatten());
        let hour = field()??;
        let minute = field()??;
        let second = field().unwrap_or(Some(0))?;
        if fields.next().is_some() || self.time.is_some() || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        // A leap second has no place of its own in Unix time.
        let second = second.min(59);
        self.time = Some((i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, i8::try_from(second).ok()?));
        if !rest.is_empty() {
            match rest.to_ascii_lowercase().as_slice() {
                b"am" => self.afternoon = Some(false),
                b"pm" => self.afternoon = Some(true),
                _ => self.zone_s = zone(rest),
            }
        }
        Some(())
    }

    /// `2024-01-31`, `2024/01/31`, `2024-01-31T10:00:00Z`, `31-Jan-2024`.
    fn take_joined(&mut self, word: &[u8]) -> Option<()> {
        if self.day.is_some() || self.month.is_some() || self.year.is_some() {
            return None;
        }
        let mut fields = word.splitn(3, |b| matches!(b, b'-' | b'/'));
        let (first, second, third) = (fields.next()?, fields.next()?, fields.next()?);
        if first.len() == 4 {
            let end = third.iter().position(|b| !b.is_ascii_digit()).unwrap_or(third.len());
            let (day, rest) = third.split_at_checked(end)?;
            self.year = Some(i16::try_from(number(first)?).ok()?);
            self.month = Some(month(second).or_else(|| number(second).and_then(|m| i8::try_from(m).ok()))?);
            self.day = Some(i8::try_from(number(day)?).ok()?);
            return match rest {
                [] => Some(()),
                [b'T' | b't' | b'_', time @ ..] => self.take_time(time),
                _ => None,
            };
        }
        // With the month as a number, `01/02/2024` could be either day.
        self.month = Some(month(second)?);
        self.day = Some(i8::try_from(number(first)?).ok()?);
        self.year = Some(year(third.len(), number(third)?)?);
        Some(())
    }

    fn timestamp(&self) -> Option<Timestamp> {
        let (mut hour, minute, second) = self.time.unwrap_or_default();
        match self.afternoon {
            Some(true) if hour < 12 => hour += 12,
            Some(false) if hour == 12 => hour = 0,
            _ => {}
        }
        let local = DateTime::new(self.year?, self.month?, self.day?, hour, minute, second, 0).ok()?;
        let offset = Offset::from_seconds(self.zone_s.unwrap_or(0)).ok()?;
        let at = offset.to_timestamp(local).ok()?;
        RANGE_S.contains(&at.as_second()).then_some(at)
    }
}

/// A number of at most six digits.
fn number(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 6 {
        return None;
    }
    text.iter().try_fold(0u32, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u32::from(b - b'0')))
}

/// A year of two, three or four digits (RFC 5322 4.3).
fn year(digits: usize, value: u32) -> Option<i16> {
    let full = match (digits, value) {
        (2, 0..=49) => value + 2000,
        (2 | 3, _) => value + 1900,
        (4, _) => value,
        _ => return None,
    };
    i16::try_from(full).ok()
}

/// English months, in lower case.
pub(crate) const MONTHS: [&[u8]; 12] = [
    b"january",
    b"february",
    b"march",
    b"april",
    b"may",
    b"june",
    b"july",
    b"august",
    b"september",
    b"october",
    b"november",
    b"december",
];
/// English days of the week, in lower case.
pub(crate) const DAYS: [&[u8]; 7] = [b"monday", b"tuesday", b"wednesday", b"thursday", b"friday", b"saturday", b"sunday"];

/// An English month, whole or cut to three letters or more, perhaps with a full stop.
fn month(word: &[u8]) -> Option<i8> {
    position_of_prefix(&MONTHS, word).and_then(|i| i8::try_from(i + 1).ok())
}

fn is_day_name(word: &[u8]) -> bool {
    position_of_prefix(&DAYS, word).is_some()
}

fn position_of_prefix(names: &[&[u8]], word: &[u8]) -> Option<usize> {
    let word = word.strip_suffix(b".").unwrap_or(word);
    if word.len() < 3 {
        return None;
    }
    names.iter().position(|name| name.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word)))
}

/// Seconds east of Greenwich; `None` if the word is no zone that we know.
///
/// Names that several countries use (`IST`, `CST` outside America, `BST` in Bangladesh) have the meaning of RFC 5322, else
/// the European one, else none. Military letters are UTC, as RFC 5322 4.3 demands, for RFC 822 had their signs wrong.
fn zone(word: &[u8]) -> Option<i32> {
    let at = word.iter().position(|b| matches!(b, b'+' | b'-')).unwrap_or(word.len());
    let (name, offset) = word.split_at_checked(at)?;
    let hours = match name.to_ascii_uppercase().as_slice() {
        b"" => None,
        b"EDT" => Some(-4.0),
        b"EST" | b"CDT" => Some(-5.0),
        b"CST" | b"MDT" => Some(-6.0),
        b"MST" | b"PDT" => Some(-7.0),
        b"PST" | b"AKDT" => Some(-8.0),
        b"AKST" => Some(-9.0),
        b"HST" => Some(-10.0),
        b"NDT" => Some(-2.5),
        b"NST" => Some(-3.5),
        b"ADT" | b"BRT" | b"ART" => Some(-3.0),
        b"AST" => Some(-4.0),
        b"UT" | b"UTC" | b"GMT" | b"WET" => Some(0.0),
        b"CET" | b"MET" | b"MEZ" | b"BST" | b"WEST" => Some(1.0),
        b"CEST" | b"MEST" | b"MESZ" | b"EET" | b"SAST" => Some(2.0),
        b"EEST" | b"MSK" => Some(3.0),
        b"MSD" => Some(4.0),
        b"HKT" | b"SGT" | b"AWST" => Some(8.0),
        b"JST" | b"KST" => Some(9.0),
        b"ACST" => Some(9.5),
        b"AEST" => Some(10.0),
        b"ACDT" => Some(10.5),
        b"AEDT" => Some(11.0),
        b"NZST" => Some(12.0),
        b"NZDT" => Some(13.0),
        [b'A'..=b'Z'] => Some(0.0),
        _ => return None,
    };
    let (sign, digits) = match offset {
        [b'+', digits @ ..] => (1, digits),
        [b'-', digits @ ..] => (-1, digits),
        // Exact: all of them are multiples of a half.
        #[expect(clippy::cast_possible_truncation)]
        _ => return hours.map(|h: f64| (h * 3600.0) as i32),
    };
    let seconds = match digits.iter().position(|&b| b == b':') {
        Some(colon) => {
            let (hh, mm) = digits.split_at_checked(colon)?;
            clock_offset(number(hh)?, number(mm.get(1..)?)?)
        }
        None => digits_zone(digits),
    };
    seconds.map(|s| sign * s)
}

/// `HHMM`, `HMM`, `HH` or `H`.
fn digits_zone(digits: &[u8]) -> Option<i32> {
    let value = number(digits)?;
    match digits.len() {
        1 | 2 => clock_offset(value, 0),
        3 | 4 => clock_offset(value / 100, value % 100),
        _ => None,
    }
}

fn clock_offset(hours: u32, minutes: u32) -> Option<i32> {
    (hours <= 23 && minutes <= 59).then(|| i32::try_from(hours * 3600 + minutes * 60).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn iso(text: &str) -> Option<String> {
        parse_date(text.as_bytes()).map(|at| at.to_string())
    }

    #[test]
    fn dates_that_mail_has_are_read() {
        for (text, want) in [
            ("Mon, 01 Jan 2024 10:00:00 +0100", "2024-01-01T09:00:00Z"),
            ("1 Jan 2024 10:00 -0330", "2024-01-01T13:30:00Z"),
            ("  Mon,\r\n 1 Jan\r\n 2024 10:00:00\r\n\t+0000 (a (nested) comment)", "2024-01-01T10:00:00Z"),
            ("Mon, 1 Jan 2024 10:00:00", "2024-01-01T10:00:00Z"),
            ("Mon, 1 Jan 2024 10:00:00 (CET)", "2024-01-01T09:00:00Z"),
            ("Mon, 1 Jan 2024 10:00:00 GMT+0200", "2024-01-01T08:00:00Z"),
            ("Mon, 1 Jan 2024 10:00:00 UTC-05:30", "2024-01-01T15:30:00Z"),
            ("Mon, 1 Jul 2024 10:00:00 CEST", "2024-07-01T08:00:00Z"),
            ("Mon, 1 Jul 2024 10:00:00 PDT", "2024-07-01T17:00:00Z"),
            ("Mon, 1 Jul 2024 10:00:00 EST", "2024-07-01T15:00:00Z"),
            ("Mon, 1 Jul 2024 10:00:00 A", "2024-07-01T10:00:00Z"),
            ("Mon, 1 Jul 2024 10:00:00 Z", "2024-07-01T10:00:00Z"),
            ("Mon, 1 Jul 2024 10:00:00 Nowhere/Land", "2024-07-01T10:00:00Z"),
            ("Mon, 1 Jul 2024 10:00:00 +9999", "2024-07-01T10:00:00Z"),
            ("Mon, 1 Jul 2024 10:00:00 0200", "2024-07-01T08:00:00Z"),
            ("Mon, 1 Jul 2024 10:00:00 -800", "2024-07-01T18:00:00Z"),
            ("Mon Jan  1 10:00:00 2024", "2024-01-01T10:00:00Z"),
            ("Mon Jan  1 10:00:00 CET 2024", "2024-01-01T09:00:00Z"),
            ("Mon Jan  1 10:00:00 2024 +0100", "2024-01-01T09:00:00Z"),
            ("Mon Jan  1 10:00:00 +0100 2024", "2024-01-01T09:00:00Z"),
            ("2024-01-31T10:00:00Z", "2024-01-31T10:00:00Z"),
            ("2024-01-31T10:00:00.123+02:00", "2024-01-31T08:00:00Z"),
            ("2024-01-31 10:00:00 +0200", "2024-01-31T08:00:00Z"),
            ("2024/01/31 10:00", "2024-01-31T10:00:00Z"),
            ("01-Jan-2024 10:00:00 +0100", "2024-01-01T09:00:00Z"),
            ("1-Jan-24", "2024-01-01T00:00:00Z"),
            ("Thu, 31 Dec 98 23:59:59 GMT", "1998-12-31T23:59:59Z"),
            ("Sat, 1 Jan 100 00:00:00 GMT", "2000-01-01T00:00:00Z"),
            ("Monday, January 1, 2024 3:05 PM", "2024-01-01T15:05:00Z"),
            ("Monday, January 1, 2024 12:05AM", "2024-01-01T00:05:00Z"),
            ("Mo, 1 Sept. 2024 10:00:00 +0000", "2024-09-01T10:00:00Z"),
            ("Sat, 31 Dec 2016 23:59:60 +0000", "2016-12-31T23:59:59Z"),
            ("Thu, 29 Feb 2024 10.15.30 +0000", "2024-02-29T10:15:30Z"),
        ] {
            assert_eq!(iso(text).as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_not_guessed() {
        for text in [
            "",
            "()",
            "yesterday",
            "Mon, 32 Jan 2024 10:00:00 +0000",
            "Fri, 30 Feb 2024 10:00:00 +0000",
            "Mon, 1 Jan 2024 25:00:00 +0000",
            "Mon, 1 Jan 2024 10:61:00 +0000",
            "01/02/2024 10:00:00",
            "mar., 5 abr 2024 10:00:00 +0000",
            "mar 5 avr 2024 10:00:00",
            "1 Jan 10:00:00",
            "Wed, 31 Dec 1969 23:59:59 +0000",
            "Thu, 1 Jan 1970 00:30:00 +0100",
            "Sat, 1 Jan 2101 00:00:00 +0000",
            "1 1 1 1",
        ] {
            assert_eq!(iso(text), None, "{text}");
        }
    }

    #[test]
    fn the_ladder_says_which_rung_held() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let facts = HeaderFacts { received: Some(at(2)), date: Some(at(3)), ..HeaderFacts::default() };
        let stored = InternalDate { at: at(1), rule: DateRule::FileTime };
        assert_eq!(internal_date(Some(stored), &facts, Some(at(4))), Some(stored));
        let rung = |facts: &HeaderFacts| internal_date(None, facts, Some(at(4))).map(|d| (d.at.as_second(), d.rule));
        assert_eq!(rung(&facts), Some((2, DateRule::Received)));
        assert_eq!(rung(&HeaderFacts { received: None, ..facts.clone() }), Some((3, DateRule::DateHeader)));
        assert_eq!(rung(&HeaderFacts::default()), Some((4, DateRule::FileTime)));
        assert_eq!(internal_date(None, &HeaderFacts::default(), None), None);
    }

    proptest! {
        #[test]
        fn well_formed_dates_agree_with_mail_parser(at in 0i64..4_000_000_000, zone_minutes in -840i32..840) {
            let zone = Offset::from_seconds(zone_minutes * 60).unwrap();
            let at = Timestamp::from_second(at).unwrap();
            let text = zone.to_datetime(at).strftime("%a, %d %b %Y %H:%M:%S ").to_string()
                + &format!("{}{:02}{:02}", if zone_minutes < 0 { '-' } else { '+' }, zone_minutes.abs() / 60, zone_minutes.abs() % 60);
            let theirs = mail_parser::DateTime::parse_rfc822(&format!("{text}\n")).unwrap();
            prop_assert_eq!(theirs.to_timestamp(), at.as_second());
            prop_assert_eq!(parse_date(text.as_bytes()), Some(at));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            parse_date(&bytes);
        }

        #[test]
        fn no_words_make_it_panic(words in proptest::collection::vec(prop_oneof![
            "[0-9]{1,7}", "[0-9]{1,3}[:.-][0-9]{0,3}[:.-][0-9T+:-]{0,8}", "[+-][0-9:]{0,6}", "[A-Za-z]{1,5}[+-]?[0-9]{0,4}",
            Just("(".to_owned()), Just(")".to_owned()), Just("Jan".to_owned()), Just("PM".to_owned())], 0..9)) {
            if let Some(at) = parse_date(words.join(" ").as_bytes()) {
                prop_assert!(RANGE_S.contains(&at.as_second()));
            }
        }
    }
}
