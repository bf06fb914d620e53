//! Notes: a vNote (IrMC 1.1) with what a stored one needs, and a note of Google Keep as a vNote that says the same.

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::compare::PropertyChange;
use super::content::Component;
use super::fit::{escaped, folded_to, with_more};
use super::value::{Decoded, decoded, unescaped};

/// Characters of a title that is made of a text.
const TITLE_CHARS: usize = 80;
/// Characters of a line of quoted-printable (RFC 2045 6.7).
const QUOTED_LINE: usize = 74;
/// What of a note of Google Keep goes into the vNote.
const CARRIED: [&str; 6] = ["title", "textContent", "listContent", "labels", "createdTimestampUsec", "userEditedTimestampUsec"];

/// A note of Google Keep, as Takeout has it.
pub(super) struct Keep(Map<String, Value>);

impl Keep {
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        if !bytes.trim_ascii_start().starts_with(b"{") {
            return None;
        }
        let note: Map<String, Value> = serde_json::from_slice(bytes).ok()?;
        note.contains_key("userEditedTimestampUsec").then_some(Keep(note))
    }

    /// The vNote that says the same, as far as one can.
    pub fn note(&self, uid: &str) -> String {
        let text = self.text();
        let title = Some(self.string("title")).filter(|title| !title.trim().is_empty());
        let mut out = format!("BEGIN:VNOTE\r\nVERSION:1.1\r\nUID:{uid}\r\n");
        text_to(&mut out, "SUMMARY", &title.map_or_else(|| title_of(&text), str::to_owned));
        text_to(&mut out, "BODY", &text);
        let labels: Vec<String> = self.list("labels").filter_map(|label| label.get("name")?.as_str().map(escaped)).collect();
        if !labels.is_empty() {
            text_to(&mut out, "CATEGORIES", &labels.join(","));
        }
        for (name, key) in [("DCREATED", "createdTimestampUsec"), ("LAST-MODIFIED", "userEditedTimestampUsec")] {
            let at = self.0.get(key).and_then(Value::as_i64).and_then(|at| Timestamp::from_microsecond(at).ok());
            if let Some(at) = at {
                let _ = write!(out, "{name}:{}\r\n", at.strftime("%Y%m%dT%H%M%SZ"));
            }
        }
        out.push_str("END:VNOTE\r\n");
        out
    }

    /// What a vNote cannot say, by its name in the file.
    pub fn left_out(&self) -> Vec<PropertyChange> {
        let says_something = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::String(text) => !text.is_empty() && text != "DEFAULT",
            Value::Array(all) => !all.is_empty(),
            Value::Object(all) => !all.is_empty(),
            Value::Bool(true) | Value::Number(_) => true,
        };
        let left = self.0.iter().filter(|(key, value)| !CARRIED.contains(&key.as_str()) && says_something(value));
        let shown = |value: &Value| match value {
            Value::Array(all) => format!("{} entries", all.len()),
            Value::String(text) => crate::model::printable(&text.chars().take(TITLE_CHARS).collect::<String>()),
            other => other.to_string().chars().take(TITLE_CHARS).collect(),
        };
        // A name of a hostile file is shown like any other, and stays one word.
        let word = |key: &str| crate::model::printable(key).replace(char::is_whitespace, "_");
        left.map(|(key, value)| PropertyChange { name: word(key), expected: Some(shown(value)), found: None }).collect()
    }

    fn string(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    fn list(&self, key: &str) -> impl Iterator<Item = &Value> {
        self.0.get(key).and_then(Value::as_array).into_iter().flatten()
    }

    /// The text, and the lines of a list with a box before each.
    fn text(&self) -> String {
        let entry = |entry: &Value| {
            let mark = if entry.get("isChecked").and_then(Value::as_bool).unwrap_or_default() { "x" } else { " " };
            format!("[{mark}] {}", entry.get("text").and_then(Value::as_str).unwrap_or_default())
        };
        let text = Some(self.string("textContent").to_owned()).filter(|text| !text.is_empty());
        text.into_iter().chain(self.list("listContent").map(entry)).collect::<Vec<_>>().join("\n")
    }
}

/// A vNote with a UID and a title, below VERSION; the rest stays as it is.
pub(super) fn fitted(text: &str, note: &Component, uid: &str) -> String {
    let mut more = String::new();
    if note.lacks("UID") {
        folded_to(&mut more, &format!("UID:{uid}"));
    }
    if note.lacks("SUMMARY") {
        let body = note.property("BODY").and_then(|body| match decoded(body)? {
            Decoded::Text(text) => Some(unescaped(&text)),
            Decoded::Bytes(_) => None,
        });
        text_to(&mut more, "SUMMARY", &title_of(&body.unwrap_or_default()));
    }
    with_more(text, if note.property("VERSION").is_some() { "VERSION" } else { "BEGIN" }, &more)
}

/// The first line of a text that says something.
fn title_of(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("?");
    line.chars().take(TITLE_CHARS).collect()
}

