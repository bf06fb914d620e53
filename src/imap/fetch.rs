//! UID FETCH: what a mailbox holds, with bodies passed on in pieces as they come, commands ahead of their answers.

use std::collections::VecDeque;

use jiff::Timestamp;

use super::connection::{Connection, expect_ok};
use super::date::read_date;
use super::response::{Response, Value};
use crate::error::{Error, Kind, Result};

/// Commands under way at a time.
const AHEAD: usize = 4;
/// Ranges in one command.
const RANGES: usize = 100;
/// UIDs in one command.
const UIDS: u32 = 1000;

/// What is asked of each message besides its UID.
#[derive(Clone, Copy, Debug, Default)]
pub struct Want {
    /// FLAGS.
    pub flags: bool,
    /// INTERNALDATE.
    pub date: bool,
    /// RFC822.SIZE.
    pub size: bool,
    /// BODY.PEEK[]: the whole message.
    pub body: bool,
}

impl Want {
    fn items(self) -> String {
        let wanted =
            [(self.flags, " FLAGS"), (self.date, " INTERNALDATE"), (self.size, " RFC822.SIZE"), (self.body, " BODY.PEEK[]")];
        wanted.iter().filter(|(wanted, _)| *wanted).map(|(_, item)| *item).collect()
    }
}

/// What the server says of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Its UID.
    pub uid: u32,
    /// Flags and keywords, as far as asked for.
    pub flags: Vec<String>,
    /// Internal date.
    pub date: Option<Timestamp>,
    /// Bytes that the server says it has.
    pub size: Option<u64>,
    /// Bytes of the body that came, if one did.
    pub body: Option<u64>,
}

/// Receives messages. The pieces of a body come before the message that it belongs to.
pub trait Messages {
    /// The next piece of the body of the message that comes next.
    ///
    /// # Errors
    /// Ends the fetch and makes the connection useless.
    fn piece(&mut self, bytes: &[u8]) -> Result<()>;

    /// A message is whole. A server may tell of messages that were not asked for, and of one twice.
    ///
    /// # Errors
    /// As [`Messages::piece`].
    fn message(&mut self, message: Fetched) -> Result<()>;
}

/// The UIDs as sets of moderate length, each fit for a command.
pub(super) fn sets(uids: &[u32]) -> Vec<String> {
    let mut sets = Vec::new();
    let mut ranges: Vec<String> = Vec::new();
    let mut count = 0;
    let mut rest = uids;
    while let Some(&first) = rest.first() {
        let run = 1 + rest.windows(2).take_while(|pair| pair[0].checked_add(1) == Some(pair[1])).count();
        let run = run.min((UIDS - count) as usize);
        let last = rest[run - 1];
        ranges.push(if run == 1 { first.to_string() } else { format!("{first}:{last}") });
        rest = &rest[run..];
        count += run as u32;
        if count == UIDS || ranges.len() == RANGES || rest.is_empty() {
            sets.push(ranges.join(","));
            ranges.clear();
            count = 0;
        }
    }
    sets
}

impl Connection {
    /// Everything in the selected mailbox from a UID on. A server may give its last message too, whatever that one's UID.
    ///
    /// # Errors
    /// As every command; and what `to` gives.
    pub fn fetch_from(&mut self, uid: u32, want: Want, to: &mut dyn Messages) -> Result<()> {
        self.fetch_sets([format!("{uid}:*")], want, to)
    }

    /// These messages of the selected mailbox; `uids` sorted. What is not there is left out by the server without a word.
    ///
    /// # Errors
    /// As every command; and what `to` gives.
    pub fn fetch(&mut self, uids: &[u32], want: Want, to: &mut dyn Messages) -> Result<()> {
        self.fetch_sets(sets(uids), want, to)
    }

    fn fetch_sets(&mut self, sets: impl IntoIterator<Item = String>, want: Want, to: &mut dyn Messages) -> Result<()> {
        let fetched = self.fetch_inner(&mut sets.into_iter(), want, to);
        if matches!(&fetched, Err(e) if !matches!(e.kind(), Kind::Refused | Kind::Busy)) {
            // Answers may still be under way.
            self.wire.shut();
        }
        fetched
    }

    fn fetch_inner(&mut self, sets: &mut dyn Iterator<Item = String>, want: Want, to: &mut dyn Messages) -> Result<()> {
        let mut tags = VecDeque::new();
        let mut refused = Ok(());
        loop {
            while tags.len() < AHEAD
                && let Some(set) = sets.next()
            {
                let tag = self.tag();
                self.put(format!("{tag} UID FETCH {set} (UID{})\r\n", want.items()).as_bytes())?;
                tags.push_back(tag);
            }
            self.wire.push()?;
            let Some(tag) = tags.front() else { return refused };
            let mut body = None;
            let response = self.next_response(Some(&mut |piece| {
                *body.get_or_insert(0) += piece.len() as u64;
                to.piece(piece)
            }))?;
            match response {
                Response::Tagged(t, status) if t == *tag => {
                    tags.pop_front();
                    refused = refused.and(expect_ok(&status, "messages"));
                }
                Response::Tagged(..) | Response::Continue(_) => {
                    return Err(Error::new(Kind::Protocol, "the server answers what was not asked"));
                }
                Response::Numbered(_, word, values) if word == "FETCH" => {
                    if let Some(message) = fetched(values, body, to)? {
                        to.message(message)?;
                    }
                }
                _ => {}
            }
        }
    }
}

/// The message of a FETCH response; none where it says no UID.
fn fetched(values: Vec<Value>, streamed: Option<u64>, to: &mut dyn Messages) -> Result<Option<Fetched>> {
    let mut message = Fetched { body: streamed, ..Fetched::default() };
    let Some(list) = values.into_iter().next().and_then(Value::list) else { return Ok(None) };
    let mut list = list.into_iter();
    while let (Some(Value::Atom(name)), Some(value)) = (list.next(), list.next()) {
        match name.to_ascii_uppercase().as_str() {
            "UID" => message.uid = value.number().and_then(|n| u32::try_from(n).ok()).unwrap_or_default(),
            "RFC822.SIZE" => message.size = value.number(),
            "INTERNALDATE" => message.date = value.text().and_then(|text| read_date(&text)),
            "FLAGS" => message.flags = value.list().unwrap_or_default().iter().filter_map(Value::text).collect(),
            "BODY[]" => match value {
                Value::Text(bytes) => {
                    to.piece(&bytes)?;
                    message.body = Some(bytes.len() as u64);
                }
                Value::Streamed => {
                    message.body.get_or_insert(0);
                }
                _ => {}
            },
            _ => {}
        }
    }
    Ok((message.uid != 0).then_some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_short_and_hold_every_uid() {
        assert_eq!(sets(&[1, 2, 3, 7, 9, 10]), ["1:3,7,9:10"]);
        assert_eq!(sets(&[]), Vec::<String>::new());
        let all: Vec<u32> = (1..=2500).collect();
        assert_eq!(sets(&all), ["1:1000", "1001:2000", "2001:2500"]);
        let odd: Vec<u32> = (0..150).map(|n| 2 * n + 1).collect();
        assert_eq!(sets(&odd).len(), 2);
        assert_eq!(sets(&[u32::MAX]), ["4294967295"]);
    }
}
