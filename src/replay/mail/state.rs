//! Flags and keywords that have changed at the source since they were carried over.

use std::collections::BTreeMap;

use super::Folder;
use super::bytes::Found;
use crate::error::Result;
use crate::imap::Want;
use crate::model::{Digest, Placement};
use crate::replay::Filled;
use crate::replay::journal::{Change, Row, Status};

/// Flags and keywords as a number that only equality is asked of.
pub fn state_of(item: &Placement) -> u64 {
    let mut state: Vec<String> = item.flags.iter().map(|f| format!("{f:?}")).collect();
    state.extend(item.keywords.iter().cloned());
    state.sort_unstable();
    xxhash_rust::xxh3::xxh3_64(state.join("\n").as_bytes())
}

/// A message with other flags than it was carried over with.
pub(super) struct Restated {
    number: u32,
    flags: Vec<String>,
    state: u64,
}

impl Restated {
    pub(super) fn new(number: u32, mut flags: Vec<String>, state: u64) -> Self {
        flags.sort_unstable();
        Restated { number, flags, state }
    }
}

impl Folder<'_> {
    /// Gives messages the flags and keywords that they have at the source now. The source wins over what was set on the target since.
    pub(super) fn restate(&mut self, others: Vec<Restated>, filled: &mut Filled) -> Result<()> {
        if others.is_empty() {
            return Ok(());
        }
        self.locate(&others.iter().map(|other| other.number).collect::<Vec<_>>())?;
        let mut by_flags: BTreeMap<Vec<String>, Vec<(u32, Row)>> = BTreeMap::new();
        for Restated { number, flags, state } in others {
            let mut row = self.journal.row(self.collection.id, number)?;
            row.state = state;
            match row.remote.uid {
                Some(uid) => by_flags.entry(flags).or_default().push((uid, row)),
                None => filled.not_restated += 1,
            }
        }
        let (journal, collection) = (self.journal, self.collection.id);
        self.within(|connection| {
            for (flags, mut messages) in by_flags {
                messages.sort_unstable_by_key(|(uid, _)| *uid);
                let uids: Vec<u32> = messages.iter().map(|(uid, _)| *uid).collect();
                connection.set_flags(&uids, &flags)?;
                let changes: Vec<Change<'_>> = messages.iter().map(|(_, row)| Change::Update(row)).collect();
                journal.change(collection, false, &changes)?;
                filled.restated += messages.len() as u64;
            }
            Ok(())
        })
    }

    /// Finds out where messages are that the target took without saying where: reads the folder, and believes it where there are exactly as
    /// many messages of a content as the journal sent and does not know the place of. One more, and nobody knows which is floe's.
    pub(super) fn locate(&mut self, numbers: &[u32]) -> Result<()> {
        let mut unknown: BTreeMap<(u64, Digest), Vec<Row>> = BTreeMap::new();
        let mut places = Vec::new();
        self.journal.rows(self.collection.id, &mut |row| {
            match (row.status, row.remote.uid) {
                (Status::Sent, _) => unknown.entry((row.size, row.sha256)).or_default().push(row),
                (Status::Confirmed, Some(uid)) => places.push(uid),
                _ => {}
            }
            Ok(())
        })?;
        if !unknown.values().flatten().any(|row| numbers.contains(&row.number)) {
            return Ok(());
        }
        places.sort_unstable();
        let mut found = Found::default();
        self.within(|connection| {
            connection.fetch_from(1, Want { flags: false, date: false, size: false, body: true }, &mut found)
        })?;
        let mut on_target: BTreeMap<(u64, Digest), Vec<u32>> = BTreeMap::new();
        for (uid, size, sha256, _) in found.messages {
            if places.binary_search(&uid).is_err() {
                on_target.entry((size, sha256)).or_default().push(uid);
            }
        }
        let mut located = Vec::new();
        for (content, rows) in unknown {
            let Some(uids) = on_target.get(&content).filter(|uids| uids.len() == rows.len()) else { continue };
            for (mut row, uid) in rows.into_iter().zip(uids) {
                row.status = Status::Confirmed;
                row.remote.uid = Some(*uid);
                located.push(row);
            }
        }
        let changes: Vec<Change<'_>> = located.iter().map(Change::Update).collect();
        self.journal.change(self.collection.id, false, &changes)
    }
}
