//! What a property says, whatever way it is written: escapes, encodings, order and case of parameters, lists.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;

use super::content::Property;
use crate::model::Digest;

/// A property that has lists gives one of these for each value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Meaning {
    pub name: String,
    pub group: String,
    pub params: BTreeMap<String, BTreeSet<String>>,
    pub value: Value,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    Text(String),
    /// Parts between `;`, each of values between `,`. Empty parts at the end are left out.
    Parts(Vec<Vec<String>>),
    Bytes(Digest, usize),
}

/// Properties of many values between commas.
const LISTS: &[&str] = &["CATEGORIES", "RESOURCES", "NICKNAME", "EXDATE", "RDATE", "FREEBUSY"];
/// Properties of parts between semicolons, whose parts may be lists.
const PARTS_OF_LISTS: &[&str] = &["N", "ADR"];
/// Properties of parts between semicolons, whose parts are plain texts.
const PARTS: &[&str] = &["ORG", "REQUEST-STATUS", "GENDER", "CLIENTPIDMAP"];
/// Properties whose values are URIs or times, in which a backslash is a backslash.
const NOT_TEXT: &[&str] = &[
    "URL",
    "SOURCE",
    "CALURI",
    "FBURL",
    "CALADRURI",
    "TZURL",
    "ORGANIZER",
    "ATTENDEE",
    "IMPP",
    "ATTACH",
    "MEMBER",
    "CONFERENCE",
    "IMAGE",
    "EXDATE",
    "RDATE",
    "FREEBUSY",
];
/// Parameters whose values are words of the RFCs and have no case.
const WORDS: &[&str] = &[
    "TYPE", "VALUE", "ENCODING", "ROLE", "PARTSTAT", "CUTYPE", "RSVP", "RELTYPE", "RELATED", "RANGE", "FBTYPE", "LANGUAGE",
    "CHARSET",
];

/// The encoding of vCard 2.1, which stands without a name there; some servers take it for a TYPE.
const BASE64: &str = "BASE64";
/// Properties whose values are dates, with a time or without.
const DATES: &[&str] = &["DTSTART", "DTEND", "DUE", "RECURRENCE-ID", "EXDATE", "RDATE"];
/// Other properties whose values have no spaces at their ends.
const TOKENS: &[&str] = &["UID", "SEQUENCE", "PRIORITY", "PERCENT-COMPLETE", "STATUS", "CLASS", "TRANSP", "CREATED", "COMPLETED"];

pub(super) fn is_uri(name: &str) -> bool {
    NOT_TEXT.contains(&name)
}

pub(super) fn is_structured(name: &str) -> bool {
    PARTS_OF_LISTS.contains(&name) || PARTS.contains(&name)
}

/// Decoded bytes of an encoded value: base64, which stays bytes, or quoted-printable, which is text in its charset.
pub(super) enum Decoded {
    Bytes(Vec<u8>),
    Text(String),
}

/// Undoes the transfer encoding of a value; `None` for one that is not read.
pub(super) fn decoded(property: &Property) -> Option<Decoded> {
    let base64_as_type = property.param("TYPE").find(|value| value.eq_ignore_ascii_case(BASE64));
    let encoding = property.param("ENCODING").next().or(base64_as_type).unwrap_or_default().to_ascii_uppercase();
    match encoding.as_str() {
        "B" | BASE64 => {
            let compact: String = property.value.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            let engine = base64::engine::GeneralPurpose::new(
                &base64::alphabet::STANDARD,
                base64::engine::GeneralPurposeConfig::new()
                    .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent)
                    .with_decode_allow_trailing_bits(true),
            );
            engine.decode(compact).ok().map(Decoded::Bytes)
        }
        "QUOTED-PRINTABLE" => {
            let bytes = mail_parser::decoders::quoted_printable::quoted_printable_decode(property.value.as_bytes())?;
            let charset = property.param("CHARSET").next().and_then(|c| encoding_rs::Encoding::for_label(c.as_bytes()));
            Some(Decoded::Text(match (charset, std::str::from_utf8(&bytes)) {
                (Some(charset), _) => charset.decode_without_bom_handling(&bytes).0.into_owned(),
                (None, Ok(text)) => text.to_owned(),
                (None, Err(_)) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(&bytes).0.into_owned(),
            }))
        }
        _ => Some(Decoded::Text(property.value.clone())),
    }
}

