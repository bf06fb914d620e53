//! The header lines in which mbox programs keep state: a message without them is the same in every folder it was ever in.

use std::ops::Range;

use memchr::memchr;

/// Their names; no others, so that two writers of archives agree.
const NAMES: [&[u8]; 4] = [b"Status", b"X-Status", b"X-Keywords", b"Content-Length"];

/// Where the header lines `Status`, `X-Status`, `X-Keywords` and `Content-Length` stand, each with its folds and its line
/// end; ranges that touch are one. Empty when there are none.
///
/// Only the top header block counts: it ends at the first empty line. Bytes outside the ranges are the message without
/// state. A long message may be given by its beginning alone, as long as the header is in it.
pub fn state_lines(message: &[u8]) -> Vec<Range<usize>> {
    // A message from an old Mac has no LF at all.
    let end = if memchr(b'\n', message).is_none() { b'\r' } else { b'\n' };
    let line_end = |at: usize| memchr(end, message.get(at..).unwrap_or_default()).map_or(message.len(), |n| at + n + 1);
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < message.len() {
        let start = at;
        at = line_end(start);
        let line = message.get(start..at).unwrap_or_default();
        if matches!(line, b"\n" | b"\r\n" | b"\r") {
            break;
        }
        while matches!(message.get(at), Some(b' ' | b'\t')) {
            at = line_end(at);
        }
        if is_state(line) {
            match ranges.last_mut() {
                Some(last) if last.end == start => last.end = at,
                _ => ranges.push(start..at),
            }
        }
    }
    ranges
}

fn is_state(line: &[u8]) -> bool {
    NAMES.iter().any(|name| {
        let (head, rest) = line.split_at_checked(name.len()).unwrap_or_default();
        // RFC 5322 4.5 allows space before the colon.
        head.eq_ignore_ascii_case(name) && rest.trim_ascii_start().starts_with(b":")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn without(message: &[u8]) -> Vec<u8> {
        let mut rest = message.to_vec();
        for range in state_lines(message).into_iter().rev() {
            rest.drain(range);
        }
        rest
    }

    #[test]
    fn the_four_lines_go_with_their_folds_and_nothing_else_does() {
        for end in ["\n", "\r\n", "\r"] {
            let message = [
                "From a@b Mon Jan  1 00:00:00 2024",
                "status : RO",
                "X-STATUS: A",
                "Subject: a",
                " Status: folded text",
                "X-Keywords: a b",
                "\tc",
                " d",
                "X-Status-Of-Things: b",
                "Statusx: c",
                "Content-Length: 3",
                "",
                "Status: body",
            ]
            .join(end);
            let want = [
                "From a@b Mon Jan  1 00:00:00 2024",
                "Subject: a",
                " Status: folded text",
                "X-Status-Of-Things: b",
                "Statusx: c",
                "",
                "Status: body",
            ]
            .join(end);
            assert_eq!(String::from_utf8(without(message.as_bytes())).unwrap(), want);
        }
        assert_eq!(state_lines(b"Status: RO\r\nX-Status: A\r\nA: b\r\n\r\n").len(), 1, "neighbours are one range");
    }

    #[test]
    fn a_message_without_them_or_without_a_header_has_none() {
        for message in [&b""[..], b"A: b\n\nStatus: x\n", b"\nStatus: x\n", b"Stat", b"Status", b"Status\n: x\n"] {
            assert_eq!(state_lines(message), []);
        }
        assert_eq!(without(b"Status: no end"), b"");
    }

    proptest! {
        #[test]
        fn ranges_are_in_order_and_apart(parts in proptest::collection::vec(prop_oneof![
            Just(b"Status: R\n".to_vec()), Just(b"X-Keywords: a\n b\n".to_vec()), Just(b"A: b\r\n".to_vec()), Just(b"\n".to_vec()),
            Just(b" fold\n".to_vec()), Just(b"\r".to_vec()), any::<Vec<u8>>()], 0..30)) {
            let message = parts.concat();
            let mut at = 0;
            for range in state_lines(&message) {
                prop_assert!(range.start >= at && range.end > range.start && range.end <= message.len());
                at = range.end + 1;
            }
        }
    }
}
