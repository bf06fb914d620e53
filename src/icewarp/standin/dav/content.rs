//! What a body holds: the components of calendars, notes and cards, line by line, without judging their properties.

use super::store::Kind;

/// A body as it is stored.
pub(super) struct Taken {
    pub(super) bytes: Vec<u8>,
    pub(super) mime: String,
    /// Is it other than what was sent?
    pub(super) changed: bool,
    /// Who a real server would write to.
    pub(super) attendees: Vec<String>,
}

/// Why a body is not taken.
pub(super) enum Refused {
    /// Not the content type of this collection.
    Type,
    /// An item of another type than the collection's.
    Component,
    /// More than one object.
    Several,
    /// No usable component.
    Nothing,
}

/// Properties of vCard 4 that a vCard 3.0 does not have.
const OF_VCARD_4: &[&str] =
    &["KIND", "GENDER", "MEMBER", "RELATED", "LANG", "ANNIVERSARY", "XML", "CLIENTPIDMAP", "CALADRURI", "CALURI"];

/// Lines of the text with their folds, each with its line end.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in text.split_inclusive('\n') {
        match lines.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => last.push_str(line),
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

/// A line's property name in capitals, without group and parameters.
fn name(line: &str) -> String {
    let name = line.split([':', ';']).next().unwrap_or_default();
    name.rsplit('.').next().unwrap_or_default().trim().to_ascii_uppercase()
}

/// A line's value, unfolded.
fn value(line: &str) -> String {
    let unfolded = line.replace("\r\n ", "").replace("\r\n\t", "").replace("\n ", "").replace("\n\t", "");
    unfolded.split_once(':').map_or(String::new(), |(_, value)| value.trim().to_owned())
}

