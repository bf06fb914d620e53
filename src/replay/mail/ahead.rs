//! Messages made ready ahead of their turn: a thread reads the archive, rebuilds, makes line ends CRLF and hashes, while the server works on
//! what was sent before. It holds a few batches, whatever the size of the folder.

use std::collections::HashMap;
use std::sync::mpsc::SyncSender;

use super::state::{Restated, state_of};
use super::{Known, MailJob};
use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::mime::CrlfWriter;
use crate::model::{Hasher, Placement};
use crate::replay::journal::{Key, Status};

/// Most messages in one batch.
const BATCH_MESSAGES: usize = 100;
/// Most bytes in one batch; a larger message goes alone.
const BATCH_BYTES: u64 = 4 << 20;
/// A larger message is never held whole.
pub(super) const HELD_BYTES: u64 = 8 << 20;
/// Batches that wait while another is made and one is sent.
pub(super) const BATCHES_READY: usize = 1;

/// A message that the journal does not know to be on the target.
pub(super) struct Ready {
    pub(super) key: Key,
    pub(super) known: Option<Known>,
    pub(super) item: Placement,
    /// Size of the CRLF form.
    pub(super) size: u64,
    /// The CRLF form; empty for one that is too large to be held or to be sent.
    pub(super) bytes: Result<Vec<u8>>,
}

/// What needs no sending, counted.
#[derive(Default)]
pub(super) struct Standing {
    pub(super) before: u64,
    pub(super) refused: u64,
    pub(super) not_restated: u64,
    /// Messages that are there with other flags than the source has now.
    pub(super) others: Vec<Restated>,
}

/// Reads a collection ahead of its sending.
pub(super) struct Reader<'a> {
    pub(super) archive: &'a Archive,
    pub(super) job: MailJob<'a>,
    /// What the journal knows; what is still at the source is marked.
    pub(super) known: &'a mut HashMap<Key, Known>,
    pub(super) standing: Standing,
}

impl Reader<'_> {
    /// Hands batches of what is to be sent to `give`, in the order of the listing, until nobody takes them any more.
    ///
    /// # Errors
    /// Those of reading the listing; a message that cannot be read is handed over with its error.
    pub(super) fn read(&mut self, give: &SyncSender<Vec<Ready>>) -> Result<()> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        let mut is_taken = true;
        let (archive, collection) = (self.archive, self.job.collection);
        archive
            .numbered_placements(collection, &mut |item, n| {
                let Some(ready) = self.look(item, n) else { return Ok(()) };
                if batch.len() >= BATCH_MESSAGES || (bytes + ready.size > BATCH_BYTES && !batch.is_empty()) {
                    bytes = 0;
                    is_taken = give.send(std::mem::take(&mut batch)).is_ok();
                    if !is_taken {
                        return Err(Error::new(crate::Kind::Internal, "nobody takes what was read"));
                    }
                }
                bytes += ready.size;
                batch.push(ready);
                Ok(())
            })
            // Who takes no more has an error of its own to tell.
            .or_else(|e| if is_taken { Err(e) } else { Ok(()) })?;
        if !batch.is_empty() {
            // As above.
            let _ = give.send(batch);
        }
        Ok(())
    }

    /// Counts a placement that is on the target or was refused; makes any other ready.
    fn look(&mut self, item: Placement, n: u32) -> Option<Ready> {
        let key = Key::of_item(&item.sha256, n);
        if let Some(known) = self.known.get_mut(&key) {
            known.there = true;
        }
        let known = self.known.get(&key).copied();
        match known {
            Some(Known { status: Status::Confirmed | Status::Sent, number, state, .. }) => {
                self.standing.before += 1;
                let now = state_of(&item);
                if state != now {
                    self.standing.others.push(Restated::new(number, self.job.flags_of(&item), now));
                }
            }
            Some(Known { status: Status::Failed, .. }) => self.standing.refused += 1,
            None if self.job.since.is_some_and(|since| since.contains_key(&key)) => {
                self.standing.before += 1;
                let changed = self.job.since.and_then(|since| since.get(&key)) != Some(&state_of(&item));
                self.standing.not_restated += u64::from(changed);
            }
            known => {
                let size = item.crlf.map_or(item.size, |form| form.size);
                let is_sent = self.job.largest.is_none_or(|most| size <= most);
                let bytes = if is_sent { crlf_bytes(self.archive, &item) } else { Ok(Vec::new()) };
                return Some(Ready { key, known, item, size, bytes });
            }
        }
        None
    }
}

/// The CRLF form of a message, checked against the digest of it that the listing names; empty for one that is too large to be held.
fn crlf_bytes(archive: &Archive, item: &Placement) -> Result<Vec<u8>> {
    let (sha256, size) = item.crlf.map_or((item.sha256, item.size), |form| (form.sha256, form.size));
    let mut bytes = Vec::new();
    let mut hasher = Hasher::new();
    if size <= HELD_BYTES {
        bytes.reserve_exact(size as usize);
        archive.copy_unchecked(item.sha256, &mut CrlfWriter::new(&mut bytes))?;
        hasher.update(&bytes);
    } else {
        archive.copy_unchecked(item.sha256, &mut CrlfWriter::new(&mut hasher))?;
    }
    if hasher.finish() == sha256 {
        return Ok(bytes);
    }
    // Tells damage from a listing that names another form.
    archive.copy(item.sha256, &mut std::io::sink())?;
    Err(Error::damage("a message's CRLF form is not the one that its listing names").with("item", item.sha256))
}
