//! What is here: formats with evidence, accounts, collections, counts, dates, the biggest items, trouble expected.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use super::{Content, Discovery, Evidence, Format, FoundItem, ItemSink, Reader, eml, files, maildir, mbox, notes, pim};
use crate::error::Result;
use crate::model::{CollectionHead, CollectionKind, Exception, Outcome, Place};
use crate::monitor::Monitor;

/// How many of the biggest items are named.
const BIGGEST: usize = 5;
/// Exceptions of one collection that are named; more are summed up.
const MAX_TROUBLE: usize = 10_000;

/// One collection, looked at without capturing it.
#[derive(Clone, Debug, Serialize)]
pub struct CollectionFacts {
    /// Account that it belongs to.
    pub account: String,
    /// Name in text form.
    pub collection: String,
    /// What it holds.
    pub kind: CollectionKind,
    /// Format of the store that it lies in.
    pub format: Format,
    /// Items.
    pub items: u64,
    /// Bytes of all items.
    pub bytes: u64,
    /// Oldest internal date that the source supplies.
    pub oldest: Option<Timestamp>,
    /// Newest internal date that the source supplies.
    pub newest: Option<Timestamp>,
    /// The biggest items, biggest first, at most five.
    pub biggest: Vec<(Place, u64)>,
}

/// What is here.
#[derive(Clone, Debug, Serialize)]
pub struct Identification {
    /// Formats and why.
    pub evidence: Vec<Evidence>,
    /// Collections of all accounts.
    pub collections: Vec<CollectionFacts>,
    /// What would be skipped or fail.
    pub trouble: Vec<Exception>,
}

/// Looks through everything that was discovered.
///
/// Sizes are those on disk, also of compressed messages. A store that cannot be read to its end is trouble, not an error.
///
/// # Errors
/// Only what a sink returns; the one that counts here returns none.
pub fn identify(discovery: &Discovery, monitor: &dyn Monitor) -> Result<Identification> {
    let mut found = Identification { evidence: Vec::new(), collections: Vec::new(), trouble: Vec::new() };
    monitor.phase("identify", None);
    for account in &discovery.accounts {
        for reader in &account.readers {
            let evidence = evidence_of(reader.as_ref());
            if !found.evidence.contains(&evidence) {
                found.evidence.push(evidence);
            }
            match reader.collections() {
                Ok(heads) => {
                    for head in heads {
                        let facts = look(&account.account, reader.as_ref(), &head, &mut found.trouble, monitor)?;
                        found.collections.push(facts);
                    }
                }
                Err(e) => found.trouble.push(Exception {
                    account: account.account.clone(),
                    collection: String::new(),
                    source: Place::file(reader.root().to_string_lossy()),
                    outcome: Outcome::Failed,
                    reason: "the store's folders cannot be listed".to_owned(),
                    detail: e.to_string(),
                }),
            }
        }
    }
    for leftover in &discovery.leftovers {
        let exception = leftover.exception();
        monitor.exception(&exception);
        found.trouble.push(exception);
    }
    monitor.done();
    Ok(found)
}

/// What made the store be taken for its format.
fn evidence_of(reader: &dyn Reader) -> Evidence {
    let root = reader.root();
    let detected = match reader.format() {
        Format::MaildirPlusPlus | Format::MaildirFs => maildir::detect(root),
        Format::Mbox | Format::Thunderbird | Format::Takeout => mbox::detect(root),
        Format::Eml => eml::detect(root),
        Format::Pim => pim::evidence_below(root),
        Format::Notes => notes::detect(root),
        Format::Files => files::detect(root),
    };
    let because = match (detected, reader.format()) {
        (Ok(Some(evidence)), _) => evidence.because,
        (_, Format::Files) => vec!["of no other format".to_owned()],
        _ => vec!["named by the person, or by what lies around and below it".to_owned()],
    };
    Evidence { format: reader.format(), because }
}

