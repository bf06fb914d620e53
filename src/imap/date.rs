//! Dates as IMAP writes them (RFC 3501 `date-time`): `" 1-Jan-2024 10:00:00 +0000"`.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The instant in UTC, without quotes; `None` where its year has not four digits.
pub fn write_date(at: Timestamp) -> Option<String> {
    let t = Offset::UTC.to_datetime(at);
    let month = MONTHS.get(usize::try_from(t.month()).ok()?.checked_sub(1)?)?;
    (0..=9999)
        .contains(&t.year())
        .then(|| format!("{:2}-{month}-{:04} {:02}:{:02}:{:02} +0000", t.day(), t.year(), t.hour(), t.minute(), t.second()))
}

/// The instant of a date in any zone, the day with one digit or two or padded.
pub fn read_date(text: &str) -> Option<Timestamp> {
    let mut words = text.split_ascii_whitespace();
    let (date, time, zone) = (words.next()?, words.next()?, words.next()?);
    let mut date = date.splitn(3, '-');
    let day = date.next()?.parse().ok()?;
    let name = date.next()?;
    let month = MONTHS.iter().position(|m| m.eq_ignore_ascii_case(name))? as i8 + 1;
    let year = date.next()?.parse().ok()?;
    let mut time = time.splitn(3, ':').map(str::parse::<i8>);
    let (hour, minute, second) = (time.next()?.ok()?, time.next()?.ok()?, time.next()?.ok()?.min(59));
    let local = DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    let (sign, digits) = (zone.chars().next()?, zone.get(1..).filter(|d| d.len() == 4)?);
    let digits: i64 = digits.parse().ok()?;
    let offset = SignedDuration::from_mins(digits / 100 * 60 + digits % 100);
    let utc = Offset::UTC.to_timestamp(local).ok()?;
    match sign {
        '+' => utc.checked_sub(offset).ok(),
        '-' => utc.checked_add(offset).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn days_are_padded_with_a_space_and_read_in_any_zone() {
        let at: Timestamp = "2024-01-01T10:00:00Z".parse().unwrap();
        assert_eq!(write_date(at).as_deref(), Some(" 1-Jan-2024 10:00:00 +0000"));
        for text in [" 1-Jan-2024 10:00:00 +0000", "01-jan-2024 11:00:00 +0100", "1-Jan-2024 04:30:00 -0530"] {
            assert_eq!(read_date(text), Some(at), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_instant_comes_back(second in -62_135_596_800i64..253_402_207_200) {
            let at = Timestamp::from_second(second).unwrap();
            prop_assert_eq!(read_date(&write_date(at).unwrap()), Some(at));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}|[ 0-9A-Za-z:+-]{0,40}") {
            read_date(&text);
        }
    }
}
