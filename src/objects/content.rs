//! Content lines and components: unfolded, cut into name, parameters and value, nothing decoded.

use std::borrow::Cow;

/// Components inside of components; deeper ones are not read as such.
const MAX_DEPTH: usize = 16;
/// Content lines of one object; one with more is not taken apart.
const MAX_LINES: usize = 100_000;

/// A component with what is in it.
#[derive(Clone, Debug, Default)]
pub(super) struct Component {
    /// Name in capitals: `VCALENDAR`, `VEVENT`, `VCARD`.
    pub name: String,
    pub properties: Vec<Property>,
    pub components: Vec<Component>,
}

impl Component {
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|p| p.name == name)
    }

    /// Has it no such property, or one that says nothing?
    pub fn lacks(&self, name: &str) -> bool {
        self.property(name).is_none_or(|p| p.value.trim().is_empty())
    }

    /// Is it a card of version 2.1, which has rules of its own?
    pub fn is_card_21(&self) -> bool {
        self.name == "VCARD" && self.property("VERSION").is_none_or(|v| v.value.trim() == "2.1")
    }
}

/// A property as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Property {
    /// Group of a vCard, in capitals; mostly empty.
    pub group: String,
    /// Name in capitals.
    pub name: String,
    /// Parameters: name in capitals, values without their quotes. One without a `=` has the name `TYPE` (vCard 2.1).
    pub params: Vec<(String, Vec<String>)>,
    pub value: String,
}

impl Property {
    /// Of an unfolded line.
    pub fn of(line: &str) -> Self {
        let colon = outside_quotes(line, ':').or_else(|| line.find(':')).unwrap_or(line.len());
        let (left, value) = line.split_at(colon);
        let mut parts = split_outside_quotes(left, ';').into_iter();
        let full = parts.next().unwrap_or_default().trim();
        let (group, name) = full.rsplit_once('.').unwrap_or(("", full));
        Property {
            group: group.to_ascii_uppercase(),
            name: name.to_ascii_uppercase(),
            params: parts.filter(|p| !p.trim().is_empty()).map(param).collect(),
            value: value.strip_prefix(':').unwrap_or_default().to_owned(),
        }
    }

    /// The values of a parameter.
    pub fn param(&self, name: &str) -> impl Iterator<Item = &str> {
        self.params.iter().filter(move |(n, _)| n == name).flat_map(|(_, values)| values.iter().map(String::as_str))
    }
}

fn param(text: &str) -> (String, Vec<String>) {
    let Some((name, values)) = text.split_once('=') else {
        let bare = text.trim();
        let encoding = ["QUOTED-PRINTABLE", "BASE64", "8BIT", "7BIT"].iter().any(|e| bare.eq_ignore_ascii_case(e));
        return (if encoding { "ENCODING" } else { "TYPE" }.to_owned(), vec![bare.to_owned()]);
    };
    let values = split_outside_quotes(values, ',').into_iter().map(|v| unquoted(v.trim())).collect();
    (name.trim().to_ascii_uppercase(), values)
}

/// Without quotes, and RFC 6868 undone.
fn unquoted(value: &str) -> String {
    let bare = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    if bare.contains('^') { bare.replace("^n", "\n").replace("^'", "\"").replace("^^", "^") } else { bare.to_owned() }
}

fn outside_quotes(text: &str, wanted: char) -> Option<usize> {
    let mut quoted = false;
    text.find(|c| {
        quoted ^= c == '"';
        c == wanted && !quoted
    })
}

fn split_outside_quotes(text: &str, at: char) -> Vec<&str> {
    let mut quoted = false;
    text.split(move |c| {
        quoted ^= c == '"';
        c == at && !quoted
    })
    .collect()
}

/// The text of an object: UTF-8, else windows-1252, in which every byte is a character.
pub(super) fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => encoding_rs::WINDOWS_1252.decode_without_bom_handling(bytes).0,
    }
}

/// Lines of a file, whatever ends them.
pub(super) fn physical_lines(text: &str) -> impl Iterator<Item = &str> {
    let end = if text.contains('\n') { '\n' } else { '\r' };
    text.split(end).map(|line| line.trim_end_matches('\r'))
}

/// Content lines without their folds; none when there are too many.
pub(super) fn content_lines(text: &str) -> Option<Vec<String>> {
    let mut lines: Vec<String> = Vec::new();
    let mut soft = false;
    for line in physical_lines(text) {
        let full = lines.len() >= MAX_LINES;
        match lines.last_mut() {
            Some(last) if soft => {
                last.pop();
                last.push_str(line);
            }
            Some(last) if line.starts_with([' ', '\t']) => last.push_str(&line[1..]),
            _ if line.trim().is_empty() => {}
            _ if full => return None,
            _ => lines.push(line.to_owned()),
        }
        soft = line.ends_with('=') && lines.last().is_some_and(|last| is_quoted_printable(last));
    }
    Some(lines)
}

fn is_quoted_printable(line: &str) -> bool {
    /// Parameters further to the right are none of vCard 2.1.
    const LOOK: usize = 512;
    let start = line.as_bytes().get(..LOOK).unwrap_or(line.as_bytes());
    let params = start.split(|b| *b == b':').next().unwrap_or_default().to_ascii_uppercase();
    memchr::memmem::find(&params, b"QUOTED-PRINTABLE").is_some()
}

