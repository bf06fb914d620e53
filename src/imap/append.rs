//! APPEND, by the fastest means that the server announces: many messages in one command (MULTIAPPEND, RFC 3502), many commands
//! ahead of their answers (LITERAL+ and LITERAL-, RFC 7888), or one after the other.
//!
//! A literal that nobody waits for is only sent where the server said that it will take it; so no message's text can ever be
//! read as commands. After a BAD nothing more should be sent on the connection, for the two sides may disagree
//! where a command ends.

use std::io::{self, Write};

use jiff::Timestamp;

use super::connection::{Connection, quote};
use super::date::write_date;
use super::response::{Code, Condition, Response, Status, expand};
use super::wire::Wire;
use crate::error::{Error, Kind, Result};

/// Larger messages are announced first, so that the server can refuse them before they are sent.
const ASK_FIRST_BYTES: u64 = 8 << 20;
/// What LITERAL- allows unasked.
const LITERAL_MINUS_BYTES: u64 = 4096;

/// Writes a body to the server; exactly as many bytes as were announced.
pub type WriteBody<'a> = dyn FnMut(&mut dyn Write) -> Result<()> + 'a;

/// A message's bytes.
pub enum Body<'a> {
    /// In memory.
    Bytes(&'a [u8]),
    /// Of this size, and written piece by piece. If writing fails, at the end too, the server gets no whole message.
    Stream(u64, &'a mut WriteBody<'a>),
}

impl Body<'_> {
    fn size(&self) -> u64 {
        match self {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::Stream(size, _) => *size,
        }
    }
}

/// A message to be appended.
pub struct Append<'a> {
    /// Flags and keywords, each fit to be sent.
    pub flags: &'a [String],
    /// Internal date.
    pub date: Option<Timestamp>,
    /// Bytes.
    pub body: Body<'a>,
}

/// How messages are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// All in one command: all are stored or none.
    Multi,
    /// Commands ahead of their answers.
    Pipelined,
    /// One after the other.
    OneByOne,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// Stored; where, if the server says so: UIDVALIDITY and UID.
    Stored(Option<(u32, u32)>),
    /// Not stored; by [`Way::Multi`] because of this or another message of the batch.
    Refused(Status),
}

/// Messages that were sent and not answered yet.
pub struct Sent {
    /// Command, or the answer where it is there already, and the messages that it holds.
    commands: Vec<(Command, usize)>,
}

enum Command {
    Awaited(String),
    Answered(Status),
}

impl Connection {
    /// The best way to send messages here.
    pub fn append_way(&self) -> Way {
        if self.has("MULTIAPPEND") && self.has("LITERAL+") {
            Way::Multi
        } else if self.has("LITERAL+") || self.has("LITERAL-") {
            Way::Pipelined
        } else {
            Way::OneByOne
        }
    }

    /// May a literal of this size be sent unasked?
    fn unasked(&self, size: u64) -> bool {
        size <= ASK_FIRST_BYTES && (self.has("LITERAL+") || (self.has("LITERAL-") && size <= LITERAL_MINUS_BYTES))
    }

