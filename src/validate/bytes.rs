//! Which header fields of a message were changed, and whether its body was.

use std::collections::BTreeMap;

/// Names what differs between two messages: `header NAME` for each field that was changed, added or taken out, and `body`. Line ends
/// do not count. Nothing at all when only they differ.
pub fn what_differs(archived: &[u8], found: &[u8]) -> Vec<String> {
    let (archived, found) = (plain_line_ends(archived), plain_line_ends(found));
    let ((fields, body), (fields_found, body_found)) = (split(&archived), split(&found));
    let mut count: BTreeMap<&[u8], i64> = BTreeMap::new();
    fields.iter().for_each(|field| *count.entry(field).or_default() += 1);
    fields_found.iter().for_each(|field| *count.entry(field).or_default() -= 1);
    let mut names: Vec<String> = count.iter().filter(|(_, n)| **n != 0).map(|(field, _)| name_of(field)).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() && fields != fields_found {
        names.push("order of the header".to_owned());
    }
    if body != body_found {
        names.push("body".to_owned());
    }
    names
}

fn plain_line_ends(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    for (at, &b) in bytes.iter().enumerate() {
        if b != b'\r' || bytes.get(at + 1) != Some(&b'\n') {
            plain.push(b);
        }
    }
    plain
}

/// The header's fields, folded lines with the first (RFC 5322 2.2.3), and the body.
fn split(message: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let end =
        if message.starts_with(b"\n") { 0 } else { memchr::memmem::find(message, b"\n\n").map_or(message.len(), |at| at + 1) };
    let header = &message[..end];
    let mut fields = Vec::new();
    let mut from = 0;
    for at in memchr::memchr_iter(b'\n', header) {
        if !matches!(header.get(at + 1), Some(b' ' | b'\t')) {
            fields.push(&header[from..=at]);
            from = at + 1;
        }
    }
    if from < header.len() {
        fields.push(&header[from..]);
    }
    (fields, &message[end..])
}

fn name_of(field: &[u8]) -> String {
    let name = field.split(|b| *b == b':').next().unwrap_or_default();
    let is_name = name.len() < 80 && name.len() < field.len() && name.iter().all(u8::is_ascii_graphic);
    if is_name { format!("header {}", String::from_utf8_lossy(name)) } else { "header line without a name".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_fields_and_body_are_named() {
        let message = b"Subject: one\r\n two\r\nX-A: 1\r\nX-A: 2\r\n\r\nbody\r\n";
        assert_eq!(what_differs(message, b"Subject: one\n two\nX-A: 1\nX-A: 2\n\nbody\n"), [""; 0]);
        assert_eq!(what_differs(message, b"Subject: one\n\nbody\n"), ["header Subject", "header X-A"]);
        assert_eq!(what_differs(message, b"Subject: one\n two\nX-A: 2\nX-A: 1\n\nbody\n"), ["order of the header"]);
        assert_eq!(what_differs(message, b"Subject: one\n two\nX-A: 1\nX-A: 2\n\nbody"), ["body"]);
        assert_eq!(what_differs(b"\nbody", b""), ["body"]);
        assert_eq!(what_differs(b"no field\n\n", b"\xff\xfe: x\n\n"), ["header line without a name"]);
    }
}
