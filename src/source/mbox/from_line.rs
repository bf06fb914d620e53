//! From_ lines: the line that starts a message in an mbox, in the many ways that programs have written it.
//!
//! `From SENDER DATE`, where the sender may be missing, quoted or `user at host`, and the date is asctime's with or without
//! weekday, seconds and zone, the form of RFC 5322, or ISO 8601. Everything is bytes: a sender need not be UTF-8.

use crate::mime::{DAYS, MONTHS};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;

/// Longest From_ line that is looked at; a longer one is text.
pub(super) const MAX_LINE_BYTES: usize = 4096;

/// More words than this are prose, not a From_ line.
const MAX_WORDS: usize = 40;

/// What a From_ line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FromLine {
    /// The moment it names; UTC where it names no zone. None without a date, or with one that no calendar has.
    pub date: Option<Timestamp>,
    /// The zone is a name that stands for no known offset, so UTC was taken.
    pub unknown_zone: bool,
    /// `From - DATE`, as Netscape and its descendants write it.
    pub netscape: bool,
    /// Gmail's own id of the message, in its exports (`From 1628424719502045299@xxx`).
    pub gmail_id: Option<String>,
}

/// Reads a From_ line; `next` is the beginning of the line after it. None if it is not one that starts a message.
pub(super) fn parse(line: &[u8], next: &[u8]) -> Option<FromLine> {
    let rest = line.strip_prefix(b"From ")?;
    if line.len() > MAX_LINE_BYTES {
        return None;
    }
    let mut words: Vec<&[u8]> = rest.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty()).take(MAX_WORDS + 1).collect();
    if words.len() > MAX_WORDS {
        return None;
    }
    if let [.., b"remote", b"from", _] = words.as_slice() {
        words.truncate(words.len() - 3);
    }
    while words.len() > 1 && words.last().is_some_and(|w| w.starts_with(b"(") && w.ends_with(b")")) {
        words.pop();
    }
    let found = (0..words.len()).find_map(|at| {
        let (sender, date) = words.split_at_checked(at)?;
        Some((sender, read_date(date)?))
    });
    match found {
        Some((sender, moment)) if is_sender(sender) || is_header(next) => Some(FromLine {
            date: moment.at,
            unknown_zone: moment.unknown_zone,
            netscape: sender == [b"-"],
            gmail_id: gmail_id(sender),
        }),
        Some(_) => None,
        // Without a date only an address that a header follows can be told from prose.
        None => match words.as_slice() {
            [one]
                if (one.contains(&b'@') && !one.starts_with(b":") || matches!(*one, b"-" | b"MAILER-DAEMON"))
                    && is_header(next) =>
            {
                Some(FromLine { netscape: *one == b"-", gmail_id: gmail_id(&words), ..FromLine::default() })
            }
            _ => None,
        },
    }
}

/// Does a header field's name and colon stand here?
pub(super) fn is_header(line: &[u8]) -> bool {
    let name = line.iter().take(80).take_while(|b| matches!(b, 33..=57 | 59..=126)).count();
    name > 0 && line.get(name) == Some(&b':')
}

/// Is it a sender: nothing, one word, something in quotes, or a list archive's `user at host`?
fn is_sender(words: &[&[u8]]) -> bool {
    match words {
        [] | [_] | [_, b"at", _] => true,
        [first, .., last] => first.starts_with(b"\"") && last.contains(&b'"'),
    }
}

fn gmail_id(sender: &[&[u8]]) -> Option<String> {
    let [word] = sender else { return None };
    let id = word.strip_suffix(b"@xxx")?;
    let digits = (1..=20).contains(&id.len()) && id.iter().all(u8::is_ascii_digit);
    digits.then(|| String::from_utf8_lossy(id).into_owned())
}

struct Moment {
    at: Option<Timestamp>,
    unknown_zone: bool,
}

