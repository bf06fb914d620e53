//! State that mbox programs keep in header lines of their own: flags, keywords, UIDs.
//!
//! Senders can write such lines too, so nothing here may lose a message: only what Thunderbird itself marks as expunged
//! and c-client's own folder data are left out, and both are listed.

use std::borrow::Cow;

use crate::model::Flag;

/// What the header of a message says of its state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct HeaderState {
    /// System flags.
    pub flags: Vec<Flag>,
    /// Keywords in the header's order.
    pub keywords: Vec<String>,
    /// `X-UID`.
    pub uid: Option<u32>,
    /// `X-IMAP` or `X-IMAPbase`.
    pub base: Option<ImapBase>,
    /// `X-Mozilla-Status`, if Thunderbird wrote it.
    pub mozilla: Option<u32>,
    /// `X-Gmail-Labels` as it stands.
    pub gmail_labels: Option<Vec<u8>>,
    /// c-client's pseudo message at the start of a folder.
    pub folder_data: bool,
}

/// UIDVALIDITY and the last UID given out (c-client, Dovecot).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ImapBase {
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// The last UID that was given out.
    pub last_uid: Option<u32>,
}

/// X-Mozilla-Status: expunged, but the file is not compacted yet.
pub(super) const MOZILLA_EXPUNGED: u32 = 0x8;
/// X-Mozilla-Status: only part of the body was fetched.
pub(super) const MOZILLA_PARTIAL: u32 = 0x400;

/// A header field: name, value with its folds, without the last line end.
struct Field<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

/// The fields of a header, and where the body begins.
struct Fields<'a> {
    head: &'a [u8],
    at: usize,
    /// The empty line was there.
    ended: bool,
}

impl<'a> Fields<'a> {
    fn new(head: &'a [u8]) -> Self {
        Fields { head, at: 0, ended: false }
    }

    fn line_end(&self, from: usize) -> usize {
        let rest = self.head.get(from..).unwrap_or_default();
        memchr::memchr(b'\n', rest).map_or(self.head.len(), |n| from + n + 1)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        while !self.ended && self.at < self.head.len() {
            let start = self.at;
            let mut end = self.line_end(start);
            self.at = end;
            let line = self.head.get(start..end)?;
            if matches!(line, b"\n" | b"\r\n") {
                self.ended = true;
                return None;
            }
            while matches!(self.head.get(end), Some(b' ' | b'\t')) {
                end = self.line_end(end);
            }
            self.at = end;
            if let Some(colon) = line.iter().take(128).position(|&b| b == b':') {
                let value = self.head.get(start + colon + 1..end)?;
                let value = value.strip_suffix(b"\n").unwrap_or(value);
                return Some(Field {
                    name: line.get(..colon)?.trim_ascii_end(),
                    value: value.strip_suffix(b"\r").unwrap_or(value),
                });
            }
        }
        None
    }
}

/// Where the body begins and what `Content-Length` says; None if the header does not end within `head`. The last one
/// counts: the program that wrote the file adds its own at the end.
pub(super) fn content_length(head: &[u8]) -> Option<(u64, Option<u64>)> {
    let mut fields = Fields::new(head);
    let mut length = None;
    for field in fields.by_ref() {
        if field.name.eq_ignore_ascii_case(b"content-length") {
            // A number does not go on in the next line.
            length = number(field.value).filter(|_| !field.value.contains(&b'\n'));
        }
    }
    fields.ended.then_some((fields.at as u64, length))
}