impl Meaning {
    /// What a property says; `card_21` for one of a vCard 2.1, which has no lists.
    pub fn of(property: &Property, card_21: bool) -> Vec<Meaning> {
        let name = property.name.as_str();
        let meaning = |value| Meaning { name: name.to_owned(), group: property.group.clone(), params: params(property), value };
        let text = match decoded(property) {
            Some(Decoded::Text(text)) => text,
            Some(Decoded::Bytes(bytes)) => return vec![meaning(Value::Bytes(Digest::of(&bytes), bytes.len()))],
            None => property.value.clone(),
        };
        if LISTS.contains(&name) {
            let plain = |value: &str| if is_uri(name) { value.trim().to_owned() } else { unescaped(value) };
            return split(&text, ',').into_iter().map(|one| meaning(Value::Text(plain(one)))).collect();
        }
        vec![meaning(if PARTS_OF_LISTS.contains(&name) && !card_21 {
            parts(&text, |part| split(part, ',').into_iter().map(unescaped).collect())
        } else if is_structured(name) {
            parts(&text, |part| vec![unescaped(part)])
        } else if matches!(name, "RRULE" | "EXRULE") {
            rule(&text)
        } else if name == "GEO" {
            Value::Text(coordinates(&text))
        } else if matches!(name, "TZOFFSETFROM" | "TZOFFSETTO") {
            Value::Text(offset(&text))
        } else if matches!(name, "DURATION" | "TRIGGER") {
            Value::Text(duration(&text).unwrap_or(text))
        } else if is_uri(name) {
            Value::Text(text.trim().to_owned())
        } else {
            Value::Text(unescaped(&text))
        })]
    }

    /// Is `found` what this says, with what is against the rules mended: a date's VALUE as the date is written, no spaces around what is no
    /// text, no backslashes in an address that need none?
    pub fn is_mended_in(&self, found: &Meaning) -> bool {
        let name = self.name.as_str();
        let (Value::Text(text), Value::Text(now), true) = (&self.value, &found.value, name == found.name) else { return false };
        let (mut params, text) = (self.params.clone(), text.trim());
        let value = if DATES.contains(&name) {
            params.remove("VALUE");
            let form = if text.contains('/') { Some("PERIOD") } else { (!text.contains('T')).then_some("DATE") };
            params.extend(form.map(|form| ("VALUE".to_owned(), BTreeSet::from([form.to_owned()]))));
            text.to_owned()
        } else if TOKENS.contains(&name) {
            text.to_owned()
        } else if is_uri(name) || name == "GEO" {
            unescaped(text)
        } else {
            return false;
        };
        self.group == found.group && params == found.params && value == *now
    }

    /// Does it say nothing?
    pub fn is_empty(&self) -> bool {
        match &self.value {
            Value::Text(text) => text.trim().is_empty(),
            Value::Parts(parts) => parts.iter().flatten().all(|v| v.trim().is_empty()),
            Value::Bytes(_, n) => *n == 0,
        }
    }

    /// For people.
    pub fn shown(&self) -> String {
        const MOST: usize = 120;
        let value = match &self.value {
            Value::Text(text) => text.clone(),
            Value::Parts(parts) => {
                let escaped = |value: &String| value.replace(',', "\\,").replace(';', "\\;");
                parts.iter().map(|p| p.iter().map(escaped).collect::<Vec<_>>().join(",")).collect::<Vec<_>>().join(";")
            }
            Value::Bytes(digest, n) => format!("{n} bytes, sha256 {}", digest.short()),
        };
        let params: String = self
            .params
            .iter()
            .map(|(name, values)| format!(";{name}={}", values.iter().map(quoted).collect::<Vec<_>>().join(",")))
            .collect();
        let all = if params.is_empty() { value } else { format!("{params}:{value}") };
        let mut cut: String = all.chars().take(MOST).collect();
        if cut.len() < all.len() {
            cut.push('…');
        }
        crate::model::printable(&cut)
    }
}

/// A parameter's value as it must be written.
fn quoted(value: &String) -> String {
    if value.contains([',', ';', ':']) { format!("\"{value}\"") } else { value.clone() }
}

fn params(property: &Property) -> BTreeMap<String, BTreeSet<String>> {
    let mut params: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, values) in &property.params {
        // How the value is written is told by the value, once it is decoded.
        if matches!(name.as_str(), "ENCODING" | "CHARSET") {
            continue;
        }
        let word = WORDS.contains(&name.as_str());
        for value in values.iter().flat_map(|v| if word { v.split(',').collect() } else { vec![v.as_str()] }) {
            let value = if word { value.trim().to_ascii_uppercase() } else { value.to_owned() };
            if name == "TYPE" && value == BASE64 {
                continue;
            }
            // A date is a date because this says so; other types are those that the property has anyway, or plain to see.
            if name != "VALUE" || matches!(value.as_str(), "DATE" | "PERIOD") {
                params.entry(name.clone()).or_default().insert(value);
            }
        }
    }
    params
}