/// The components at the top of an object.
pub(super) fn components(lines: &[String]) -> Vec<Component> {
    let mut done = Vec::new();
    let mut open: Vec<Component> = Vec::new();
    for line in lines {
        let property = Property::of(line);
        let named = property.value.trim();
        if property.name == "BEGIN" && open.len() < MAX_DEPTH {
            open.push(Component { name: named.to_ascii_uppercase(), ..Component::default() });
        } else if property.name == "END" && open.last().is_some_and(|c| c.name.eq_ignore_ascii_case(named)) {
            if let Some(component) = open.pop() {
                open.last_mut().map_or(&mut done, |above| &mut above.components).push(component);
            }
        } else if let Some(component) = open.last_mut() {
            component.properties.push(property);
        }
    }
    // One that is never closed ends with the file.
    while let Some(component) = open.pop() {
        open.last_mut().map_or(&mut done, |above| &mut above.components).push(component);
    }
    done
}

/// The UID of the first component that has one.
pub fn uid_of(bytes: &[u8]) -> Option<String> {
    let tops = components(&content_lines(&text_of(bytes))?);
    let inner = tops.iter().flat_map(|top| std::iter::once(top).chain(&top.components)).filter(|c| c.name != "VTIMEZONE");
    inner.filter_map(|c| c.property("UID")).map(|uid| uid.value.trim().to_owned()).find(|uid| !uid.is_empty())
}

/// Does an event at a time of day have neither end nor duration?
pub fn has_endless_event(bytes: &[u8]) -> bool {
    has_event(bytes, |event| {
        let timed = event.property("DTSTART").is_some_and(|p| p.param("VALUE").all(|v| !v.eq_ignore_ascii_case("DATE")));
        timed && event.property("DTEND").is_none() && event.property("DURATION").is_none()
    })
}

/// Does an event end when it begins?
pub fn has_event_of_no_length(bytes: &[u8]) -> bool {
    let moment = |event: &Component, name| {
        event.property(name).map(|p| (p.value.trim().to_owned(), p.param("TZID").next().map(str::to_owned)))
    };
    has_event(bytes, |event| moment(event, "DTSTART").is_some_and(|start| moment(event, "DTEND") == Some(start)))
}

fn has_event(bytes: &[u8], is: impl Fn(&Component) -> bool) -> bool {
    let Some(lines) = content_lines(&text_of(bytes)) else { return false };
    components(&lines).iter().flat_map(|top| &top.components).any(|component| component.name == "VEVENT" && is(component))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Component {
        components(&content_lines(text).expect("few lines")).pop().expect("a component")
    }

    #[test]
    fn folds_soft_breaks_and_quotes_are_undone() {
        let card = only(
            "BEGIN:VCARD\r\nFN;QUOTED-PRINTABLE:J=C3=B6rg=\r\n M\r\nitem1.tel;work;TYPE=\"a,b\",c:1\r\n 2\r\nX;CN=\"a:b;c\":d\r\nEND:VCARD\r\n",
        );
        let [fn_, tel, x] = card.properties.as_slice() else { panic!("{card:?}") };
        assert_eq!(fn_.value, "J=C3=B6rg M");
        assert_eq!((tel.group.as_str(), tel.name.as_str(), tel.value.as_str()), ("ITEM1", "TEL", "12"));
        assert_eq!(tel.param("TYPE").collect::<Vec<_>>(), ["work", "a,b", "c"]);
        assert_eq!((x.param("CN").next(), x.value.as_str()), (Some("a:b;c"), "d"));
        assert!(card.is_card_21());
    }

    #[test]
    fn the_uid_is_that_of_the_object_not_of_its_time_zone() {
        let text = b"BEGIN:VCALENDAR\nBEGIN:VTIMEZONE\nTZID:x\nUID:zone\nEND:VTIMEZONE\nBEGIN:VEVENT\nUID: a \nEND:VEVENT\nEND:VCALENDAR\n";
        assert_eq!(uid_of(text).as_deref(), Some("a"));
        assert_eq!(uid_of(b"BEGIN:VCARD\rUID:b\rEND:VCARD\r").as_deref(), Some("b"));
        assert_eq!(uid_of(b"\xff\xfe"), None);
    }

    #[test]
    fn events_without_length_are_known() {
        let event = |inside: &str| format!("BEGIN:VCALENDAR\nBEGIN:VEVENT\n{inside}END:VEVENT\nEND:VCALENDAR\n").into_bytes();
        assert!(has_event_of_no_length(&event("DTSTART:20240101T100000Z\nDTEND:20240101T100000Z\n")));
        assert!(has_event_of_no_length(&event("DTSTART;VALUE=DATE:20240101\nDTEND;VALUE=DATE:20240101\n")));
        assert!(!has_event_of_no_length(&event("DTSTART;TZID=a:20240101T100000\nDTEND;TZID=b:20240101T100000\n")));
        assert!(!has_event_of_no_length(&event("DTSTART:20240101T100000Z\n")));
        assert!(has_endless_event(&event("DTSTART:20240101T100000Z\n")));
        assert!(!has_endless_event(&event("DTSTART;VALUE=DATE:20240101\n")));
    }

    #[test]
    fn depth_and_lines_are_bounded() {
        let deep = "BEGIN:A\n".repeat(50_000);
        assert_eq!(components(&content_lines(&deep).expect("lines")).len(), 1);
        assert!(content_lines(&"A:\n".repeat(MAX_LINES + 1)).is_none());
    }
}
