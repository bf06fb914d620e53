//! Makes an object fit to be stored: what the RFCs ask of a stored object and the source did not have. The rest stays as it is.

use std::borrow::Cow;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::compare::Rule;
use super::content::{Component, Property, components, content_lines, physical_lines, text_of};
use super::marks::{Mark, has};
use super::note::{self, Keep};
use super::value::{Decoded, decoded, is_structured, is_uri, unescaped};
use crate::model::Digest;

/// UIDs that floe gives begin so.
pub(super) const UID_PREFIX: &str = "floe-";
/// Octets of a line before it is folded.
const FOLD: usize = 74;
/// Properties whose values are one text, or parts that are one each. A comma in them has a backslash (RFC 5545 3.3.11, RFC 6350 3.4); some
/// servers cut the text at one that has none.
const TEXTS: &[&str] = &["SUMMARY", "DESCRIPTION", "LOCATION", "COMMENT", "CONTACT", "FN", "NOTE", "TITLE", "ROLE", "ORG"];

/// An object as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fitted {
    /// Its bytes, UTF-8, every line end CRLF.
    pub bytes: Vec<u8>,
    /// Its UID.
    pub uid: String,
    /// What had to be done besides line ends and charset.
    pub rules: Vec<Rule>,
    /// Names of what it cannot say in this form.
    pub left_out: Vec<String>,
}

/// The UID of an object that has none: the same every time.
pub(super) fn made_uid(bytes: &[u8]) -> String {
    format!("{UID_PREFIX}{}", &Digest::of(bytes).to_string()[..32])
}

/// Makes an object fit; `None` for what holds no calendar object, no card and no note, or several notes, which one resource cannot hold.
pub fn fit(bytes: &[u8]) -> Option<Fitted> {
    if let Some(keep) = Keep::of(bytes) {
        let uid = made_uid(bytes);
        let left_out = keep.left_out().into_iter().map(|change| change.name).collect();
        return Some(Fitted { bytes: keep.note(&uid).into_bytes(), uid, rules: vec![Rule::Keep], left_out });
    }
    let text = text_of(bytes);
    let tops = components(&content_lines(&text)?);
    let top = tops.iter().find(|c| matches!(c.name.as_str(), "VCALENDAR" | "VCARD" | "VNOTE"))?;
    let uid_in = |c: &Component| c.property("UID").map(|p| p.value.trim().to_owned()).filter(|uid| !uid.is_empty());
    if top.name == "VCALENDAR" {
        let objects = || top.components.iter().filter(|c| c.name != "VTIMEZONE");
        objects().next()?;
        let uid = objects().find_map(uid_in).unwrap_or_else(|| made_uid(bytes));
        let mut rules = Vec::new();
        rules.extend(top.property("METHOD").map(|_| Rule::Method));
        rules.extend(objects().any(|c| uid_in(c).is_none()).then_some(Rule::Uid));
        // Of version 1.0, whose commas have no backslash, floe knows too little to change them.
        let is_old = top.property("VERSION").is_some_and(|v| v.value.trim() == "1.0");
        let text = if is_old { text } else { with_escaped_commas(text) };
        rules.extend((!is_old && objects().any(|c| c.lacks("DTSTAMP"))).then_some(Rule::Stamp));
        let stamp = (!is_old).then(|| stamp_of(objects()));
        return Some(Fitted { bytes: calendar(&text, &uid, stamp).into_bytes(), uid, rules, left_out: Vec::new() });
    }
    let uid = uid_in(top).unwrap_or_else(|| made_uid(bytes));
    let mut rules = Vec::new();
    rules.extend(uid_in(top).is_none().then_some(Rule::Uid));
    if top.name == "VNOTE" {
        if tops.iter().filter(|c| c.name == "VNOTE").count() > 1 {
            return None;
        }
        rules.extend(top.lacks("SUMMARY").then_some(Rule::Title));
        return Some(Fitted { bytes: note::fitted(&text, top, &uid).into_bytes(), uid, rules, left_out: Vec::new() });
    }
    rules.extend(top.lacks("FN").then_some(Rule::Name));
    rules.extend(top.is_card_21().then_some(Rule::Card3));
    let text = if top.is_card_21() { card_3(top, &uid) } else { card(&with_escaped_commas(text), top, &uid) };
    Some(Fitted { bytes: text.into_bytes(), uid, rules, left_out: Vec::new() })
}