fn look(
    account: &str,
    reader: &dyn Reader,
    head: &CollectionHead,
    trouble: &mut Vec<Exception>,
    monitor: &dyn Monitor,
) -> Result<CollectionFacts> {
    let facts = CollectionFacts {
        account: account.to_owned(),
        collection: head.path.to_string(),
        kind: head.kind,
        format: reader.format(),
        items: 0,
        bytes: 0,
        oldest: None,
        newest: None,
        biggest: Vec::new(),
    };
    let mut sink = Looking { facts, trouble, here: 0, monitor };
    if let Err(e) = reader.read(head, None, &mut sink) {
        sink.exception(Place::file(&head.source_path), Outcome::Failed, "the store could not be read to its end", e.to_string())?;
    }
    let Looking { facts, trouble, here, .. } = sink;
    if here > MAX_TROUBLE {
        trouble.push(Exception {
            account: account.to_owned(),
            collection: facts.collection.clone(),
            source: Place::file(&head.source_path),
            outcome: Outcome::Skipped,
            reason: "more like these".to_owned(),
            detail: format!("{} more", here - MAX_TROUBLE),
        });
    }
    Ok(facts)
}

/// Counts what a reader hands on and keeps none of it.
struct Looking<'a> {
    facts: CollectionFacts,
    trouble: &'a mut Vec<Exception>,
    /// Exceptions of this collection.
    here: usize,
    monitor: &'a dyn Monitor,
}

impl ItemSink for Looking<'_> {
    fn item(&mut self, item: FoundItem) -> Result<()> {
        let bytes = match &item.content {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::File { stamp, .. } => stamp.size,
            Content::Range { length, .. } => *length,
        };
        let facts = &mut self.facts;
        facts.items += 1;
        facts.bytes = facts.bytes.saturating_add(bytes);
        if let Some(date) = item.state.date {
            facts.oldest = Some(facts.oldest.map_or(date.at, |t| t.min(date.at)));
            facts.newest = Some(facts.newest.map_or(date.at, |t| t.max(date.at)));
        }
        // Of items of one size the first stays, so that the answer depends on the store only.
        let rank = facts.biggest.partition_point(|(_, size)| *size >= bytes);
        if rank < BIGGEST {
            facts.biggest.insert(rank, (item.place, bytes));
            facts.biggest.truncate(BIGGEST);
        }
        self.monitor.advance(1, bytes);
        Ok(())
    }

    fn exception(&mut self, source: Place, outcome: Outcome, reason: &str, detail: String) -> Result<()> {
        let exception = Exception {
            account: self.facts.account.clone(),
            collection: self.facts.collection.clone(),
            source,
            outcome,
            reason: reason.to_owned(),
            detail,
        };
        self.monitor.exception(&exception);
        self.here = self.here.saturating_add(1);
        if self.here <= MAX_TROUBLE {
            self.trouble.push(exception);
        }
        Ok(())
    }

    fn original(&mut self, _: Place, _: PathBuf) -> Result<()> {
        Ok(())
    }

    fn read_up_to(&mut self, _: u64, _: u128) {}

    fn resumed(&mut self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::sinks::tree_of;
    use super::super::{AccountSource, Leftover};
    use super::*;
    use crate::monitor::Silent;

    #[test]
    fn counts_dates_and_the_biggest_are_those_of_the_items() {
        let names: Vec<String> = (0..7).map(|i| format!("new/{}{i}", "x".repeat(i))).collect();
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.extend(["cur/", "tmp/left"]);
        let dir = tree_of(&names);
        let reader = maildir::open(dir.path(), Format::MaildirFs).unwrap();
        let account = AccountSource { account: "anna".into(), root: dir.path().to_owned(), readers: vec![reader] };
        let leftovers = vec![Leftover {
            place: Place::file("x"),
            outcome: Outcome::Skipped,
            reason: "belongs to no account".into(),
            detail: String::new(),
        }];
        let found = identify(&Discovery { accounts: vec![account], leftovers }, &Silent).unwrap();
        assert_eq!(found.evidence[0].because, ["cur, new and tmp at the top"]);
        let [inbox] = found.collections.as_slice() else { panic!("one folder") };
        assert_eq!((inbox.account.as_str(), inbox.collection.as_str(), inbox.items), ("anna", "INBOX", 7));
        let sizes: Vec<u64> = inbox.biggest.iter().map(|b| b.1).collect();
        assert_eq!((sizes.len(), sizes.is_sorted_by(|a, b| a > b)), (5, true));
        assert_eq!(inbox.biggest[0].0.path, "new/xxxxxx6");
        assert!(inbox.oldest.is_some() && inbox.oldest <= inbox.newest);
        let reasons: Vec<_> = found.trouble.iter().map(|t| t.reason.as_str()).collect();
        assert_eq!(reasons, ["unfinished delivery in tmp", "belongs to no account"]);
    }
}
