//! The chain of custody and the signatures, as the archive itself has them.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde_json::Value;

use super::builder::Builder;
use super::model::{Event, Seal};
use crate::archive::{Archive, Findings, Snapshot};
use crate::error::Result;
use crate::model::Digest;
use crate::proof::events::{self, EventType, Log, Outcome};
use crate::proof::{RootFile, signature, timestamp};

/// Details of events that stand elsewhere in a report, or say nothing to people.
const ELSEWHERE: [&str; 6] = ["medium", "sha256", "tree", "algorithm", "begun", "shipment"];

/// Adds the events of the archive's record, and the captures that were made before there was one; gives the time at which that of this snapshot
/// ended, where the record has it.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read.
pub(super) fn add_events(builder: &mut Builder, archive: &Archive, snapshot: &Snapshot) -> Result<Option<Timestamp>> {
    let mut captured = None;
    let log = Log::read(archive.store())?;
    let mut told: HashSet<Digest> = HashSet::new();
    for event in log.lines.iter().filter_map(|line| line.event.as_ref().ok()) {
        if event.kind == EventType::Capture {
            told.extend(event.root);
            captured = captured.or((event.root == Some(snapshot.digest)).then_some(event.at));
        }
        builder.event(Event {
            at: event.at,
            event: event.kind.term().to_owned(),
            agent: by(event),
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
    Ok(captured)
}

/// The event of the job that the report is of.
pub fn just_now(kind: EventType, root: Digest, outcome: String) -> Event {
    let event = events::Event::new(kind, Outcome::Success);
    Event {
        at: Timestamp::now(),
        event: event.kind.term().to_owned(),
        agent: by(&event),
        root: Some(root),
        medium: None,
        outcome,
    }
}

fn by(event: &events::Event) -> String {
    format!("{}, {}", event.agent, event.tool)
}

/// How an event ended, with what it tells.
fn outcome(event: &events::Event) -> String {
    let word = match event.outcome {
        Outcome::Success => "success",
        Outcome::Warning => "warning",
        Outcome::Fail => "fail",
    };
    let told =
        event.detail.iter().filter(|(name, _)| !ELSEWHERE.contains(&name.as_str())).filter_map(|(name, value)| match value {
            Value::Number(number) => Some(format!("{name} {number}")),
            Value::String(text) => Some(format!("{name} {text}")),
            Value::Bool(true) => Some(name.clone()),
            _ => None,
        });
    let told = told.collect::<Vec<_>>().join(", ");
    if told.is_empty() { word.to_owned() } else { format!("{word}: {told}") }
}

/// Adds every signature and every time stamp, checked, and how a third party checks those of this snapshot.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read.
pub(super) fn add_seals(builder: &mut Builder, archive: &Archive, snapshot: &Snapshot) -> Result<()> {
    add_signatures(builder, archive, snapshot)?;
    let mut found = Findings::default();
    for stamp in timestamp::check(archive.store(), &mut found)? {
        if stamp.snapshot == snapshot.id {
            builder.step(
                "The root was there when the time stamp says; CA.pem is the authority's certificate",
                format!("cd ARCHIVE && {}", stamp.command()),
                "Verification: OK",
            );
        }
        builder.seal(Seal {
            kind: "timestamp".to_owned(),
            by: "time-stamping authority, see its certificate".to_owned(),
            key: String::new(),
            root: RootFile::of(archive.store(), &stamp.snapshot)?.map(|root| root.digest),
            at: stamp.at.parse().ok(),
            good: true,
            result: format!("snapshot {}; who gave it is checked with openssl", stamp.snapshot),
        });
    }
    for why in found.damage {
        let (kind, by) = ("timestamp".to_owned(), "an authority".to_owned());
        builder.seal(Seal { kind, by, key: String::new(), root: None, at: None, good: false, result: why });
    }
    Ok(())
}

fn add_signatures(builder: &mut Builder, archive: &Archive, snapshot: &Snapshot) -> Result<()> {
    let log = Log::read(archive.store())?;
    let events = log.lines.iter().filter_map(|line| line.event.as_ref().ok());
    let made: HashMap<&str, Timestamp> =
        events.filter_map(|event| Some((event.detail.get("file").and_then(Value::as_str)?, event.at))).collect();
    for signature in signature::all(archive.store())?.0 {
        if signature.snapshot == snapshot.id && signature.holds() {
            let (file, role) = (&signature.file, signature.role);
            let root = RootFile::of(archive.store(), &signature.snapshot)?.map(|root| root.file).unwrap_or_default();
            let expect = format!("Good \"{}\" signature for WHO", role.namespace());
            builder.step(
                "The signature holds; ALLOWED names who you trust (man ssh-keygen, ALLOWED SIGNERS), WHO is one of them",
                format!("cd ARCHIVE && ssh-keygen -Y verify -f ALLOWED -I WHO -n {} -s {file} < {root}", role.namespace()),
                &expect,
            );
        }
        builder.seal(Seal {
            kind: "signature".to_owned(),
            by: signature.role.word().to_owned(),
            key: signature.fingerprint.clone().unwrap_or_default(),
            root: RootFile::of(archive.store(), &signature.snapshot)?.map(|root| root.digest),
            at: made.get(signature.file.as_str()).copied(),
            good: signature.holds(),
            result: signature.broken.unwrap_or_else(|| format!("snapshot {}", signature.snapshot)),
        });
    }
    Ok(())
}
