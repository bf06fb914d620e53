//! Reads one mail folder of the target back and compares it. While one thread reads, another tells.

use std::collections::{HashMap, HashSet};
use std::thread;

use super::bytes::what_differs;
use super::mail::{Abandoning, Compared, Comparison, Uids};
use super::reading::Reading;
use super::{Difference, Folder, Verdict};
use crate::error::{Kind, Result};
use crate::imap::{Connection, Fetched, Messages, Want};
use crate::model::Placement;
use crate::monitor::Monitor;
use crate::net::patiently;
use crate::replay::journal::Key;
use crate::replay::plan::Cause;

/// So many messages of a folder whose bytes are others are fetched again, to say what in them is.
const LOOKED_INTO: usize = 200;
/// Larger ones are not looked into.
const LOOKED_INTO_BYTES: u64 = 32 << 20;
pub(super) const WHOLE: Want = Want { flags: true, date: true, size: false, body: true };

/// Opens a connection to the account.
pub type Connect<'a> = dyn FnMut() -> Result<Connection> + 'a;

/// Compares a collection of the archive with the mailbox that should hold it. A mailbox that is not there is no error: everything is missing.
/// A connection that breaks is taken up again where it broke. `uids` is where replay put messages, by its journal: a sample reads only those,
/// and what cannot be paired otherwise is paired by them.
///
/// # Errors
/// Those of reading the archive, of `uids`, of the connection, and of `each`.
pub fn compare(
    folder: Folder<'_>,
    uids: &Uids<'_>,
    connect: &mut Connect<'_>,
    connection: &mut Option<Connection>,
    monitor: &dyn Monitor,
    each: &mut (dyn FnMut(Compared) -> Result<()> + Send),
) -> Result<()> {
    let comparison = Comparison::default();
    let mut changed = Vec::new();
    let (read, told) = thread::scope(|scope| {
        let telling = scope.spawn(|| {
            let _abandoning = Abandoning(&comparison);
            let mut placements = |each: &mut dyn FnMut(Placement, u32) -> Result<()>| folder.placements(each);
            comparison.gather(&mut placements)?;
            comparison.tell(&mut placements, uids, &mut |compared| {
                // Of a sample nothing can be said about what is there besides.
                if folder.sample.is_some() && compared.item.is_none() {
                    return Ok(());
                }
                if differs_in_bytes(&compared) && changed.len() < LOOKED_INTO {
                    changed.push(compared);
                    return Ok(());
                }
                each(compared)
            })
        });
        let abandoning = Abandoning(&comparison);
        let read = read(folder, uids, &comparison, connect, connection, monitor);
        if read.is_ok() {
            comparison.read_all();
        }
        drop(abandoning);
        (read, telling.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    // Where telling failed, reading only says that it was in vain.
    told?;
    read?;
    for mut compared in changed {
        let looked = patiently(
            monitor,
            &mut compared,
            |_| 0,
            |compared| {
                let mut open = Connection::kept_or_new(connection, connect)?;
                look_into(folder, &mut open, compared)?;
                *connection = Some(open);
                Ok(())
            },
        );
        if let Err(e) = looked {
            monitor.note(&format!("what is changed in a message cannot be said: {e}"));
        }
        each(compared)?;
    }
    Ok(())
}

/// Reads the mailbox, and takes a connection that breaks up again where it broke.
fn read(
    folder: Folder<'_>,
    uids: &Uids<'_>,
    comparison: &Comparison,
    connect: &mut Connect<'_>,
    connection: &mut Option<Connection>,
    monitor: &dyn Monitor,
) -> Result<()> {
    let mut wanted = HashSet::new();
    if folder.sample.is_some() {
        folder.placements(&mut |item, n| {
            wanted.insert(Key::of_item(&item.sha256, n));
            Ok(())
        })?;
        if wanted.is_empty() {
            return Ok(());
        }
    }
    let mut reading = Reading::new(comparison, monitor);
    patiently(monitor, &mut reading, Reading::messages, |reading| {
        let mut open = Connection::kept_or_new(connection, connect)?;
        if let Some(validity) = select(&mut open, folder.to)? {
            comparison.reads(validity);
            let only = if wanted.is_empty() { None } else { uids_of_all(&wanted, &uids(validity, &wanted)?) };
            reading.fetch(&mut open, only.as_deref())?;
        }
        *connection = Some(open);
        Ok(())
    })
}

/// The mailbox's UIDVALIDITY; none where it is not there.
fn select(connection: &mut Connection, to: &[String]) -> Result<Option<u32>> {
    let mailbox = connection.names().write(to)?;
    match connection.select(&mailbox, true) {
        Ok(selected) => Ok(Some(selected.uid_validity)),
        Err(e) if e.kind() == Kind::Refused => Ok(None),
        Err(e) => Err(e),
    }
}

/// The UIDs in order, where the journal knows all of them; otherwise all of the mailbox has to be read.
fn uids_of_all(wanted: &HashSet<Key>, uids: &HashMap<Key, u32>) -> Option<Vec<u32>> {
    let mut uids: Vec<u32> = uids.values().copied().collect();
    uids.sort_unstable();
    (uids.len() == wanted.len()).then_some(uids)
}

fn differs_in_bytes(compared: &Compared) -> bool {
    matches!(&compared.verdict, Verdict::Changed(differences) if differences.iter().any(|d| d.cause == Some(Cause::ContentChanged)))
}

/// Replaces "the bytes are others" by which header fields are, and whether the body is.
fn look_into(folder: Folder<'_>, connection: &mut Connection, compared: &mut Compared) -> Result<()> {
    let (Some(item), Some(seen), Verdict::Changed(differences)) = (&compared.item, &compared.seen, &mut compared.verdict) else {
        return Ok(());
    };
    if item.size.max(seen.size) > LOOKED_INTO_BYTES || select(connection, folder.to)?.is_none() {
        return Ok(());
    }
    let mut found = Bytes::default();
    connection.fetch(&[seen.uid], WHOLE, &mut found)?;
    let archived = folder.archive.read(item.sha256, LOOKED_INTO_BYTES)?;
    let changed = what_differs(&archived, &found.0);
    if let Some(at) = differences.iter().position(|d| d.cause == Some(Cause::ContentChanged))
        && !changed.is_empty()
    {
        let detail = differences.remove(at).detail;
        let cause = Some(Cause::ContentChanged);
        differences.splice(at..at, changed.into_iter().map(|what| Difference { cause, what, detail: detail.clone() }));
    }
    Ok(())
}

/// The bytes of one message.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Messages for Bytes {
    fn piece(&mut self, bytes: &[u8]) -> Result<()> {
        let room = (LOOKED_INTO_BYTES as usize).saturating_sub(self.0.len()).min(bytes.len());
        self.0.extend_from_slice(&bytes[..room]);
        Ok(())
    }

    fn message(&mut self, _: Fetched) -> Result<()> {
        Ok(())
    }
}
