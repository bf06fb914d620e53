//! Flags and keywords as header lines of an mbox: what a message says of itself, and what is to be added.
//!
//! `Status` and `X-Status` have letters, `X-Keywords` words; Thunderbird's `X-Mozilla-Status` and `X-Mozilla-Keys`, which stand
//! before everything else, are read by other programs too. A message that has lines of the first sort keeps them as they are.

use std::collections::BTreeSet;

use super::deliver::Loss;
use crate::model::{Flag, Placement, printable};

/// How a From_ line begins.
pub(super) const FROM: &[u8; 5] = b"From ";

/// The fields of a header, unfolded only as far as their lines belong together.
pub(super) fn fields(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = head;
    let mut next = move || {
        let mut end = 0;
        loop {
            end += memchr::memchr(b'\n', &rest[end..]).map_or(rest.len() - end, |at| at + 1);
            if end >= rest.len() || !matches!(rest[end], b' ' | b'\t') {
                break;
            }
        }
        let (field, after) = rest.split_at(end);
        rest = after;
        (!field.is_empty()).then_some(field)
    };
    std::iter::from_fn(move || {
        loop {
            let field = next()?;
            // A line without a colon is no field.
            if let Some(colon) = field.iter().position(|b| *b == b':') {
                return Some((field[..colon].trim_ascii(), field[colon + 1..].trim_ascii()));
            }
        }
    })
}

/// The letters of a `Status` or `X-Status` line; none if the line is about something else, such as a delivery.
fn status_letters(value: &[u8]) -> impl Iterator<Item = u8> {
    let known = value.len() <= 12 && value.iter().all(|b| b"ROUNADFTCGHIJKLPQSW$".contains(b));
    let value = if known { value } else { &[] };
    value.iter().copied().filter(|b| b"RAFTD".contains(b))
}

/// State as the lines of a header say it, or as they are to say it.
#[derive(Clone, Default, PartialEq, Eq)]
struct Said {
    /// Of `Status` and `X-Status`: R read, A answered, F flagged, T draft, D deleted.
    letters: BTreeSet<u8>,
    words: BTreeSet<String>,
}

impl Said {
    fn words(&mut self, value: &[u8]) {
        let text = String::from_utf8_lossy(value);
        self.words.extend(text.split([' ', '\t', '\r', '\n', ',']).filter(|w| !w.is_empty()).map(str::to_owned));
    }

    /// What Thunderbird's own lines at the beginning of a header say, which other programs read too.
    fn by_thunderbird(head: &[u8]) -> Said {
        let mut said = Said::default();
        let hex = |value: &[u8]| u32::from_str_radix(&String::from_utf8_lossy(value), 16).unwrap_or_default();
        for (name, value) in fields(head) {
            let name = name.to_ascii_lowercase();
            let bits: &[(u32, u8)] = match name.as_slice() {
                b"x-mozilla-status" => &[(0x1, b'R'), (0x2, b'A'), (0x4, b'F'), (0x8, b'D')],
                b"x-mozilla-status2" => &[(0x0020_0000, b'D')],
                _ => &[],
            };
            said.letters.extend(bits.iter().filter(|(bit, _)| hex(value) & bit != 0).map(|(_, letter)| *letter));
            match name.as_slice() {
                b"x-mozilla-status" if hex(value) & 0x1000 != 0 => said.words(b"$Forwarded"),
                b"x-mozilla-keys" => said.words(value),
                name if name.starts_with(b"x-") || name == b"fcc" => {}
                _ => break,
            }
        }
        said
    }

    /// What the lines say that mbox programs write; None if there are none.
    fn by_status_lines(head: &[u8]) -> Option<Said> {
        let (mut said, mut any) = (Said::default(), false);
        for (name, value) in fields(head) {
            let status = name.eq_ignore_ascii_case(b"status") || name.eq_ignore_ascii_case(b"x-status");
            let keywords = name.eq_ignore_ascii_case(b"x-keywords");
            if status {
                said.letters.extend(status_letters(value));
            } else if keywords {
                said.words(value);
            }
            any |= status || keywords;
        }
        any.then_some(said)
    }

