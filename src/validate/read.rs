//! Reads one mail folder of the target back and compares it: bodies are hashed as they stream by and never held.

use super::mail::{Compared, Comparison, Expected, Seen, sorted_keywords};
use crate::archive::{Archive, CollectionEntry};
use crate::error::{Kind, Result};
use crate::imap::{Connection, Fetched, Messages, Want};
use crate::mime::header_facts;
use crate::model::{Flag, Hasher};
use crate::monitor::Monitor;

/// Of each message this much is kept, to find its Message-ID.
const HEADER_BYTES: usize = 64 << 10;

/// Compares a collection of the archive with the mailbox (named as on the wire) that should hold it.
///
/// # Errors
/// Those of reading the archive and of the connection. A mailbox that is not there is no error: everything is missing.
pub fn compare(
    connection: &mut Connection,
    mailbox: &str,
    archive: &Archive,
    collection: &CollectionEntry,
    monitor: &dyn Monitor,
) -> Result<Vec<Compared>> {
    let mut expected = Vec::new();
    archive.placements(collection, &mut |placement| {
        expected.push(Expected::of(&placement));
        Ok(())
    })?;
    let mut reading =
        Reading { comparison: Comparison::new(expected), hasher: Hasher::default(), header: Vec::new(), last: None, monitor };
    match connection.select(mailbox, true) {
        Ok(_) => connection.fetch_from(1, Want { flags: true, date: true, size: false, body: true }, &mut reading)?,
        Err(e) if e.kind() == Kind::Refused => {}
        Err(e) => return Err(e),
    }
    Ok(reading.comparison.finish())
}

struct Reading<'a> {
    comparison: Comparison,
    hasher: Hasher,
    header: Vec<u8>,
    /// A server may tell of one message twice; UIDs grow.
    last: Option<u32>,
    monitor: &'a dyn Monitor,
}

impl Messages for Reading<'_> {
    fn piece(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        let room = HEADER_BYTES.saturating_sub(self.header.len()).min(bytes.len());
        self.header.extend_from_slice(&bytes[..room]);
        Ok(())
    }

    fn message(&mut self, message: Fetched) -> Result<()> {
        let sha256 = std::mem::take(&mut self.hasher).finish();
        let header = std::mem::take(&mut self.header);
        let Some(size) = message.body else { return Ok(()) };
        if self.last.is_some_and(|last| message.uid <= last) {
            return Ok(());
        }
        self.last = Some(message.uid);
        let (flags, keywords) = split_flags(&message.flags);
        let message_id = header_facts(&header).message_id;
        self.comparison.saw(Seen { uid: message.uid, sha256, size, date: message.date, flags, keywords, message_id });
        self.monitor.advance(1, size);
        Ok(())
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
