//! Quotas as exports write them: `50 GB (53,687,091,200 bytes)`, `10G`, `Unlimited`, a number whose unit the header gives.

use super::model::Quota;

/// The unit that a bare number has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    /// The file does not say.
    Unknown,
    /// Bytes.
    Bytes,
    /// 1,024 bytes.
    Kib,
    /// 1,048,576 bytes.
    Mib,
    /// 1,073,741,824 bytes.
    Gib,
}

impl Unit {
    fn bytes(self) -> Option<u64> {
        match self {
            Unit::Unknown => None,
            Unit::Bytes => Some(1),
            Unit::Kib => Some(1 << 10),
            Unit::Mib => Some(1 << 20),
            Unit::Gib => Some(1 << 30),
        }
    }
}

/// The quota that a text means; `Ok(None)` for an empty one.
///
/// # Errors
/// Why it cannot be told, in words.
pub(super) fn parse(text: &str, unit: Unit) -> Result<Option<Quota>, String> {
    let text = text.trim();
    if text.is_empty() || text == "-" {
        return Ok(None);
    }
    if ["unlimited", "none", "no limit", "infinite"].iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Ok(Some(Quota::Unlimited));
    }
    let exact = text.split_once('(').and_then(|(_, inner)| inner.strip_suffix(')')?.trim().strip_suffix("bytes"));
    let (number, factor) = match exact {
        Some(digits) => (digits.replace([',', '.', ' ', '\u{a0}', '\''], ""), Some(1)),
        None => split(text, unit)?,
    };
    let value: f64 = number.parse().map_err(|_| format!("the quota '{}' is no number", crate::model::printable(text)))?;
    match factor {
        _ if value == 0.0 => Ok(Some(Quota::Unlimited)),
        None => Err(format!("the quota '{}' has no unit", crate::model::printable(text))),
        Some(factor) => whole(&number, value, factor).map(|bytes| Some(Quota::Bytes(bytes))),
    }
}

/// The number and what it is multiplied with.
fn split(text: &str, unit: Unit) -> Result<(String, Option<u64>), String> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | ','))).unwrap_or(text.len());
    let (number, word) = text.split_at(end);
    let factor = match word.trim().to_ascii_lowercase().as_str() {
        "" => unit.bytes(),
        "b" | "byte" | "bytes" => Some(1),
        "k" | "kb" | "kib" => Some(1 << 10),
        "m" | "mb" | "mib" => Some(1 << 20),
        "g" | "gb" | "gib" => Some(1 << 30),
        "t" | "tb" | "tib" => Some(1 << 40),
        _ => return Err(format!("the quota '{}' has a unit that is not known", crate::model::printable(text))),
    };
    // `1,5 GB` is written where a comma divides; `1,024 MB` where it groups.
    let groups = number.rsplit_once(',').is_some_and(|(_, tail)| tail.len() == 3 && tail.bytes().all(|b| b.is_ascii_digit()));
    let number = if groups { number.replace(',', "") } else { number.replace(',', ".") };
    Ok((number, factor))
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded just before")]
fn whole(number: &str, value: f64, factor: u64) -> Result<u64, String> {
    let too_large = || "the quota is too large".to_owned();
    if let Ok(exact) = number.parse::<u64>() {
        return exact.checked_mul(factor).ok_or_else(too_large);
    }
    let bytes = value * factor as f64;
    if (0.0..9e18).contains(&bytes) { Ok(bytes as u64) } else { Err(too_large()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas_are_read_as_exports_write_them() {
        for (text, unit, want) in [
            ("50 GB (53,687,091,200 bytes)", Unit::Unknown, Some(Quota::Bytes(53_687_091_200))),
            ("49.5 GB (53.150.220.288 bytes)", Unit::Unknown, Some(Quota::Bytes(53_150_220_288))),
            ("Unlimited", Unit::Unknown, Some(Quota::Unlimited)),
            ("10G", Unit::Unknown, Some(Quota::Bytes(10 << 30))),
            ("30.0GB", Unit::Unknown, Some(Quota::Bytes(30 << 30))),
            ("1,5 GB", Unit::Unknown, Some(Quota::Bytes(3 << 29))),
            ("1,024 MB", Unit::Unknown, Some(Quota::Bytes(1 << 30))),
            ("2048", Unit::Mib, Some(Quota::Bytes(2 << 30))),
            ("0", Unit::Unknown, Some(Quota::Unlimited)),
            ("", Unit::Mib, None),
        ] {
            assert_eq!(parse(text, unit).as_ref(), Ok(&want), "{text}");
        }
    }

    #[test]
    fn a_number_without_a_unit_is_not_guessed() {
        for text in ["2048", "5 stones", "1.2.3 GB", "99999999999999999999 GB", "-5"] {
            assert!(parse(text, Unit::Unknown).is_err(), "{text}");
        }
    }
}