/// A property whose value is text: as it is where it is plain, else quoted-printable in UTF-8, as vNotes have it. A colon is encoded too, so
/// that no line of a text looks like a property.
fn text_to(out: &mut String, name: &str, text: &str) {
    if text.len() < QUOTED_LINE
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b" ,.-_/()[]".contains(&b))
        && !text.ends_with(' ')
    {
        let _ = write!(out, "{name}:{text}\r\n");
        return;
    }
    let _ = write!(out, "{name};CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=\r\n");
    let mut length = 0;
    for byte in text.replace("\r\n", "\n").replace('\n', "\r\n").bytes() {
        if length >= QUOTED_LINE - 2 {
            out.push_str("=\r\n");
            length = 0;
        }
        let plain = byte.is_ascii_graphic() && !matches!(byte, b'=' | b':' | b';') || byte == b' ' && length > 0;
        if plain {
            out.push(char::from(byte));
            length += 1;
        } else {
            let _ = write!(out, "={byte:02X}");
            length += 3;
        }
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::super::compare::Rule;
    use super::super::{Likeness, compare, fit};
    use super::*;

    const KEEP: &str = r#"{"attachments":[{"filePath":"1.png","mimetype":"image/png"}],"color":"BLUE","isTrashed":false,"isPinned":false,
        "textContent":"Grüße: eins\nzwei","title":"Übersicht","userEditedTimestampUsec":1690866236591000,
        "createdTimestampUsec":1690514572858000,"labels":[{"name":"home"},{"name":"a, b"}]}"#;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(fit(bytes).expect("a note").bytes).expect("text")
    }

    #[test]
    fn a_note_of_keep_becomes_a_vnote_and_what_that_cannot_say_is_named() {
        let sent = text(KEEP.as_bytes());
        assert!(sent.starts_with("BEGIN:VNOTE\r\nVERSION:1.1\r\nUID:floe-"), "{sent}");
        assert!(sent.contains("=C3=9Cbersicht\r\n") && sent.contains("Gr=C3=BC=C3=9Fe=3A eins=0D=0Azwei\r\n"), "{sent}");
        assert!(sent.contains("DCREATED:20230728T032252Z\r\nLAST-MODIFIED:20230801T050356Z\r\nEND:VNOTE\r\n"), "{sent}");
        let Likeness::Changed(changes) = compare(KEEP.as_bytes(), sent.as_bytes()) else { panic!("left out") };
        assert_eq!(changes.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["attachments", "color"]);
        let plain =
            KEEP.replace("BLUE", "DEFAULT").replace("\"attachments\":[{\"filePath\":\"1.png\",\"mimetype\":\"image/png\"}],", "");
        assert_eq!(compare(plain.as_bytes(), text(plain.as_bytes()).as_bytes()), Likeness::Equivalent(Rule::Keep));
        let edited = text(plain.as_bytes()).replace("zwei", "drei");
        let Likeness::Changed(changes) = compare(plain.as_bytes(), edited.as_bytes()) else { panic!("edited") };
        assert_eq!(changes.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["VNOTE/BODY"]);
    }

    #[test]
    fn a_list_becomes_lines_with_boxes() {
        let list = r#"{"title":"","listContent":[{"text":"milk","isChecked":true},{"text":"BEGIN:VNOTE","isChecked":false}],"userEditedTimestampUsec":1}"#;
        let sent = text(list.as_bytes());
        assert!(sent.contains("SUMMARY:[x] milk\r\n") && sent.contains("[x] milk=0D=0A[ ] BEGIN=3AVNOTE\r\n"), "{sent}");
    }

    #[test]
    fn a_vnote_gets_what_it_lacks_and_keeps_the_rest() {
        let whole = "BEGIN:VNOTE\r\nVERSION:1.1\r\nUID:1\r\nSUMMARY:a\r\nBODY:b\r\nEND:VNOTE\r\n";
        assert_eq!(text(whole.as_bytes()), whole);
        assert!(fit(whole.repeat(2).as_bytes()).is_none(), "one resource holds one note");
        let phone = "BEGIN:VNOTE\r\nVERSION:1.1\r\nBODY;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=0D=0AK=C3=A4se=0D=0A=\r\nBrot\r\nDCREATED:20100101T000000\r\nEND:VNOTE\r\n";
        let sent = text(phone.as_bytes());
        assert!(
            sent.contains("VERSION:1.1\r\nUID:floe-")
                && sent.contains("SUMMARY;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=\r\nK=C3=A4se\r\nBODY"),
            "{sent}"
        );
        assert_eq!(fit(phone.as_bytes()).expect("a note").rules, [Rule::Uid, Rule::Title]);
        assert_eq!(compare(phone.as_bytes(), sent.as_bytes()), Likeness::Equivalent(Rule::Title));
        let Likeness::Changed(_) = compare(phone.as_bytes(), sent.replace("Brot", "Wein").as_bytes()) else { panic!("edited") };
    }

    proptest::proptest! {
        #[test]
        fn any_text_comes_back(title in "[a-z]{1,9}", body in "\\PC{0,200}", lines in proptest::collection::vec("[ -~äß=:]{0,90}", 0..6)) {
            let body = format!("{body}\n{}", lines.join("\n"));
            let json = serde_json::json!({"title": title, "textContent": body, "userEditedTimestampUsec": 1}).to_string();
            let sent = text(json.as_bytes());
            let tops = super::super::content::components(&super::super::content::content_lines(&sent).expect("lines"));
            let Some(Decoded::Text(found)) = tops[0].property("BODY").and_then(decoded) else { panic!("no body") };
            proptest::prop_assert_eq!(found.replace("\r\n", "\n"), body);
        }
    }
}