fn number(value: &[u8]) -> Option<u64> {
    let value = value.trim_ascii();
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn text(value: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(value)
}

/// Reads the state out of a message that begins with `head`.
pub(super) fn read(head: &[u8]) -> HeaderState {
    let mut state = HeaderState::default();
    let (mut status, mut x_status) = (None, None);
    let mut mozilla_keys = None;
    let mut mozilla_deleted = false;
    let (mut dont_delete, mut leading) = (false, true);
    for field in Fields::new(head) {
        let name = field.name;
        // Nearly all fields are none of ours: one look at the first letter tells.
        match name.first().map(u8::to_ascii_lowercase) {
            Some(b's') if name.eq_ignore_ascii_case(b"status") => status = Some(field.value),
            Some(b's') if name.eq_ignore_ascii_case(b"subject") => {
                dont_delete = contains(field.value, b"FOLDER INTERNAL DATA");
            }
            Some(b'x') => {
                // Thunderbird puts its lines before everything else; further down a sender wrote them.
                let ours = leading && starts_with(name, b"x-mozilla-");
                if name.eq_ignore_ascii_case(b"x-status") {
                    x_status = Some(field.value);
                } else if name.eq_ignore_ascii_case(b"x-keywords") {
                    add_keywords(&mut state.keywords, field.value);
                } else if name.eq_ignore_ascii_case(b"x-uid") {
                    state.uid = number(field.value).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
                } else if name.eq_ignore_ascii_case(b"x-imap") || name.eq_ignore_ascii_case(b"x-imapbase") {
                    state.base = imap_base(field.value).or(state.base);
                } else if name.eq_ignore_ascii_case(b"x-gmail-labels") && state.gmail_labels.is_none() {
                    state.gmail_labels = Some(field.value.to_vec());
                } else if ours && name.eq_ignore_ascii_case(b"x-mozilla-status") {
                    state.mozilla = hex(field.value);
                } else if ours && name.eq_ignore_ascii_case(b"x-mozilla-status2") {
                    mozilla_deleted = hex(field.value).is_some_and(|bits| bits & 0x0020_0000 != 0);
                } else if ours && name.eq_ignore_ascii_case(b"x-mozilla-keys") {
                    mozilla_keys = Some(field.value);
                }
            }
            _ => {}
        }
        leading = leading && (starts_with(name, b"x-") || name.eq_ignore_ascii_case(b"fcc"));
    }
    state.folder_data = dont_delete && state.base.is_some();
    if let Some(keys) = mozilla_keys {
        add_keywords(&mut state.keywords, keys);
    }
    let letters = |value: Option<&[u8]>| letters(value.unwrap_or_default()).to_vec();
    let letters = [letters(status), letters(x_status)].concat();
    let bits = state.mozilla.unwrap_or_default();
    let has = |letter: u8, bit: u32| letters.contains(&letter) || bits & bit != 0;
    for (flag, set) in [
        (Flag::Answered, has(b'A', 0x2)),
        (Flag::Deleted, has(b'D', 0) || mozilla_deleted),
        (Flag::Draft, has(b'T', 0)),
        (Flag::Flagged, has(b'F', 0x4)),
        (Flag::Seen, has(b'R', 0x1)),
    ] {
        if set {
            state.flags.push(flag);
        }
    }
    if bits & 0x1000 != 0 {
        add_keyword(&mut state.keywords, "$Forwarded");
    }
    state
}

/// The letters of `Status` and `X-Status`; nothing if the field holds something else, such as a delivery status.
fn letters(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    let known = value.iter().all(|b| b"ROUNADFTCGHIJKLPQSW$".contains(b));
    if known && value.len() <= 12 { value } else { &[] }
}

fn hex(value: &[u8]) -> Option<u32> {
    u32::from_str_radix(text(value).trim(), 16).ok()
}

fn starts_with(name: &[u8], prefix: &[u8]) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

fn contains(value: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(value, needle).is_some()
}

/// Spaces part keywords (c-client, Thunderbird); commas too (OfflineIMAP).
fn add_keywords(keywords: &mut Vec<String>, value: &[u8]) {
    for word in value.split(|b| b.is_ascii_whitespace() || *b == b',').filter(|w| !w.is_empty()) {
        add_keyword(keywords, &text(word));
    }
}

fn add_keyword(keywords: &mut Vec<String>, word: &str) {
    /// More than any program writes; a hostile header must not grow the listing without end.
    const MAX_KEYWORDS: usize = 1000;
    if keywords.len() < MAX_KEYWORDS && !keywords.iter().any(|k| k == word) {
        keywords.push(word.to_owned());
    }
}

fn imap_base(value: &[u8]) -> Option<ImapBase> {
    let mut words = value.split(u8::is_ascii_whitespace).filter(|w| !w.is_empty());
    let mut next = || words.next().and_then(number).and_then(|n| u32::try_from(n).ok());
    let uid_validity = next().filter(|n| *n > 0)?;
    Some(ImapBase { uid_validity, last_uid: next() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_letters_become_flags() {
        let state = read(b"Status: RO\nX-Status: AFTD\nX-Keywords: $Label1 todo          \nX-UID: 17\n\nStatus: none\n");
        assert_eq!(state.flags, [Flag::Answered, Flag::Deleted, Flag::Draft, Flag::Flagged, Flag::Seen]);
        assert_eq!((state.keywords, state.uid), (vec!["$Label1".into(), "todo".into()], Some(17)));
        assert_eq!(read(b"Status: 5.1.1\nX-Status:\nX-Keywords: a, b\n").keywords, ["a", "b"]);
        assert!(read(b"Status: RESOLVED\n\n").flags.is_empty());
    }

    #[test]
    fn thunderbirds_bits_become_flags_and_forwarded() {
        let state = read(b"X-Account-Key: a\r\nX-UIDL: 1\r\nX-Mozilla-Status: 1007\r\nX-Mozilla-Status2: 00200000\r\nX-Mozilla-Keys: $label1 x        \r\nA: b\r\n\r\n");
        assert_eq!(state.flags, [Flag::Answered, Flag::Deleted, Flag::Flagged, Flag::Seen]);
        assert_eq!(state.keywords, ["$label1", "x", "$Forwarded"]);
    }

    #[test]
    fn a_sender_cannot_mark_mail_as_expunged() {
        assert_eq!(read(b"Received: x\nX-Mozilla-Status: 0008\n\n").mozilla, None);
    }

    #[test]
    fn imap_base_names_uid_validity_and_last_uid() {
        let state =
            read(b"Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\nX-IMAP: 1234567890 0000000012 kw\nStatus: RO\n\n");
        assert!(state.folder_data);
        assert_eq!(state.base, Some(ImapBase { uid_validity: 1_234_567_890, last_uid: Some(12) }));
        assert!(!read(b"Subject: FOLDER INTERNAL DATA\n\n").folder_data);
    }

    #[test]
    fn content_length_needs_a_complete_header() {
        assert_eq!(content_length(b"A: b\nContent-Length: 12\n\nxyz"), Some((25, Some(12))));
        assert_eq!(content_length(b"A: b\r\ncontent-length:  7 \r\n\r\n"), Some((29, Some(7))));
        assert_eq!(content_length(b"A: b\nContent-Length: 12\n"), None);
        assert_eq!(content_length(b"Content-Length: 99999999999999999999\n\n"), Some((38, None)));
        assert_eq!(content_length(b"\nContent-Length: 12\n\n"), Some((1, None)));
    }
}
