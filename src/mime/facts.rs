//! What the headers say: Message-ID, Received and Date, and what is odd about them.
//!
//! A line scan of our own: it runs over every message, wants three headers only, and must take broken header blocks for
//! what they are (mail-parser reads none at all after an empty first line, and decodes what should stay raw).

use jiff::Timestamp;

use super::parse_date;

/// Bytes of a message in which its header is looked for.
const MAX_HEADER_BYTES: usize = 1 << 20;
/// The longest line that RFC 5322 2.1.1 allows.
const MAX_MESSAGE_ID_BYTES: usize = 998;

/// All notes that a header can give.
pub const HEADER_NOTES: [&str; 6] =
    ["no header", "no Message-ID", "unreadable Date header", "NUL byte in the header", "8-bit header", "bare CR line ends"];

/// Facts from a message's header block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderFacts {
    /// Message-ID with its angle brackets.
    pub message_id: Option<String>,
    /// Time of the topmost `Received` header that has a readable one.
    pub received: Option<Timestamp>,
    /// Time of the `Date` header.
    pub date: Option<Timestamp>,
    /// What is odd, in a few fixed words each.
    pub notes: Vec<String>,
}

/// Reads the header block of a message; never fails and never looks at more than the first MiB.
///
/// The block ends at the first empty line. Where several lines of a name are, the first that can be read is taken.
pub fn header_facts(message: &[u8]) -> HeaderFacts {
    let start = message.get(..MAX_HEADER_BYTES).unwrap_or(message);
    let mut facts = HeaderFacts::default();
    let mut fields = Fields::new(start);
    let (mut any, mut dated) = (false, false);
    while let Some((name, value)) = fields.next() {
        any = true;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"Date") => {
                dated = true;
                facts.date = facts.date.or_else(|| parse_date(value));
            }
            8 if facts.received.is_none() && name.eq_ignore_ascii_case(b"Received") => {
                facts.received = memchr::memrchr(b';', value).and_then(|i| parse_date(value.get(i + 1..)?));
            }
            10 if facts.message_id.is_none() && name.eq_ignore_ascii_case(b"Message-ID") => {
                facts.message_id = message_id(value);
            }
            _ => {}
        }
    }
    let header = start.get(..fields.at).unwrap_or(start);
    let mut note = |odd: bool, words: &str| {
        if odd {
            facts.notes.push(words.to_owned());
        }
    };
    let [no_header, no_id, no_date, nul, eight_bit, bare_cr] = HEADER_NOTES;
    note(!any, no_header);
    note(any && facts.message_id.is_none(), no_id);
    note(dated && facts.date.is_none(), no_date);
    note(memchr::memchr(0, header).is_some(), nul);
    // A cut in the middle of a character is our doing.
    note(std::str::from_utf8(header).is_err_and(|e| e.error_len().is_some() || start.len() == message.len()), eight_bit);
    note(fields.bare_cr, bare_cr);
    facts
}

/// The text of a Message-ID as it stands, without line ends and other control characters.
fn message_id(value: &[u8]) -> Option<String> {
    // Control characters and folds go, so more is looked at than is kept.
    let value = value.get(..4 * MAX_MESSAGE_ID_BYTES).unwrap_or(value);
    let mut text = String::from_utf8_lossy(value).into_owned();
    text.retain(|c| !c.is_control());
    let mut text = text.trim().to_owned();
    if text.len() > MAX_MESSAGE_ID_BYTES {
        text.truncate(text.floor_char_boundary(MAX_MESSAGE_ID_BYTES));
    }
    (!text.is_empty()).then_some(text)
}

/// The fields of a header block, with folded lines in one piece.
struct Fields<'a> {
    bytes: &'a [u8],
    /// First byte not yet read; after the last field, the end of the block with its empty line.
    at: usize,
    /// What ends a line: CR in a message that has no LF.
    end: u8,
    /// A CR that no LF follows was met.
    bare_cr: bool,
}

