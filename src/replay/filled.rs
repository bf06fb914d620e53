//! The count of what became of items, of whatever kind, on their way to the target.

use serde::Serialize;

/// What became of a folder's or an account's items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Filled {
    /// Sent and taken in this run.
    pub sent: u64,
    /// Found on the target, where an earlier run or a lost connection had left them.
    pub claimed: u64,
    /// There before, by the journal.
    pub before: u64,
    /// Refused by the target, in this run or an earlier one.
    pub refused: u64,
    /// Of those on the target, calendar objects, contacts and files that read back otherwise than they were sent.
    pub changed: u64,
    /// Damaged in the archive, and not sent.
    pub damaged: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Other at the source now, and now on the target too: messages with other flags or keywords, objects in a newer form.
    pub restated: u64,
    /// Messages with other flags at the source now whose place on the target is not known: left as they were.
    pub not_restated: u64,
    /// Taken out of the folder that they left at the source.
    pub moved: u64,
    /// Gone at the source and removed from the target.
    pub removed: u64,
    /// Gone at the source and left on the target, since nobody asked to remove them.
    pub kept: u64,
    /// Gone at the source and left on the target: not proven to be as floe put them there, or the target cannot remove single items.
    pub unproven: u64,
}

impl Filled {
    /// Adds another count.
    pub fn add(&mut self, other: Filled) {
        self.sent += other.sent;
        self.claimed += other.claimed;
        self.before += other.before;
        self.refused += other.refused;
        self.changed += other.changed;
        self.damaged += other.damaged;
        self.bytes += other.bytes;
        self.restated += other.restated;
        self.not_restated += other.not_restated;
        self.moved += other.moved;
        self.removed += other.removed;
        self.kept += other.kept;
        self.unproven += other.unproven;
    }
}