    /// Sends messages to a mailbox, named as on the wire, and does not wait for the answers, which
    /// [`Connection::finish_append`] gives: in the order in which batches were sent.
    ///
    /// # Errors
    /// When the connection breaks or a body cannot be written; then nothing more can be sent.
    pub fn send_append(&mut self, mailbox: &str, way: Way, batch: &mut [Append<'_>]) -> Result<Sent> {
        let sent = self.send_append_inner(mailbox, way, batch);
        if sent.is_err() {
            self.wire.shut();
        }
        sent
    }

    fn send_append_inner(&mut self, mailbox: &str, way: Way, batch: &mut [Append<'_>]) -> Result<Sent> {
        let mailbox = quote(mailbox).ok_or_else(|| Error::new(Kind::Refused, "a folder's name is too long"))?;
        let multi = way == Way::Multi && batch.iter().all(|append| self.unasked(append.body.size()));
        let mut sent = Sent { commands: Vec::new() };
        let commands = if multi { vec![batch] } else { batch.chunks_mut(1).collect() };
        for messages in commands {
            let count = messages.len();
            let tag = self.tag();
            self.put(format!("{tag} APPEND {mailbox}").as_bytes())?;
            let mut refused = None;
            for message in messages {
                refused = self.put_message(&tag, message)?;
            }
            match refused {
                Some(status) => sent.commands.push((Command::Answered(status), count)),
                None => {
                    self.put(b"\r\n")?;
                    self.await_answer(tag.clone());
                    sent.commands.push((Command::Awaited(tag.clone()), count));
                }
            }
            if way == Way::OneByOne {
                self.wire.push()?;
                self.read_until(&tag)?;
            }
        }
        self.wire.push()?;
        Ok(sent)
    }

    /// Sends one message of a command; the answer where the server wants no more of it.
    fn put_message(&mut self, tag: &str, message: &mut Append<'_>) -> Result<Option<Status>> {
        let size = message.body.size();
        let date = message.date.and_then(write_date).map(|date| format!(" \"{date}\"")).unwrap_or_default();
        let flags = if message.flags.is_empty() { String::new() } else { format!(" ({})", message.flags.join(" ")) };
        let unasked = self.unasked(size);
        self.put(format!("{flags}{date} {{{size}{}}}\r\n", if unasked { "+" } else { "" }).as_bytes())?;
        if !unasked {
            self.wire.push()?;
            if let Some(refused) = self.wait_for_go_ahead(tag)? {
                return Ok(Some(refused));
            }
        }
        match &mut message.body {
            Body::Bytes(bytes) => self.put(bytes)?,
            Body::Stream(size, write) => {
                let mut held = Held { wire: &mut self.wire, left: *size, last: None };
                write(&mut held)?;
                let last = held.last.filter(|_| held.left == 0);
                let last = last.ok_or_else(|| Error::damage("a message is shorter than it should be"))?;
                self.put(&[last])?;
            }
        }
        Ok(None)
    }

    fn wait_for_go_ahead(&mut self, tag: &str) -> Result<Option<Status>> {
        loop {
            match self.next_response(None)? {
                Response::Continue(_) => return Ok(None),
                Response::Tagged(t, status) if t == tag => {
                    if status.condition == Condition::Ok {
                        return Err(Error::new(Kind::Protocol, "the server took a message that was not sent"));
                    }
                    return Ok(Some(status));
                }
                Response::Tagged(t, status) => self.answered(t, status)?,
                _ => {}
            }
        }
    }

    /// Reads until this command's answer is there.
    fn read_until(&mut self, tag: &str) -> Result<()> {
        while self.is_awaited(tag) {
            match self.next_response(None)? {
                Response::Tagged(t, status) => self.answered(t, status)?,
                Response::Continue(_) => return Err(Error::new(Kind::Protocol, "the server wants more than it was to get")),
                _ => {}
            }
        }
        Ok(())
    }

    /// What became of the messages of a batch, in their order.
    ///
    /// # Errors
    /// When the connection breaks: then nobody knows what became of them.
    pub fn finish_append(&mut self, sent: Sent) -> Result<Vec<Written>> {
        let mut written = Vec::new();
        for (command, count) in sent.commands {
            let status = match command {
                Command::Answered(status) => status,
                Command::Awaited(tag) => {
                    self.read_until(&tag)?;
                    self.take_answer(&tag).ok_or_else(|| Error::new(Kind::Internal, "an answer was lost"))?
                }
            };
            written.extend(outcomes(status, count));
        }
        Ok(written)
    }
}

fn outcomes(status: Status, count: usize) -> Vec<Written> {
    if status.condition != Condition::Ok {
        return vec![Written::Refused(status); count];
    }
    let uids = match &status.code {
        Some(Code::AppendUid(validity, uids)) => expand(uids, count).map(|uids| (*validity, uids)),
        _ => None,
    };
    match uids {
        Some((validity, uids)) => uids.into_iter().map(|uid| Written::Stored(Some((validity, uid)))).collect(),
        None => vec![Written::Stored(None); count],
    }
}

/// Passes on all but the last byte, and no more than was announced.
struct Held<'a> {
    wire: &'a mut Wire,
    left: u64,
    last: Option<u8>,
}

impl Write for Held<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        let now = if self.left == 0 { bytes.len().saturating_sub(1) } else { bytes.len() };
        self.wire.write_all(&bytes[..now])?;
        if self.left == 0 && !bytes.is_empty() {
            self.last = Some(bytes[now]);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(condition: Condition, code: Option<Code>) -> Status {
        Status { condition, code, text: String::new() }
    }

    #[test]
    fn uids_are_believed_only_when_they_are_as_many_as_the_messages() {
        let ok = |uids| status(Condition::Ok, Some(Code::AppendUid(7, uids)));
        assert_eq!(outcomes(ok(vec![(3, 4)]), 2), [Written::Stored(Some((7, 3))), Written::Stored(Some((7, 4)))]);
        assert_eq!(outcomes(ok(vec![(3, 9)]), 2), [Written::Stored(None), Written::Stored(None)]);
        assert_eq!(outcomes(status(Condition::Ok, None), 1), [Written::Stored(None)]);
        let no = status(Condition::No, None);
        assert_eq!(outcomes(no.clone(), 2), [Written::Refused(no.clone()), Written::Refused(no)]);
    }
}