/// Reads a date that takes all the words.
fn read_date(words: &[&[u8]]) -> Option<Moment> {
    let mut words = words;
    if let [first, rest @ ..] = words
        && is_weekday(first)
    {
        words = rest;
    }
    let [first, rest @ ..] = words else { return None };
    let (day, month, mut year): (Option<i8>, Option<i8>, Option<i16>);
    let (mut time, mut offset_s) = (None, 0);
    let mut tail: &[&[u8]];
    if let Some(m) = month_of(first) {
        let [d, after @ ..] = rest else { return None };
        (year, month, day, tail) = (None, Some(m), Some(day_of(d)?), after);
    } else if let Some((date, clock, offset)) = iso_date(first) {
        (year, month, day) = (Some(date.0), Some(date.1), Some(date.2));
        (time, offset_s, tail) = (clock, offset, rest);
    } else if let Some(date) = dashed_date(first) {
        (year, month, day) = (Some(date.0), Some(date.1), Some(date.2));
        tail = rest;
    } else {
        let [m, y, after @ ..] = rest else { return None };
        (day, month, year, tail) = (Some(day_of(first)?), Some(month_of(m)?), Some(year_of(y)?), after);
    }
    let (mut unknown_zone, mut zones_count) = (false, 0);
    while let [word, after @ ..] = tail {
        tail = after;
        if time.is_none() && word.contains(&b':') && !matches!(word.first(), Some(b'+' | b'-')) {
            time = Some(clock(word)?);
        } else if let (Some(clock), true) = (time.as_mut(), word.eq_ignore_ascii_case(b"pm") || word.eq_ignore_ascii_case(b"am"))
        {
            clock.0 = clock.0 % 12 + if word.eq_ignore_ascii_case(b"pm") { 12 } else { 0 };
        } else if year.is_none()
            && let Some(y) = year_of(word)
        {
            year = Some(y);
        } else if zones_count < 2
            && let Some(zone) = zone(word)
        {
            zones_count += 1;
            match zone {
                // `MET DST`: the second word moves the first by an hour.
                Zone::Summer => offset_s += 3600,
                Zone::Known(seconds) => offset_s = seconds,
                Zone::Unknown => unknown_zone = true,
            }
        } else {
            return None;
        }
    }
    let (day, month, year, (hour, minute, second)) = (day?, month?, year?, time?);
    let at = Date::new(year, month, day).ok().and_then(|date| {
        // A leap second becomes the second before it, as everywhere in POSIX time.
        let time = Time::new(hour, minute, second.min(59), 0).ok()?;
        Offset::from_seconds(offset_s).ok()?.to_timestamp(DateTime::from_parts(date, time)).ok()
    });
    Some(Moment { at, unknown_zone })
}

fn is_weekday(word: &[u8]) -> bool {
    let word = word.strip_suffix(b",").unwrap_or(word);
    DAYS.iter().any(|name| name_matches(word, name))
}

fn month_of(word: &[u8]) -> Option<i8> {
    (1i8..).zip(MONTHS).find(|(_, name)| name_matches(word, name)).map(|(number, _)| number)
}

/// The whole name or its first three letters, in any case.
fn name_matches(word: &[u8], name: &[u8]) -> bool {
    word.eq_ignore_ascii_case(name) || name.get(..3).is_some_and(|short| word.eq_ignore_ascii_case(short))
}