/// Names of the components that stand directly in the object.
fn components(lines: &[String]) -> Vec<String> {
    let mut depth = 0_usize;
    let mut found = Vec::new();
    for line in lines {
        match name(line).as_str() {
            "BEGIN" => {
                found.extend((depth <= 1).then(|| value(line).to_ascii_uppercase()));
                depth += 1;
            }
            "END" => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    found
}

/// Takes a body for a collection of that kind, without the properties and components that do not survive.
pub(super) fn take(kind: Kind, mime: &str, body: &[u8], dropped: &[String]) -> Result<Taken, Refused> {
    let base = mime.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let as_sent = |mime: &str| Taken { bytes: body.to_vec(), mime: mime.to_owned(), changed: false, attendees: Vec::new() };
    let stored_as = match kind {
        Kind::Files => return Ok(as_sent(if mime.is_empty() { "application/octet-stream" } else { mime })),
        Kind::Contacts => "text/vcard; charset=utf-8",
        Kind::Notes if base.is_empty() || base == "text/x-vnote" => "text/x-vnote; charset=utf-8",
        Kind::Events | Kind::Tasks | Kind::Journal if base.is_empty() || base == "text/calendar" => {
            "text/calendar; charset=utf-8"
        }
        _ => return Err(Refused::Type),
    };
    let text = std::str::from_utf8(body).map_err(|_| Refused::Nothing)?;
    let lines = lines(text.trim_start_matches('\u{feff}'));
    check(kind, &lines)?;
    let kept = survivors(kind, &lines, dropped);
    let (bytes, changed) = if kept == text { (body.to_vec(), false) } else { (kept.into_bytes(), true) };
    Ok(Taken { attendees: attendees(kind, &bytes), bytes, mime: stored_as.to_owned(), changed })
}

fn check(kind: Kind, lines: &[String]) -> Result<(), Refused> {
    let found = components(lines);
    let wanted = kind.component().unwrap_or("VCARD");
    if !found.iter().any(|component| component == wanted) {
        let other = found.iter().any(|component| Kind::of_component(component).is_some());
        return Err(if other { Refused::Component } else { Refused::Nothing });
    }
    if found.iter().any(|component| component != wanted && Kind::of_component(component).is_some()) {
        return Err(Refused::Component);
    }
    let mut uids: Vec<String> = lines.iter().filter(|line| name(line) == "UID").map(|line| value(line)).collect();
    uids.sort();
    uids.dedup();
    let cards = found.iter().filter(|component| *component == "VCARD" || *component == "VNOTE").count();
    if uids.len() > 1 || cards > 1 { Err(Refused::Several) } else { Ok(()) }
}

/// The text without what does not survive; a card becomes one of version 3.0.
fn survivors(kind: Kind, lines: &[String], dropped: &[String]) -> String {
    let card_of_4 = kind == Kind::Contacts && lines.iter().any(|line| name(line) == "VERSION" && value(line) == "4.0");
    let mut out = String::new();
    let mut inside: Option<String> = None;
    for line in lines {
        let name = name(line);
        if let Some(component) = &inside {
            if name == "END" && value(line).eq_ignore_ascii_case(component) {
                inside = None;
            }
        } else if name == "BEGIN" && dropped.iter().any(|other| value(line).eq_ignore_ascii_case(other)) {
            inside = Some(value(line));
        } else if dropped.contains(&name) || (card_of_4 && OF_VCARD_4.contains(&name.as_str())) {
        } else if card_of_4 && name == "VERSION" {
            out.push_str("VERSION:3.0\r\n");
        } else {
            out.push_str(line);
        }
    }
    out
}

/// Addresses of the attendees, of events and tasks.
pub(super) fn attendees(kind: Kind, bytes: &[u8]) -> Vec<String> {
    if !matches!(kind, Kind::Events | Kind::Tasks) {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(bytes);
    lines(&text).iter().filter(|line| name(line) == "ATTENDEE").map(|line| value(line)).collect()
}

/// Changes one letter of the summary, the name or, failing these, the end.
pub(super) fn alter(bytes: &mut [u8]) {
    let place = ["SUMMARY", "\nFN", "BODY"].iter().find_map(|name| {
        let start = memchr::memmem::find(bytes, name.as_bytes())? + name.len();
        let letter = bytes[start..].iter().take_while(|&&byte| byte != b'\n').position(u8::is_ascii_alphabetic)?;
        Some(start + letter)
    });
    let place = place.or_else(|| bytes.iter().rposition(u8::is_ascii_alphabetic));
    if let Some(byte) = place.and_then(|place| bytes.get_mut(place)) {
        *byte ^= 0x20;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\nX-LONG;A=b:one\r\n two\r\nBEGIN:VALARM\r\nACTION:x\r\nEND:VALARM\r\nATTENDEE:mailto:b\r\n @x\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

    #[test]
    fn what_does_not_survive_goes_with_its_folds_and_its_end() {
        let taken = take(Kind::Events, "text/calendar; charset=utf-8", EVENT.as_bytes(), &["X-LONG".into(), "VALARM".into()]);
        let taken = taken.unwrap_or_else(|_| panic!("taken"));
        let text = String::from_utf8(taken.bytes).expect("text");
        assert_eq!(
            text,
            "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\nATTENDEE:mailto:b\r\n @x\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
        );
        assert_eq!((taken.changed, taken.attendees), (true, vec!["mailto:b@x".to_owned()]));
    }

    #[test]
    fn each_collection_takes_its_own_items_only() {
        let refusal = |kind, mime, body: &str| take(kind, mime, body.as_bytes(), &[]).err();
        assert!(refusal(Kind::Events, "text/calendar", EVENT).is_none());
        assert!(matches!(refusal(Kind::Tasks, "text/calendar", EVENT), Some(Refused::Component)));
        assert!(matches!(refusal(Kind::Events, "text/plain", EVENT), Some(Refused::Type)));
        assert!(matches!(refusal(Kind::Events, "", "BEGIN:VCALENDAR\nEND:VCALENDAR\n"), Some(Refused::Nothing)));
        assert!(matches!(refusal(Kind::Contacts, "", &"BEGIN:VCARD\nEND:VCARD\n".repeat(2)), Some(Refused::Several)));
    }

    #[test]
    fn cards_come_back_as_version_3() {
        let card = "BEGIN:VCARD\r\nVERSION:4.0\r\nKIND:group\r\nFN:A\r\nEND:VCARD\r\n";
        let taken = take(Kind::Contacts, "text/vcard", card.as_bytes(), &[]).unwrap_or_else(|_| panic!("taken"));
        assert_eq!(taken.bytes, b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:A\r\nEND:VCARD\r\n");
    }
}
