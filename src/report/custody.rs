//! The chain of custody and the signatures, as the archive itself has them.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde_json::Value;

use super::builder::Builder;
use super::model::{Event, Seal};
use crate::archive::Archive;
use crate::error::Result;
use crate::model::Digest;
use crate::proof::events::{self, EventType, Log, Outcome};
use crate::proof::{RootFile, signature};

/// Adds the events of the archive's record, and the captures that were made before there was one.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read.
pub(super) fn add_events(builder: &mut Builder, archive: &Archive) -> Result<()> {
    let log = Log::read(archive.store())?;
    let mut told: HashSet<Digest> = HashSet::new();
    for event in log.lines.iter().filter_map(|line| line.event.as_ref().ok()) {
        if event.kind == EventType::Capture {
            told.extend(event.root);
        }
        builder.event(Event {
            at: event.at,
            event: event.kind.term().to_owned(),
            agent: format!("{}, {}", event.agent, event.tool),
            root: event.root,
            medium: event.detail.get("medium").and_then(Value::as_str).map(str::to_owned),
            outcome: outcome(event),
        });
    }
    for earlier in archive.snapshots()?.into_iter().filter(|s| !told.contains(&s.digest)) {
        builder.event(Event {
            at: earlier.root.created,
            event: "capture".to_owned(),
            agent: format!("{} {}", earlier.root.tool.name, earlier.root.tool.version),
            root: Some(earlier.digest),
            medium: None,
            outcome: format!("{} captured of {} found", earlier.root.ledger.captured, earlier.root.ledger.found),
        });
    }
    Ok(())
}

/// How an event ended, with the numbers that it tells.
fn outcome(event: &events::Event) -> String {
    let word = match event.outcome {
        Outcome::Success => "success",
        Outcome::Warning => "warning",
        Outcome::Fail => "fail",
    };
    let numbers = event.detail.iter().filter(|(_, value)| value.is_number()).map(|(name, value)| format!("{name} {value}"));
    let numbers = numbers.collect::<Vec<_>>().join(", ");
    if numbers.is_empty() { word.to_owned() } else { format!("{word}: {numbers}") }
}

/// Adds every signature, checked.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read.
pub(super) fn add_signatures(builder: &mut Builder, archive: &Archive) -> Result<()> {
    let log = Log::read(archive.store())?;
    let events = log.lines.iter().filter_map(|line| line.event.as_ref().ok());
    let made: HashMap<&str, Timestamp> =
        events.filter_map(|event| Some((event.detail.get("file").and_then(Value::as_str)?, event.at))).collect();
    for signature in signature::all(archive.store())?.0 {
        builder.seal(Seal {
            kind: "signature".to_owned(),
            by: signature.role.word().to_owned(),
            key: signature.fingerprint.clone().unwrap_or_default(),
            root: RootFile::of(archive.store(), &signature.snapshot)?.map(|root| root.digest),
            at: made.get(signature.file.as_str()).copied(),
            good: signature.holds(),
            result: signature.broken.unwrap_or_else(|| format!("holds for snapshot {}", signature.snapshot)),
        });
    }
    Ok(())
}
