//! Other forms of a message that are known by digest only: as an IMAP server gives it back, with every line end CR LF, and
//! without the header lines in which mbox programs keep state.

use std::io::Write as _;

use crate::mime;
use crate::model::{Form, Hasher};

/// Bytes that are gathered before they are hashed.
const BLOCK_BYTES: usize = 1 << 16;

/// Of longer messages no other form is made in memory.
pub(super) const TEXT_MAX_BYTES: usize = 4 << 20;

/// Writes the CRLF form itself into this buffer; not when it is the message as it is.
pub(super) fn crlf_text(message: &[u8], text: &mut Vec<u8>) -> bool {
    text.clear();
    // Writing to memory does not fail.
    mime::bare_line_feeds(message, false).next().is_some() && mime::CrlfWriter::new(text).write_all(message).is_ok()
}

/// The same with the form that has no state lines.
pub(super) fn stateless_text(message: &[u8], text: &mut Vec<u8>) -> bool {
    text.clear();
    without_state_lines(message, &mut |part| text.extend_from_slice(part))
}

/// The CRLF form of a message and the one without state lines, where they differ, without making either.
pub(super) fn hashed(message: &[u8]) -> [Option<Form>; 2] {
    [crlf_form(message), Stateless::new(message).finish()]
}

/// Hands over what is between the state lines of a message, or of its beginning; are there any?
fn without_state_lines(beginning: &[u8], take: &mut dyn FnMut(&[u8])) -> bool {
    let lines = mime::state_lines(beginning);
    let mut at = 0;
    for line in &lines {
        take(&beginning[at..line.start]);
        at = line.end;
    }
    if !lines.is_empty() {
        take(&beginning[at..]);
    }
    !lines.is_empty()
}

/// The CRLF form of a message in memory, when it differs.
fn crlf_form(message: &[u8]) -> Option<Form> {
    // Most messages have one sort of line end throughout: then the first one tells, and nothing need be hashed.
    mime::bare_line_feeds(message, false).next()?;
    let mut crlf = Crlf::default();
    crlf.update(message);
    crlf.finish()
}

/// Hashes the form with every bare LF as CR LF.
#[derive(Default)]
pub(super) struct Crlf {
    hasher: Hasher,
    size: u64,
    after_cr: bool,
    bare: bool,
    text: Vec<u8>,
}

impl Crlf {
    /// Takes the next bytes in.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        let mut at = 0;
        for lf in mime::bare_line_feeds(bytes, self.after_cr) {
            self.bare = true;
            self.text.extend_from_slice(&bytes[at..lf]);
            self.text.push(b'\r');
            at = lf;
            if self.text.len() > BLOCK_BYTES {
                self.take();
            }
        }
        self.take();
        self.hasher.update(&bytes[at..]);
        self.size += (bytes.len() - at) as u64;
        if let Some(last) = bytes.last() {
            self.after_cr = *last == b'\r';
        }
    }

    fn take(&mut self) {
        self.hasher.update(&self.text);
        self.size += self.text.len() as u64;
        self.text.clear();
    }

    /// The form, when it is another than the bytes themselves.
    pub(super) fn finish(self) -> Option<Form> {
        self.bare.then(|| Form { sha256: self.hasher.finish(), size: self.size })
    }
}

/// Hashes a message without its state lines. Made from the message's beginning, which has its header in it.
pub(super) struct Stateless(Option<(Hasher, u64)>);

impl Stateless {
    /// Takes the beginning in.
    pub(super) fn new(beginning: &[u8]) -> Self {
        let mut form = Stateless(Some((Hasher::new(), 0)));
        if !without_state_lines(beginning, &mut |part| form.update(part)) {
            form.0 = None;
        }
        form
    }

    /// Takes the next bytes in.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        if let Some((hasher, size)) = &mut self.0 {
            hasher.update(bytes);
            *size += bytes.len() as u64;
        }
    }

    /// The form, when there were such lines.
    pub(super) fn finish(self) -> Option<Form> {
        self.0.map(|(hasher, size)| Form { sha256: hasher.finish(), size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Digest;

    #[test]
    fn the_crlf_form_is_the_same_however_the_bytes_come() {
        let text = b"a\nb\r\nc\r\r\n\nd";
        for cut in 0..text.len() {
            let mut crlf = Crlf::default();
            crlf.update(&text[..cut]);
            crlf.update(&text[cut..]);
            assert_eq!(crlf.finish().unwrap().sha256, Digest::of(b"a\r\nb\r\nc\r\r\n\r\nd"), "cut at {cut}");
        }
        let mut made = b"rest".to_vec();
        assert!(crlf_text(text, &mut made));
        assert_eq!(Digest::of(&made), crlf_form(text).unwrap().sha256);
        assert_eq!((crlf_text(b"a\r\n", &mut made), crlf_form(b"a\r\n")), (false, None));
        let mut same = Crlf::default();
        same.update(b"a\r\n");
        assert_eq!(same.finish(), None);
    }

    #[test]
    fn state_lines_are_not_in_the_stateless_form() {
        let message = b"Status: RO\nSubject: a\nX-Keywords: b\n c\n\nStatus: body\n";
        let mut form = Stateless::new(&message[..40]);
        form.update(&message[40..]);
        let want = b"Subject: a\n\nStatus: body\n";
        assert_eq!(form.finish(), Some(Form { sha256: Digest::of(want), size: want.len() as u64 }));
        assert_eq!(Stateless::new(want).finish(), None);
        let mut text = b"rest".to_vec();
        assert!(stateless_text(message, &mut text));
        assert_eq!(text, want);
        assert!(!stateless_text(want, &mut text));
    }
}
