//! Looking into messages without trusting them: where the leaf bodies lie, what the headers say, the date ladder.
//!
//! The slicing need not be right about MIME, only honest: the ranges lie in order, never overlap, and whoever uses them proves that
//! the pieces give the message back. It runs in one pass with bounded depth, whatever the message says of itself.

mod crlf;
mod dates;
mod facts;
mod state_lines;

use std::ops::Range;

use memchr::{memchr, memmem};

pub use crlf::{CrlfWriter, bare_line_feeds};
pub(crate) use dates::{DAYS, MONTHS};
pub use dates::{internal_date, parse_date};
pub use facts::{HEADER_NOTES, HeaderFacts, header_facts};
pub use state_lines::state_lines;

/// Multiparts and messages inside each other that are looked into.
const MAX_DEPTH: usize = 50;
/// Leaf bodies that are looked for in one message.
const MAX_LEAVES: usize = 10_000;

/// A body that has no parts of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Its bytes in the message, without the line end that belongs to the boundary after it.
    pub range: Range<usize>,
    /// Its header says base64.
    pub base64: bool,
}

#[derive(Default)]
struct Head {
    boundary: Option<Vec<u8>>,
    message: bool,
    base64: bool,
}

/// End of the line that begins at `at`, after its LF.
fn line_end(message: &[u8], at: usize) -> usize {
    memchr(b'\n', &message[at..]).map_or(message.len(), |i| at + i + 1)
}

fn value_of<'a>(field: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = field.split_at_checked(name.len())?;
    head.eq_ignore_ascii_case(name).then_some(rest)
}

fn read_head(message: &[u8], start: usize) -> (Head, usize) {
    let mut head = Head::default();
    let mut at = start;
    while at < message.len() {
        let mut end = line_end(message, at);
        if matches!(&message[at..end], b"\n" | b"\r\n") {
            return (head, end);
        }
        while matches!(message.get(end), Some(b' ' | b'\t')) {
            end = line_end(message, end);
        }
        let field = &message[at..end];
        if let Some(value) = value_of(field, b"content-transfer-encoding:") {
            head.base64 = value.trim_ascii().eq_ignore_ascii_case(b"base64");
        } else if let Some(value) = value_of(field, b"content-type:") {
            let lower = value.trim_ascii_start().to_ascii_lowercase();
            head.message = lower.starts_with(b"message/rfc822");
            if lower.starts_with(b"multipart/") {
                head.boundary = memmem::find(&lower, b"boundary=").and_then(|i| {
                    let raw = value.trim_ascii_start().get(i + 9..)?;
                    let text = match raw.strip_prefix(b"\"") {
                        Some(quoted) => quoted.split(|&b| b == b'"').next()?,
                        None => raw.split(|b| b.is_ascii_whitespace() || *b == b';').next()?,
                    };
                    (!text.is_empty() && text.len() <= 200).then(|| text.to_vec())
                });
            }
        }
        at = end;
    }
    (head, message.len())
}

/// The next line that is one of the boundaries: its start, its end, which boundary, and whether it closes.
fn next_boundary(message: &[u8], from: usize, stack: &[Vec<u8>]) -> Option<(usize, usize, usize, bool)> {
    if stack.is_empty() {
        return None;
    }
    for hit in memmem::find_iter(&message[from..], b"--") {
        let start = from + hit;
        if start != from && message[start - 1] != b'\n' {
            continue;
        }
        let line = message[start..line_end(message, start)].trim_ascii_end();
        for (i, boundary) in stack.iter().enumerate().rev() {
            match line[2..].strip_prefix(boundary.as_slice()) {
                Some(b"") => return Some((start, line_end(message, start), i, false)),
                Some(b"--") => return Some((start, line_end(message, start), i, true)),
                _ => {}
            }
        }
    }
    None
}

/// The leaf bodies of a message, in order.
pub fn leaves(message: &[u8]) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    let mut stack: Vec<Vec<u8>> = Vec::new();
    let mut depth = 0;
    let mut at = 0;
    while leaves.len() < MAX_LEAVES {
        let (head, body) = read_head(message, at);
        let mut leaf = Some(body);
        if let Some(boundary) = head.boundary.filter(|_| stack.len() < MAX_DEPTH) {
            stack.push(boundary);
            leaf = None;
        } else if head.message && !head.base64 && depth < MAX_DEPTH && body > at {
            depth += 1;
            at = body;
            continue;
        }
        let mut from = body;
        loop {
            let found = next_boundary(message, from, &stack);
            let end = found.map_or(message.len(), |(start, ..)| start);
            if let Some(start) = leaf.take() {
                let text = &message[start..end.max(start)];
                let cut = if found.is_none() {
                    text
                } else {
                    text.strip_suffix(b"\n").map_or(text, |t| t.strip_suffix(b"\r").unwrap_or(t))
                };
                leaves.push(Leaf { range: start..start + cut.len(), base64: head.base64 });
            }
            match found {
                None => return leaves,
                Some((_, line_end, i, true)) => {
                    stack.truncate(i);
                    from = line_end;
                }
                Some((_, line_end, i, false)) => {
                    stack.truncate(i + 1);
                    at = line_end;
                    break;
                }
            }
        }
    }
    leaves
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn leaves_of_nested_multiparts_are_found() {
        let message = b"Content-Type: multipart/mixed; boundary=a\n\npre\n--a\nContent-Type: multipart/alternative;\n boundary=\"b c\"\n\n--b c\n\none\n\
            --b c--\n--a\nContent-Transfer-Encoding: BASE64\n\ndHdv\n--a\nContent-Type: message/rfc822\n\nSubject: x\n\nthree\n--a--\npost";
        let got: Vec<(&[u8], bool)> = leaves(message).iter().map(|l| (&message[l.range.clone()], l.base64)).collect();
        assert_eq!(got, [(&b"one"[..], false), (b"dHdv", true), (b"three", false)]);
    }

    #[test]
    fn absurd_nesting_ends() {
        let message = b"Content-Type: message/rfc822\n\n".repeat(100_000);
        assert_eq!(leaves(&message).len(), 1);
    }

    proptest! {
        #[test]
        fn ranges_are_in_order_whatever_the_bytes(parts in proptest::collection::vec(prop_oneof![
            Just(b"Content-Type: multipart/x; boundary=a\n".to_vec()), Just(b"--a\n".to_vec()), Just(b"--a--\r\n".to_vec()), Just(b"\n".to_vec()),
            Just(b"Content-Type: message/rfc822\n\n".to_vec()), any::<Vec<u8>>()], 0..40)) {
            let message = parts.concat();
            let mut at = 0;
            for leaf in leaves(&message) {
                prop_assert!(leaf.range.start >= at && leaf.range.end >= leaf.range.start && leaf.range.end <= message.len());
                at = leaf.range.end;
            }
        }
    }
}
