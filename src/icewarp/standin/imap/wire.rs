//! Lines and literals off the wire, each with a limit.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::net::TcpStream;

use super::session::Session;

/// Longest line, and longest command with its small literals.
const COMMAND_BYTES_MAX: usize = 64 * 1024;

/// Longest command of a client that has not logged in.
const STRANGER_BYTES_MAX: usize = 8 * 1024;

/// What was read.
pub(super) enum Read {
    /// A command with its literals, as the codec wants it.
    Command(Vec<u8>),
    /// `tag APPEND mailbox ...` up to and with the first message's `{size}`.
    Append(Vec<u8>),
    /// Something that is no command; with the tag to answer under.
    Bad(String, &'static str),
}

/// `{size}` or `{size+}` at the end of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    pub(super) bytes: u64,
    pub(super) waits: bool,
}

impl Literal {
    /// The literal that the line (without its end) announces; and where in the line that stands.
    pub(super) fn at_end(line: &[u8]) -> Option<(Literal, usize)> {
        let inside = line.strip_suffix(b"}")?;
        let start = inside.iter().rposition(|&byte| byte == b'{')?;
        let (digits, waits) = match inside[start + 1..].strip_suffix(b"+") {
            Some(digits) => (digits, false),
            None => (&inside[start + 1..], true),
        };
        let bytes = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
        Some((Literal { bytes, waits }, start))
    }
}

/// The command's tag, fit to be printed; `*` without one.
pub(super) fn tag_of(text: &[u8]) -> String {
    let tag = text.split(|&byte| byte == b' ').next().unwrap_or_default();
    match std::str::from_utf8(tag) {
        Ok(tag) if !tag.is_empty() && tag.len() < 64 && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) => {
            tag.to_owned()
        }
        _ => "*".to_owned(),
    }
}

/// One line without its end; an overlong one or a closed connection is an error.
pub(super) fn line(reader: &mut BufReader<TcpStream>, bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    reader.by_ref().take(bytes_max as u64).read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

/// Exactly so many bytes; memory grows with what arrives, not with what was announced.
pub(super) fn bytes(reader: &mut BufReader<TcpStream>, count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.by_ref().take(count).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == count { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Reads so many bytes and forgets them.
pub(super) fn skip(reader: &mut BufReader<TcpStream>, count: u64) -> io::Result<()> {
    let skipped = io::copy(&mut reader.by_ref().take(count), &mut io::sink())?;
    if skipped == count { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Is it an APPEND whose mailbox is known, so that the literal is a message?
fn announces_message(text: &[u8]) -> bool {
    let mut words = text.splitn(3, |&byte| byte == b' ');
    let append = words.nth(1).is_some_and(|word| word.eq_ignore_ascii_case(b"APPEND"));
    // Without more than the literal itself, it is the mailbox that comes as a literal.
    append && words.next().is_some_and(|rest| Literal::at_end(rest).is_some_and(|(_, start)| start > 0))
}

impl Session<'_> {
    /// Reads a command with its small literals, or an APPEND as far as its first message.
    pub(super) fn read_command(&mut self) -> io::Result<Read> {
        let bytes_max = if self.user.is_some() { COMMAND_BYTES_MAX } else { STRANGER_BYTES_MAX };
        let mut text = Vec::new();
        loop {
            text.extend(line(&mut self.reader, bytes_max)?);
            let Some((literal, _)) = Literal::at_end(&text) else { break };
            if !literal.waits && self.world.difficulties.no_literal_plus {
                return self.hang_up("LITERAL+ was not announced");
            }
            if self.user.is_some() && announces_message(&text) {
                return Ok(Read::Append(text));
            }
            if literal.bytes > (bytes_max - text.len().min(bytes_max)) as u64 {
                return if literal.waits {
                    Ok(Read::Bad(tag_of(&text), "literal too long"))
                } else {
                    self.hang_up("literal too long")
                };
            }
            if literal.waits {
                self.line(format_args!("+ go on"))?;
                self.flush()?;
            }
            text.extend_from_slice(b"\r\n");
            text.extend(bytes(&mut self.reader, literal.bytes)?);
        }
        text.extend_from_slice(b"\r\n");
        Ok(Read::Command(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_known_by_the_end_of_the_line() {
        assert_eq!(Literal::at_end(b"a APPEND x {12}"), Some((Literal { bytes: 12, waits: true }, 11)));
        assert_eq!(Literal::at_end(b"{0+}"), Some((Literal { bytes: 0, waits: false }, 0)));
        for no in [&b"a {12"[..], b"{}", b"{-1}", b"{99999999999999999999999}", b"{1 }", b"}", b""] {
            assert_eq!(Literal::at_end(no), None);
        }
        assert!(
            announces_message(b"a append INBOX (\\Seen) {3}")
                && !announces_message(b"a APPEND {5}")
                && !announces_message(b"a LOGIN x {5}")
        );
    }
}