/// Cuts at a separator that no backslash stands before.
fn split(text: &str, at: char) -> Vec<&str> {
    let mut escaped = false;
    text.split(move |c| {
        let cut = c == at && !escaped;
        escaped = c == '\\' && !escaped;
        cut
    })
    .collect()
}

fn parts(text: &str, each: impl Fn(&str) -> Vec<String>) -> Value {
    let mut parts: Vec<Vec<String>> = split(text, ';').into_iter().map(each).collect();
    while parts.last().is_some_and(|part| part.iter().all(String::is_empty)) {
        parts.pop();
    }
    Value::Parts(parts)
}

/// What a recurrence rule says anyway (RFC 5545 3.3.10, RFC 7529 4).
const RULE_DEFAULTS: &[[&str; 2]] = &[["INTERVAL", "1"], ["WKST", "MO"], ["SKIP", "OMIT"], ["RSCALE", "GREGORIAN"]];

fn rule(text: &str) -> Value {
    let mut parts: Vec<Vec<String>> = text
        .trim()
        .trim_end_matches(';')
        .to_ascii_uppercase()
        .split(';')
        .map(|part| {
            let (name, values) = part.split_once('=').unwrap_or((part, ""));
            let number = |v: &str| v.parse::<i64>().map_or_else(|_| v.to_owned(), |n| n.to_string());
            let mut values: Vec<String> = values.split(',').map(|v| number(v.trim())).collect();
            values.sort_unstable();
            [vec![name.trim().to_owned()], values].concat()
        })
        .filter(|part| !RULE_DEFAULTS.iter().any(|default| part == default))
        .collect();
    parts.sort_unstable();
    Value::Parts(parts)
}

/// Degrees to six places, beyond which nobody need keep them (RFC 5545 3.8.1.6).
fn coordinates(text: &str) -> String {
    // As printf rounds, by which servers do it.
    let rounded = |n: f64| format!("{n:.6}").parse().unwrap_or(n);
    let one = |n: &str| n.trim().parse::<f64>().map_or_else(|_| n.to_owned(), |n| rounded(n).to_string());
    text.split([';', ',']).map(one).collect::<Vec<_>>().join(";")
}

/// An offset from UTC with its sign, without seconds where they are zero (RFC 5545 3.3.14).
fn offset(text: &str) -> String {
    let text = text.trim();
    let (sign, digits) = match text.split_at_checked(1) {
        Some((sign @ ("+" | "-"), digits)) => (sign, digits),
        _ => ("+", text),
    };
    let digits = if digits.len() == 6 { digits.strip_suffix("00").unwrap_or(digits) } else { digits };
    let sign = if digits.bytes().all(|b| b == b'0') { "+" } else { sign };
    format!("{sign}{digits}")
}

/// A duration as days and seconds, which do not make days: a day is as long as the clock makes it (RFC 5545 3.3.6).
fn duration(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_uppercase();
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(&text);
    let (mut days, mut seconds, mut number) = (0_u64, 0_u64, String::new());
    for c in unsigned.strip_prefix('P').filter(|rest| !rest.is_empty())?.chars() {
        let unit = match c {
            '0'..='9' => {
                number.push(c);
                continue;
            }
            'T' if number.is_empty() => continue,
            'W' => (7, 0),
            'D' => (1, 0),
            'H' => (0, 3600),
            'M' => (0, 60),
            'S' => (0, 1),
            _ => return None,
        };
        let n: u64 = std::mem::take(&mut number).parse().ok()?;
        days = days.checked_add(n.checked_mul(unit.0)?)?;
        seconds = seconds.checked_add(n.checked_mul(unit.1)?)?;
    }
    let sign = if text.starts_with('-') && days + seconds > 0 { "-" } else { "" };
    number.is_empty().then(|| format!("{sign}P{days}DT{seconds}S"))
}

/// Text without escapes (RFC 5545 3.3.11, RFC 6350 3.4), every line end a LF.
pub(super) fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n' | 'N') => out.push('\n'),
                Some(c @ ('\\' | ',' | ';' | ':' | '"')) => out.push(c),
                Some(c) => out.extend(['\\', c]),
                None => out.push('\\'),
            },
            '\r' => {
                chars.next_if_eq(&'\n');
                out.push('\n');
            }
            c => out.push(c),
        }
    }
    out
}
