//! The ledger: found = captured + skipped (by reason) + failed (by reason), for every collection.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Place;

/// What became of an item that was not captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Left out on purpose, by a rule.
    Skipped,
    /// Could not be read.
    Failed,
}

/// One item that was not captured: where it is and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exception {
    /// Account that it belongs to.
    pub account: String,
    /// Collection that it belongs to, in text form; empty where it belongs to none.
    pub collection: String,
    /// Where it lies in the source.
    pub source: Place,
    /// Skipped or failed.
    pub outcome: Outcome,
    /// The reason in a few fixed words, under which it is counted.
    pub reason: String,
    /// More about this one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// The count of one collection, or the sum of many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Items that a second, independent method counted.
    pub found: u64,
    /// Items captured.
    pub captured: u64,
    /// Items left out on purpose, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// Items that could not be read, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Bytes of the items captured.
    pub bytes: u64,
}

impl Ledger {
    /// Items skipped for any reason.
    pub fn skipped_total(&self) -> u64 {
        self.skipped.values().sum()
    }

    /// Items failed for any reason.
    pub fn failed_total(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Does `found = captured + skipped + failed` hold?
    pub fn balances(&self) -> bool {
        self.found == self.captured + self.skipped_total() + self.failed_total()
    }

    /// Counts one exception.
    pub fn note(&mut self, outcome: Outcome, reason: &str) {
        let by_reason = match outcome {
            Outcome::Skipped => &mut self.skipped,
            Outcome::Failed => &mut self.failed,
        };
        *by_reason.entry(reason.to_owned()).or_default() += 1;
    }

    /// Adds another ledger's counts to these.
    pub fn add(&mut self, other: &Ledger) {
        self.found += other.found;
        self.captured += other.captured;
        self.bytes += other.bytes;
        for (reason, n) in &other.skipped {
            *self.skipped.entry(reason.clone()).or_default() += n;
        }
        for (reason, n) in &other.failed {
            *self.failed.entry(reason.clone()).or_default() += n;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_item_unbalances_the_ledger() {
        let mut ledger = Ledger { found: 3, captured: 1, ..Ledger::default() };
        ledger.note(Outcome::Skipped, "expunged");
        assert!(!ledger.balances());
        ledger.note(Outcome::Failed, "unreadable");
        assert!(ledger.balances());
    }
}