/// The text with a backslash before each comma of a [`TEXTS`] property that has none; other lines are as they were.
fn with_escaped_commas(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains(',') {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 64);
    let mut changed = false;
    let lines: Vec<&str> = physical_lines(&text).filter(|line| !line.trim().is_empty()).collect();
    for folded in lines.chunk_by(|_, next| next.starts_with([' ', '\t'])) {
        let mut whole = folded.first().copied().unwrap_or_default().to_owned();
        folded.iter().skip(1).for_each(|more| whole.push_str(&more[1..]));
        match escaped_line(&whole) {
            Some(escaped) => {
                changed = true;
                folded_to(&mut out, &escaped);
            }
            None => folded.iter().for_each(|line| line_to(&mut out, line)),
        }
    }
    if changed { Cow::Owned(out) } else { text }
}

/// The line of a property with its commas escaped; none where nothing is to be done.
fn escaped_line(line: &str) -> Option<String> {
    let property = Property::of(line);
    let is_text = TEXTS.contains(&property.name.as_str()) && property.param("ENCODING").next().is_none();
    if !is_text || !has(&property.value, Mark::Comma) {
        return None;
    }
    let mut out = line[..line.len() - property.value.len()].to_owned();
    let mut escaped = false;
    for c in property.value.chars() {
        if c == ',' && !escaped {
            out.push('\\');
        }
        escaped = c == '\\' && !escaped;
        out.push(c);
    }
    Some(out)
}

/// When components without a DTSTAMP were last revised, which is what it says in a stored object (RFC 5545 3.8.7.2); else long ago.
fn stamp_of<'a>(mut objects: impl Iterator<Item = &'a Component>) -> &'a str {
    let is_utc = |value: &&str| value.len() == 16 && value.ends_with('Z');
    let revised = |c: &'a Component| {
        ["LAST-MODIFIED", "CREATED"].iter().find_map(|name| c.property(name).map(|p| p.value.trim()).filter(is_utc))
    };
    objects.find_map(revised).unwrap_or("19700101T000000Z")
}

/// A calendar object without METHOD, every component with its UID and a DTSTAMP.
fn calendar(text: &str, uid: &str, stamp: Option<&str>) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 32);
    let mut open: Vec<String> = Vec::new();
    // Where the component began that has no UID so far, and the one that has no DTSTAMP.
    let (mut without, mut unstamped): (Option<usize>, Option<usize>) = (None, None);
    let mut skipping = false;
    for line in physical_lines(text).filter(|line| !line.trim().is_empty()) {
        if line.starts_with([' ', '\t']) {
            if !skipping {
                line_to(&mut out, line);
            }
            continue;
        }
        let property = line.split([':', ';']).next().unwrap_or_default().trim().to_ascii_uppercase();
        let named = || line.split_once(':').map(|(_, v)| v.trim().to_ascii_uppercase()).unwrap_or_default();
        skipping = property == "METHOD" && open.len() == 1;
        match property.as_str() {
            "END" => {
                if open.len() == 2 {
                    if let (Some(at), Some(stamp)) = (unstamped.take(), stamp) {
                        out.insert_str(at, &format!("DTSTAMP:{stamp}\r\n"));
                    }
                    if let Some(at) = without.take() {
                        out.insert_str(at, &format!("UID:{uid}\r\n"));
                    }
                }
                open.pop();
            }
            "DTSTAMP" if open.len() == 2 => match line.split_once(':').is_some_and(|(_, v)| !v.trim().is_empty()) {
                true => unstamped = None,
                false => skipping = true,
            },
            // One without a value is none.
            "UID" if open.len() == 2 => match line.split_once(':').is_some_and(|(_, v)| !v.trim().is_empty()) {
                true => without = None,
                false => skipping = true,
            },
            _ => {}
        }
        if skipping {
            continue;
        }
        line_to(&mut out, line);
        if property == "BEGIN" {
            open.push(named());
            if open.len() == 2 && named() != "VTIMEZONE" {
                (without, unstamped) = (Some(out.len()), Some(out.len()));
            }
        }
    }
    out
}

/// A card of version 3.0 or 4.0 with a UID and a name to show.
fn card(text: &str, card: &Component, uid: &str) -> String {
    let mut more = String::new();
    if card.lacks("UID") {
        folded_to(&mut more, &format!("UID:{uid}"));
    }
    if card.lacks("FN") {
        folded_to(&mut more, &format!("FN:{}", escaped(&name_of(card))));
    }
    with_more(text, "VERSION", &more)
}

/// The text with more lines below the first property of that name: VERSION has to come first (RFC 6350 6.7.9).
pub(super) fn with_more(text: &str, below: &str, more: &str) -> String {
    let mut out = String::with_capacity(text.len() + more.len() + 64);
    let mut given = false;
    for line in physical_lines(text).filter(|line| !line.trim().is_empty()) {
        line_to(&mut out, line);
        if !given && line.split([':', ';']).next().is_some_and(|name| name.trim().eq_ignore_ascii_case(below)) {
            given = true;
            out.push_str(more);
        }
    }
    out
}