fn number(word: &[u8], digits: std::ops::RangeInclusive<usize>) -> Option<u16> {
    if !digits.contains(&word.len()) || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn day_of(word: &[u8]) -> Option<i8> {
    let day = number(word.strip_suffix(b",").unwrap_or(word), 1..=2)?;
    i8::try_from(day).ok().filter(|d| (1..=31).contains(d))
}

fn year_of(word: &[u8]) -> Option<i16> {
    let year = match word.len() {
        // RFC 5322 4.3 reads two digits so.
        2 => number(word, 2..=2).map(|y| if y < 50 { y + 2000 } else { y + 1900 })?,
        _ => number(word, 4..=4)?,
    };
    i16::try_from(year).ok().filter(|y| *y >= 1900)
}

type YearMonthDay = (i16, i8, i8);
/// Hour, minute, second.
type Clock = (i8, i8, i8);

/// `HH:MM` or `HH:MM:SS`, with an ignored fraction.
fn clock(word: &[u8]) -> Option<Clock> {
    let whole = word.split(|&b| b == b'.').next()?;
    let mut parts = whole.split(|&b| b == b':');
    let mut part = |max: i8| i8::try_from(number(parts.next()?, 1..=2)?).ok().filter(|n| *n <= max);
    let (hour, minute) = (part(23)?, part(59)?);
    let second = if whole.iter().filter(|&&b| b == b':').count() == 1 { 0 } else { part(60)? };
    parts.next().is_none().then_some((hour, minute, second))
}

/// `YYYY-MM-DD`, alone or with `Thh:mm:ss` and a zone after it.
fn iso_date(word: &[u8]) -> Option<(YearMonthDay, Option<Clock>, i32)> {
    let (date, rest) = word.split_at_checked(10)?;
    let mut parts = date.split(|&b| b == b'-');
    let year = year_of(parts.next()?)?;
    let month = i8::try_from(number(parts.next()?, 2..=2)?).ok().filter(|m| (1..=12).contains(m))?;
    let day = day_of(parts.next()?)?;
    let (time, offset_s) = match rest {
        [] => (None, 0),
        [b'T' | b't', time @ ..] => {
            let time = time.strip_suffix(b"Z").unwrap_or(time);
            let (time, offset) = time.split_at(time.iter().position(|b| matches!(b, b'+' | b'-')).unwrap_or(time.len()));
            let offset_s = match zone(offset) {
                Some(Zone::Known(seconds)) => seconds,
                _ if offset.is_empty() => 0,
                _ => return None,
            };
            (Some(clock(time)?), offset_s)
        }
        _ => return None,
    };
    parts.next().is_none().then_some(((year, month, day), time, offset_s))
}

/// `01-Jan-2024`.
fn dashed_date(word: &[u8]) -> Option<YearMonthDay> {
    let mut parts = word.split(|&b| b == b'-');
    let (day, month, year) = (day_of(parts.next()?)?, month_of(parts.next()?)?, year_of(parts.next()?)?);
    parts.next().is_none().then_some((year, month, day))
}

enum Zone {
    Known(i32),
    Summer,
    Unknown,
}

fn zone(word: &[u8]) -> Option<Zone> {
    let bare = word.strip_prefix(b"(").and_then(|w| w.strip_suffix(b")")).unwrap_or(word);
    let numeric =
        [b"GMT".as_slice(), b"UTC"].iter().find_map(|p| bare.strip_prefix(*p)).filter(|r| !r.is_empty()).unwrap_or(bare);
    if let [sign @ (b'+' | b'-'), digits @ ..] = numeric {
        let digits: Vec<u8> = digits.iter().copied().filter(|&b| b != b':').collect();
        let n = i32::from(number(&digits, 4..=4)?);
        let seconds = (n / 100) * 3600 + (n % 100) * 60;
        return Some(Zone::Known(if *sign == b'-' { -seconds } else { seconds }));
    }
    if bare.len() > 6 || bare.is_empty() || !bare.iter().all(u8::is_ascii_alphabetic) {
        return None;
    }
    let minutes = match bare.to_ascii_uppercase().as_slice() {
        b"UT" | b"UTC" | b"GMT" | b"Z" | b"WET" => 0,
        b"BST" | b"WEST" | b"WETDST" | b"CET" | b"MET" | b"MEZ" => 60,
        b"CEST" | b"MEST" | b"MESZ" | b"METDST" | b"CETDST" | b"EET" | b"SAST" => 120,
        b"EEST" | b"EETDST" | b"MSK" => 180,
        b"SGT" | b"HKT" => 480,
        b"JST" | b"KST" => 540,
        b"AEST" => 600,
        b"AEDT" => 660,
        b"NZST" => 720,
        b"NZDT" => 780,
        b"EDT" => -240,
        b"EST" | b"CDT" => -300,
        b"CST" | b"MDT" => -360,
        b"MST" | b"PDT" => -420,
        b"PST" | b"AKDT" => -480,
        b"AKST" => -540,
        b"HST" => -600,
        b"DST" => return Some(Zone::Summer),
        _ => return Some(Zone::Unknown),
    };
    Some(Zone::Known(minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date_of(line: &str) -> Option<String> {
        parse(line.as_bytes(), b"").and_then(|l| l.date).map(|d| d.to_string())
    }

    #[test]
    fn the_ways_programs_write_the_date() {
        for (line, want) in [
            ("From a@b.c Mon Jan  1 00:00:00 2024", "2024-01-01T00:00:00Z"),
            ("From a@b.c  Tue Jan  7 12:09:16 2003", "2003-01-07T12:09:16Z"),
            ("From - Tue Feb 21 10:04:06 2017", "2017-02-21T10:04:06Z"),
            ("From ???@??? Mon Jan 01 00:00:00 2024", "2024-01-01T00:00:00Z"),
            ("From 1628424719502045299@xxx Tue Mar 19 09:13:51 +0000 2019", "2019-03-19T09:13:51Z"),
            ("From user@domain  Sat Mar 24 23:00:00 2007 +0200", "2007-03-24T21:00:00Z"),
            ("From a@b.c Wed Feb  9 22:02 MET 2000", "2000-02-09T21:02:00Z"),
            ("From a@b.c Wed Feb  9 22:02 MET DST 2000", "2000-02-09T20:02:00Z"),
            ("From a@b.c Sat Jul 01 19:37:22 2000", "2000-07-01T19:37:22Z"),
            ("From mrc@CAC.Washington.EDU Mon Feb  8 02:53:47 PST 1993", "1993-02-08T10:53:47Z"),
            ("From a@b.c Mon Jan  1 00:00:00 96", "1996-01-01T00:00:00Z"),
            ("From a!b!c Mon Jan  1 00:00:00 1996 remote from uucphost", "1996-01-01T00:00:00Z"),
            ("From daemon@x Sun, 11 Nov 2007 06:58:35 +0200", "2007-11-11T04:58:35Z"),
            ("From a@b.c Sun 11 Nov 2007 06:58:35", "2007-11-11T06:58:35Z"),
            ("From a@b.c 11-Nov-2007 06:58:35 -0100", "2007-11-11T07:58:35Z"),
            ("From a@b.c 2007-11-11T06:58:35Z", "2007-11-11T06:58:35Z"),
            ("From a@b.c 2007-11-11T06:58:35+01:00", "2007-11-11T05:58:35Z"),
            ("From a@b.c 2007-11-11 06:58:35.123 +00:30", "2007-11-11T06:28:35Z"),
            ("From Mon Jan  1 00:00:00 2024", "2024-01-01T00:00:00Z"),
            ("From \"two words\"@b.c Mon Jan  1 00:00:00 2024", "2024-01-01T00:00:00Z"),
            ("From a at b.c  Mon Jan  1 00:00:00 2024", "2024-01-01T00:00:00Z"),
            ("From a@b.c Monday, January 1 2024 1:02:03 PM GMT", "2024-01-01T13:02:03Z"),
            ("From a@b.c Mon Jan  1 00:00:60 2024 (PST)", "2024-01-01T00:00:59Z"),
        ] {
            assert_eq!(date_of(line).as_deref(), Some(want), "{line}");
        }
    }

    #[test]
    fn prose_is_no_from_line() {
        for line in [
            "From my point of view, this line would be the start of new message.",
            "From the deep abyss",
            "From Black's Law Dictionary:",
            "From perl5-porters:",
            "From ",
            "From",
            "From now on we meet at 10:00",
            "From Mon to Tue",
            "From a@b.c Mon Jan 1 00:00:00 2024 and so on",
            "From x y z Mon Jan 1 00:00:00 2024",
        ] {
            assert_eq!(parse(line.as_bytes(), b"and the text goes on"), None, "{line}");
        }
    }

    #[test]
    fn without_a_date_a_header_must_follow() {
        assert_eq!(parse(b"From a@b", b"some text"), None);
        assert_eq!(parse(b"From a@b", b"Subject: x"), Some(FromLine::default()));
        assert_eq!(parse(b"From 18@xxx", b"From: x").unwrap().gmail_id.as_deref(), Some("18"));
        assert!(parse(b"From - ", b"X-Mozilla-Status: 0001").unwrap().netscape);
    }

    #[test]
    fn a_date_that_no_calendar_has_still_starts_a_message() {
        assert_eq!(parse(b"From a@b Thu Feb 30 00:00:00 2023", b""), Some(FromLine::default()));
        assert!(parse(b"From a@b Thu Feb 20 00:00:00 XYZ 2023", b"").unwrap().unknown_zone);
    }

    #[test]
    fn hostile_senders_do_no_harm() {
        assert!(parse(b"From \xff\xfe\0 Mon Jan  1 00:00:00 2024", b"").is_some());
        assert_eq!(parse(&[b"From ".as_slice(), &vec![b'x'; 10_000]].concat(), b"A: b"), None);
        assert_eq!(parse(&[b"From ".as_slice(), &b"x ".repeat(2_000)].concat(), b"A: b"), None);
    }
}