    /// What is to be said of an item, and the keywords that cannot.
    fn of(item: &Placement) -> (Said, Vec<Loss>) {
        let (mut said, mut losses) = (Said::default(), Vec::new());
        said.letters.extend(item.flags.iter().map(|flag| match flag {
            Flag::Seen => b'R',
            Flag::Answered => b'A',
            Flag::Flagged => b'F',
            Flag::Draft => b'T',
            Flag::Deleted => b'D',
        }));
        for keyword in &item.keywords {
            if keyword.is_empty() || keyword.contains(|c: char| c.is_control() || c.is_whitespace() || c == ',') {
                losses.push(Loss::new("a keyword cannot be written", printable(keyword)));
            } else {
                said.words.insert(keyword.clone());
            }
        }
        (said, losses)
    }

    fn and(mut self, other: &Said) -> Said {
        self.letters.extend(&other.letters);
        self.words.extend(other.words.iter().cloned());
        self
    }

    fn lines(&self, eol: &str) -> String {
        let mut lines = String::new();
        if self.letters.contains(&b'R') {
            lines.push_str(&format!("Status: RO{eol}"));
        }
        let more: String = b"AFTD".iter().filter(|l| self.letters.contains(l)).map(|l| char::from(*l)).collect();
        if !more.is_empty() {
            lines.push_str(&format!("X-Status: {more}{eol}"));
        }
        if !self.words.is_empty() {
            let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
            lines.push_str(&format!("X-Keywords: {}{eol}", words.join(" ")));
        }
        lines
    }
}

/// Does a header begin like one, or with a From_ line and then like one?
fn begins_with_field(head: &[u8]) -> bool {
    head.split(|b| *b == b'\n').find(|line| !line.starts_with(FROM) && !line.starts_with(b">From ")).is_some_and(|line| {
        let name = line.iter().take_while(|b| matches!(b, 33..=57 | 59..=126)).count();
        name > 0 && line.get(name) == Some(&b':')
    })
}

/// The lines to add at the end of the header, and what the message will not say as the archive does.
pub(super) fn state_lines(item: &Placement, head: &[u8], complete: bool) -> (Vec<u8>, Vec<Loss>) {
    let (wanted, mut losses) = Said::of(item);
    let thunderbird = Said::by_thunderbird(head);
    let own = Said::by_status_lines(head);
    let can_add = own.is_none() && complete && (head.is_empty() || begins_with_field(head));
    if own.is_none() && !can_add && wanted != Said::default() {
        losses.push(Loss::new("it has no header for flags and keywords", ""));
        return (Vec::new(), losses);
    }
    let lines = if can_add { wanted.lines(if head.ends_with(b"\r\n") { "\r\n" } else { "\n" }) } else { String::new() };
    if own.unwrap_or_else(|| wanted.clone()).and(&thunderbird) != wanted {
        losses.push(Loss::new("its own lines of state say something else", ""));
    }
    (lines.into_bytes(), losses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thunderbirds_lines_count_only_at_the_top() {
        assert!(Said::by_thunderbird(b"From \r\nX-Mozilla-Status: 0001\r\n").letters.contains(&b'R'));
        assert_eq!(Said::by_thunderbird(b"A: b\nX-Mozilla-Status: 0001\n").letters.len(), 0);
        let said = Said::by_thunderbird(b"X-Mozilla-Status: 1004\nX-Mozilla-Status2: 00200000\nX-Mozilla-Keys: a b\n");
        assert_eq!(said.letters, BTreeSet::from([b'D', b'F']));
        assert_eq!(said.words.iter().map(String::as_str).collect::<Vec<_>>(), ["$Forwarded", "a", "b"]);
    }

    #[test]
    fn a_status_line_about_something_else_says_nothing() {
        let said = Said::by_status_lines(b"Status: RESOLVED\nX-Keywords: a,\n b\n").unwrap();
        assert_eq!((said.letters.len(), said.words.len()), (0, 2));
        assert!(Said::by_status_lines(b"A: b\n").is_none());
    }
}
