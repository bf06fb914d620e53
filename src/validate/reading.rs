//! The messages of a folder as they come from the target: small ones are hashed together, which is faster than one by one, and larger ones
//! as they stream by. None is held for longer.

use std::ops::Range;

use super::mail::{Comparison, Seen, sorted_keywords};
use super::read::WHOLE;
use crate::error::Result;
use crate::imap::{Connection, Fetched, Messages};
use crate::mime::header_facts;
use crate::model::{Digest, Flag, Hasher};
use crate::monitor::Monitor;

/// Of each message this much is kept, to find its Message-ID.
const HEADER_BYTES: usize = 64 << 10;
/// Bytes of messages that are hashed together. A message that is larger is hashed as it streams by.
const TOGETHER_BYTES: usize = 1 << 20;

/// Takes in what a folder holds.
pub(super) struct Reading<'a> {
    comparison: &'a Comparison,
    monitor: &'a dyn Monitor,
    /// The messages that came whole, and the beginning of the next.
    bytes: Vec<u8>,
    whole: Vec<Whole>,
    /// Of the next message, where it is large.
    hasher: Option<Hasher>,
    /// A server may tell of one message twice; UIDs grow.
    last: u32,
    messages: u64,
}

/// A message that came whole.
struct Whole {
    message: Fetched,
    size: u64,
    /// Its bytes, or its header, where it was hashed as it streamed by.
    at: Range<usize>,
    sha256: Option<Digest>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(comparison: &'a Comparison, monitor: &'a dyn Monitor) -> Self {
        Reading { comparison, monitor, bytes: Vec::new(), whole: Vec::new(), hasher: None, last: 0, messages: 0 }
    }

    /// How many came.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// Reads what was not read yet: of these UIDs, or of all.
    pub(super) fn fetch(&mut self, connection: &mut Connection, uids: Option<&[u32]>) -> Result<()> {
        let fetched = match uids {
            Some(uids) => connection.fetch(&uids[uids.partition_point(|uid| *uid <= self.last)..], WHOLE, self),
            None => match self.last.checked_add(1) {
                Some(next) => connection.fetch_from(next, WHOLE, self),
                None => Ok(()),
            },
        };
        // Also what came before a break; half a message that it left is forgotten.
        let compared = self.compare();
        self.hasher = None;
        fetched.and(compared)
    }

    /// Where the bytes of the next message begin.
    fn next(&self) -> usize {
        self.whole.last().map_or(0, |whole| whole.at.end)
    }

    /// Hashes and compares what came.
    fn compare(&mut self) -> Result<()> {
        let unhashed = self.whole.iter().filter(|whole| whole.sha256.is_none());
        let mut digests = Digest::of_each(&unhashed.map(|whole| &self.bytes[whole.at.clone()]).collect::<Vec<_>>()).into_iter();
        for Whole { message, size, at, sha256 } in self.whole.drain(..) {
            let Some(sha256) = sha256.or_else(|| digests.next()) else { break };
            let (flags, keywords) = split_flags(&message.flags);
            let seen = Seen { uid: message.uid, sha256, size, date: message.date, flags, keywords, message_id: None };
            let header = &self.bytes[at.start..at.end.min(at.start + HEADER_BYTES)];
            self.comparison.saw(seen, || header_facts(header).message_id)?;
            self.monitor.advance(1, size);
        }
        self.bytes.clear();
        Ok(())
    }
}

impl Messages for Reading<'_> {
    fn piece(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
            return Ok(());
        }
        self.bytes.extend_from_slice(bytes);
        let start = self.next();
        if self.bytes.len() - start > TOGETHER_BYTES {
            let mut hasher = Hasher::default();
            hasher.update(&self.bytes[start..]);
            self.hasher = Some(hasher);
            self.bytes.truncate(start + HEADER_BYTES);
        }
        Ok(())
    }

    fn message(&mut self, message: Fetched) -> Result<()> {
        let at = self.next()..self.bytes.len();
        let sha256 = self.hasher.take().map(Hasher::finish);
        match message.body.filter(|_| message.uid > self.last) {
            Some(size) => {
                self.last = message.uid;
                self.messages += 1;
                self.whole.push(Whole { message, size, at, sha256 });
            }
            None => self.bytes.truncate(at.start),
        }
        if self.bytes.len() > TOGETHER_BYTES { self.compare() } else { Ok(()) }
    }
}

/// System flags and keywords of a FLAGS list. `\Recent` is the session's.
fn split_flags(flags: &[String]) -> (Vec<Flag>, Vec<String>) {
    let mut system = Vec::new();
    let mut keywords = Vec::new();
    for flag in flags {
        match Flag::of_name(flag) {
            Some(flag) => system.push(flag),
            None if flag.eq_ignore_ascii_case("\\Recent") => {}
            None => keywords.push(flag.clone()),
        }
    }
    system.sort_unstable();
    system.dedup();
    (system, sorted_keywords(&keywords))
}