/// A card of version 2.1 written anew as one of version 3.0.
fn card_3(card: &Component, uid: &str) -> String {
    let mut out = String::from("BEGIN:VCARD\r\nVERSION:3.0\r\n");
    if card.lacks("UID") {
        out.push_str(&format!("UID:{uid}\r\n"));
    }
    if card.lacks("FN") {
        folded_to(&mut out, &format!("FN:{}", escaped(&name_of(card))));
    }
    if card.property("N").is_none() {
        out.push_str("N:;;;;\r\n");
    }
    for property in &card.properties {
        let empty = property.value.trim().is_empty() && matches!(property.name.as_str(), "UID" | "FN");
        if property.name != "VERSION" && !empty {
            folded_to(&mut out, &property_3(property));
        }
    }
    // A card in a card (AGENT) has no place in version 3.0; validation names it.
    out.push_str("END:VCARD\r\n");
    out
}

fn property_3(property: &Property) -> String {
    let mut line = String::new();
    if !property.group.is_empty() {
        let _ = write!(line, "{}.", property.group);
    }
    line.push_str(&property.name);
    let types: Vec<&str> = property.param("TYPE").collect();
    if !types.is_empty() {
        let _ = write!(line, ";TYPE={}", types.join(","));
    }
    for (name, values) in property.params.iter().filter(|(n, _)| !matches!(n.as_str(), "TYPE" | "ENCODING" | "CHARSET")) {
        let quoted: Vec<String> = values.iter().map(|v| quoted(v)).collect();
        let _ = write!(line, ";{name}={}", quoted.join(","));
    }
    match decoded(property) {
        Some(Decoded::Bytes(bytes)) => {
            let _ = write!(line, ";ENCODING=b:{}", STANDARD.encode(bytes));
        }
        Some(Decoded::Text(text)) => {
            let _ = write!(line, ":{}", value_3(&property.name, &text));
        }
        None => {
            let _ = write!(line, ":{}", property.value);
        }
    }
    line
}

fn value_3(name: &str, text: &str) -> String {
    if is_uri(name) || matches!(name, "GEO" | "BDAY" | "REV" | "TZ") {
        return text.replace(['\r', '\n'], "");
    }
    if !is_structured(name) {
        return escaped(&unescaped(text));
    }
    let mut before = None;
    let parts = text.split(|c| {
        let cut = c == ';' && before != Some('\\');
        before = Some(c);
        cut
    });
    parts.map(|part| escaped(&unescaped(part))).collect::<Vec<_>>().join(";")
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace(';', "\\;").replace(',', "\\,").replace('\n', "\\n")
}

fn quoted(value: &str) -> String {
    let value: String = value.chars().filter(|c| *c != '"' && !c.is_control()).collect();
    if value.contains([':', ';', ',']) { format!("\"{value}\"") } else { value }
}

/// A name to show: the parts of the name, the organisation, or an address.
fn name_of(card: &Component) -> String {
    let text = |name: &str| {
        let property = card.property(name)?;
        let Some(Decoded::Text(text)) = decoded(property) else { return None };
        let parts: Vec<String> = text.split(';').map(|p| unescaped(p).trim().to_owned()).filter(|p| !p.is_empty()).collect();
        (!parts.is_empty()).then_some(parts)
    };
    let name = text("N").map(|mut parts| {
        parts.truncate(2);
        parts.reverse();
        parts.join(" ")
    });
    name.or_else(|| ["ORG", "NICKNAME", "EMAIL", "TEL"].into_iter().find_map(|n| text(n).map(|p| p.join(", "))))
        .unwrap_or_else(|| "?".to_owned())
}

fn line_to(out: &mut String, line: &str) {
    out.push_str(line);
    out.push_str("\r\n");
}