impl<'a> Fields<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let cr_only = memchr::memchr(b'\n', bytes).is_none() && memchr::memchr(b'\r', bytes).is_some();
        Fields { bytes, at: 0, end: if cr_only { b'\r' } else { b'\n' }, bare_cr: cr_only }
    }

    /// The next line with its end; nothing at the end of the bytes.
    fn line(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = memchr::memchr(self.end, rest).map_or(rest.len(), |i| i + 1);
        let line = rest.get(..length).unwrap_or(rest);
        self.at += length;
        if self.end == b'\n'
            && let Some(cr) = memchr::memchr(b'\r', line)
        {
            self.bare_cr |= cr + 2 != line.len() && cr + 1 != line.len();
        }
        line
    }

    /// Name and value of the next field; a line that is none is passed over.
    fn next(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        loop {
            let start = self.at;
            let line = self.line();
            if line.is_empty() || matches!(line, b"\n" | b"\r\n" | b"\r") {
                return None;
            }
            while let Some(b' ' | b'\t') = self.bytes.get(self.at) {
                self.line();
            }
            let Some(colon) = memchr::memchr(b':', line) else { continue };
            // RFC 5322 4.5 allows space before the colon; a From_ line has space inside.
            let name = line.get(..colon).unwrap_or_default().trim_ascii_end();
            if !name.is_empty() && name.iter().all(|b| matches!(b, 33..=126)) {
                return Some((name, self.bytes.get(start + colon + 1..self.at).unwrap_or_default()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn date(text: &str) -> Option<Timestamp> {
        parse_date(text.as_bytes())
    }

    #[test]
    fn the_three_headers_are_found_whatever_their_case_and_folding() {
        for end in ["\n", "\r\n", "\r"] {
            let message = [
                "From a@b Mon Jan  1 00:00:00 2024",
                "Received: from a by b; not a date",
                "RECEIVED: from a (x; y) by b;",
                "\tMon, 1 Jan 2024 10:00:00 +0100 (CET)",
                "Received: from c by d; 1 Jan 2020 00:00:00 +0000",
                "date : Mon, 1 Jan 2024 08:00:00",
                " +0000",
                "Message-Id:",
                "  <a@b>",
                "",
                "Message-ID: <body>",
                "Date: 1 Jan 1999 00:00:00 +0000",
            ]
            .join(end);
            let facts = header_facts(message.as_bytes());
            assert_eq!(facts.message_id.as_deref(), Some("<a@b>"));
            assert_eq!(facts.received, date("1 Jan 2024 09:00:00 +0000"));
            assert_eq!(facts.date, date("1 Jan 2024 08:00:00 +0000"));
            let odd: &[&str] = if end == "\r" { &["bare CR line ends"] } else { &[] };
            assert_eq!(facts.notes, odd);
        }
    }

    #[test]
    fn what_is_odd_is_noted() {
        let notes = |message: &[u8]| header_facts(message).notes.join(", ");
        assert_eq!(notes(b""), "no header");
        assert_eq!(notes(b"\nSubject: a\n\nx"), "no header");
        assert_eq!(notes(b"just text\nand more\n"), "no header");
        assert_eq!(notes(b"Subject: a\n\nMessage-ID: <a>"), "no Message-ID");
        assert_eq!(notes(b"Message-ID:\x01 \r\nDate: \n\n"), "no Message-ID, unreadable Date header");
        assert_eq!(notes(b"Message-ID: <a>\nSubject: caf\xe9\n\n\0"), "8-bit header");
        assert_eq!(notes("Message-ID: <a>\nSubject: café\n\n\u{ff}".as_bytes()), "");
        assert_eq!(notes(b"Message-ID: <a>\nX: a\0b\n\n"), "NUL byte in the header");
        assert_eq!(notes(b"Message-ID: <a>\r\nX: a\rb\r\n\r\n"), "bare CR line ends");
        assert_eq!(notes(b"Message-ID: <a>\r\n\r\na\rb"), "");
    }

    #[test]
    fn a_message_id_stays_short_and_printable() {
        let long = format!("Message-ID: <{}\u{1b}[2J>\n\n", "ü".repeat(2000));
        let id = header_facts(long.as_bytes()).message_id.unwrap();
        assert!(id.len() <= 998 && id.starts_with("<ü") && !id.contains('\u{1b}'));
    }

    #[test]
    fn no_more_than_a_mib_is_looked_at() {
        let mut message = b"X: ".to_vec();
        message.resize(MAX_HEADER_BYTES - 1, b'a');
        message.extend_from_slice("ž\nMessage-ID: <a>\n\n".as_bytes());
        assert_eq!(header_facts(&message).notes, ["no Message-ID"]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            header_facts(&bytes);
        }

        #[test]
        fn no_lines_make_it_panic(parts in proptest::collection::vec(prop_oneof![
            Just(b"Date:".to_vec()), Just(b"Received: a; ".to_vec()), Just(b"Message-ID: <".to_vec()), Just(b"\n".to_vec()),
            Just(b"\r".to_vec()), Just(b" ".to_vec()), Just(b":".to_vec()), any::<Vec<u8>>()], 0..40)) {
            header_facts(&parts.concat());
        }
    }
}