/// A line with folds.
pub(super) fn folded_to(out: &mut String, line: &str) {
    let mut octets = 0;
    for c in line.chars().filter(|c| !c.is_control() || *c == '\t') {
        if octets + c.len_utf8() > FOLD {
            out.push_str("\r\n ");
            octets = 1;
        }
        out.push(c);
        octets += c.len_utf8();
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::{Likeness, compare};
    use super::*;

    fn fitted(text: &str) -> (String, String, Vec<Rule>) {
        let fitted = fit(text.as_bytes()).expect("an object");
        (String::from_utf8(fitted.bytes).expect("text"), fitted.uid, fitted.rules)
    }

    #[test]
    fn what_is_fit_keeps_its_bytes() {
        let event = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:a\r\nDTSTAMP:20240101T000000Z\r\nX-A:b\r\n c\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
        assert_eq!(fitted(event), (event.to_owned(), "a".to_owned(), vec![]));
        assert_eq!(fitted(&event.replace("\r\n", "\n")).0, event);
        let card = "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:b\r\nFN:B\r\nEND:VCARD\r\n";
        assert_eq!(fitted(card), (card.to_owned(), "b".to_owned(), vec![]));
    }

    #[test]
    fn every_component_gets_the_uid_and_none_a_method() {
        let event = "BEGIN:VCALENDAR\nMETHOD:REQ\n UEST\nBEGIN:VTIMEZONE\nTZID:x\nEND:VTIMEZONE\nBEGIN:VEVENT\nUID:\nBEGIN:VALARM\nUID:alarm\nEND:VALARM\nEND:VEVENT\nBEGIN:VEVENT\nRECURRENCE-ID:1\nEND:VEVENT\nEND:VCALENDAR\n";
        let (text, uid, rules) = fitted(event);
        assert_eq!(text.matches(&format!("BEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:19700101T000000Z\r\n")).count(), 2, "{text}");
        assert!(!text.contains("METHOD") && !text.contains("UEST") && uid.starts_with("floe-"), "{text}");
        assert_eq!(rules, [Rule::Method, Rule::Uid, Rule::Stamp]);
        assert_eq!(fitted(event).1, uid, "the same every time");
    }

    #[test]
    fn an_old_card_becomes_version_3_and_says_the_same() {
        let old = "BEGIN:VCARD\r\nVERSION:2.1\r\nN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:M=C3=BCller;J=C3=B6rg, Dr.\\; X;;;\r\n\
            NOTE;ENCODING=QUOTED-PRINTABLE:one=0D=0Atwo=\r\n, three\r\nTEL;WORK;VOICE:+49\r\nPHOTO;JPEG;ENCODING=BASE64:aGFs\r\n bG8=\r\n\r\n\
            ADR;HOME:;;Street 1;Town;;1;Land\r\nURL:http://x/?a;b\r\nEND:VCARD\r\n";
        let (text, uid, rules) = fitted(old);
        assert_eq!(rules, [Rule::Uid, Rule::Name, Rule::Card3]);
        assert!(text.contains("VERSION:3.0\r\n") && text.contains(&format!("UID:{uid}\r\n")), "{text}");
        assert!(text.contains("N:Müller;Jörg\\, Dr.\\; X;;;\r\n") && text.contains("NOTE:one\\ntwo\\, three\r\n"), "{text}");
        assert!(
            text.contains("TEL;TYPE=WORK,VOICE:+49\r\n") && text.contains("PHOTO;TYPE=JPEG;ENCODING=b:aGFsbG8=\r\n"),
            "{text}"
        );
        assert_eq!(compare(old.as_bytes(), text.as_bytes()), Likeness::Equivalent(Rule::Card3));
        let latin = b"BEGIN:VCARD\nVERSION:2.1\nN:M\xfcller\nFN:M\xfcller\nUID:1\nEND:VCARD\n";
        assert!(String::from_utf8(fit(latin).expect("card").bytes).expect("text").contains("FN:Müller"));
    }

    #[test]
    fn commas_of_texts_get_their_backslash_and_nothing_else_changes() {
        let event = |summary: &str| {
            format!(
                "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:a\r\nDTSTAMP:20240101T000000Z\r\n{summary}\r\nCATEGORIES:a,b\r\nX-A:a,b\r\n\
                 EXDATE:20240101T000000Z,\r\n 20240102T000000Z\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
            )
        };
        let bare = event("SUMMARY;LANGUAGE=\"x,y\":a\r\n , b\\, c");
        assert_eq!(fitted(&bare).0, event("SUMMARY;LANGUAGE=\"x,y\":a\\, b\\, c"));
        assert_eq!(compare(bare.as_bytes(), fitted(&bare).0.as_bytes()), Likeness::Equivalent(Rule::Written));
        let long = event(&format!("DESCRIPTION:{}, end", "x".repeat(100)));
        assert!(fitted(&long).0.split("\r\n").all(|line| line.len() <= 75), "folded anew");
        let card = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:b\r\nFN:B, C\r\nN:B,C;D;;;\r\nORG:E, F;G\r\nNICKNAME:h,i\r\nEND:VCARD\r\n";
        assert_eq!(fitted(card).0, card.replace("FN:B,", "FN:B\\,").replace("E, F", "E\\, F"));
        let old = bare.replace("VERSION:2.0", "VERSION:1.0");
        assert_eq!(fitted(&old).0, old);
    }

    #[test]
    fn what_is_no_object_is_not_made_one() {
        for text in ["", "hello", "BEGIN:VCALENDAR\nEND:VCALENDAR\n", "BEGIN:VALARM\nEND:VALARM\n"] {
            assert!(fit(text.as_bytes()).is_none(), "{text}");
        }
    }
}
