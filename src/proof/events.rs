//! The record of what happened to an archive: `events.jsonl`, hash-chained, in PREMIS's words (docs/format.md section 11).
//!
//! Each line names the digest of the line before it, each root names that of the last line before the root was made, and the tag
//! manifest lists the file: so an event that is changed, taken out, added or moved is missed, and so is an end that was cut off.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::RootFile;
use crate::archive::{Archive, Findings, Root};
use crate::archive::{spare, tags};
use crate::error::{Error, Kind, Result};
use crate::model::Digest;
use crate::store::{LocalStore, Store};

/// The file.
pub const FILE: &str = "events.jsonl";
/// The detail of the capture of a root that was salvaged as it was.
const SALVAGED: &str = "salvaged";
/// Largest file that is read.
const MAX_BYTES: u64 = 256 << 20;

/// What happened: the terms of PREMIS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventType {
    /// A snapshot was made.
    Capture,
    /// The digests of what was captured were made.
    MessageDigestCalculation,
    /// The archive was checked.
    FixityCheck,
    /// The archive was copied.
    Replication,
    /// A root was signed.
    DigitalSignatureGeneration,
    /// What it holds was carried to another system.
    Migration,
    /// The other system was compared with it.
    Validation,
    /// Something was removed from it for good.
    Deaccession,
    /// Something of it was given out.
    Dissemination,
    /// Something was put beside what it holds: a question for a time stamp, or its answer.
    MetadataModification,
    /// A term of a later version.
    Other(String),
}

impl EventType {
    const KNOWN: [EventType; 10] = [
        EventType::Capture,
        EventType::MessageDigestCalculation,
        EventType::FixityCheck,
        EventType::Replication,
        EventType::DigitalSignatureGeneration,
        EventType::Migration,
        EventType::Validation,
        EventType::Deaccession,
        EventType::Dissemination,
        EventType::MetadataModification,
    ];

    /// As PREMIS has it.
    pub fn term(&self) -> &str {
        match self {
            EventType::Capture => "capture",
            EventType::MessageDigestCalculation => "message digest calculation",
            EventType::FixityCheck => "fixity check",
            EventType::Replication => "replication",
            EventType::DigitalSignatureGeneration => "digital signature generation",
            EventType::Migration => "migration",
            EventType::Validation => "validation",
            EventType::Deaccession => "deaccession",
            EventType::Dissemination => "dissemination",
            EventType::MetadataModification => "metadata modification",
            EventType::Other(term) => term,
        }
    }
}

impl Serialize for EventType {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.term())
    }
}

impl<'de> Deserialize<'de> for EventType {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let term = String::deserialize(d)?;
        let known = EventType::KNOWN.into_iter().find(|known| known.term() == term);
        Ok(known.unwrap_or(EventType::Other(term)))
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should.
    Success,
    /// With exceptions.
    Warning,
    /// It did not.
    Fail,
}

/// One event. Its number and what it follows are given when it is appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its number, from 1.
    pub event: u64,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventType,
    /// When.
    pub at: Timestamp,
    /// Who did it: a user on a machine.
    pub agent: String,
    /// With what program.
    pub tool: String,
    /// How it ended.
    pub outcome: Outcome,
    /// More about it: numbers and names of the archive's own files, nothing of what the archive holds.
    #[serde(default)]
    pub detail: Map<String, Value>,
    /// The root concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Digest>,
    /// SHA-256 of the line before, without its line end.
    pub previous: Option<Digest>,
}

impl Event {
    /// Something that has happened just now.
    pub fn new(kind: EventType, outcome: Outcome) -> Self {
        Event {
            event: 0,
            kind,
            at: Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default(),
            agent: agent(),
            tool: format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION")),
            outcome,
            detail: Map::new(),
            root: None,
            previous: None,
        }
    }

    /// Adds the root concerned.
    #[must_use]
    pub fn root(mut self, root: Digest) -> Self {
        self.root = Some(root);
        self
    }

    /// Adds something about it.
    #[must_use]
    pub fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.detail.insert(name.to_owned(), value.into());
        self
    }
}

/// The user and the machine, in words: an encrypted archive shows no address, not even one that only looks like it.
fn agent() -> String {
    let user = ["SUDO_USER", "LOGNAME", "USER"].iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    let user = user.unwrap_or_else(|| format!("user {}", rustix::process::getuid().as_raw()));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if host.trim().is_empty() { user } else { format!("{user} on {}", host.trim()) }
}

/// One line of the file.
#[derive(Clone, Debug)]
pub struct Line {
    /// SHA-256 of its bytes, without the line end.
    pub digest: Digest,
    /// The event, or why it is none.
    pub event: Result<Event, String>,
}

/// The file as it was read.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// Its bytes.
    bytes: Vec<u8>,
    /// Its lines.
    pub lines: Vec<Line>,
    is_there: bool,
}

impl Log {
    /// Reads the file; where there is none the log is empty.
    ///
    /// # Errors
    /// `Kind::Storage` when it cannot be read, `Kind::Damage` when it is too large to be one.
    pub fn read(store: &dyn Store) -> Result<Self> {
        let read = store.read(FILE, MAX_BYTES)?;
        let is_there = read.is_some();
        let bytes = read.unwrap_or_default();
        let text = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let each = text.split(|b| *b == b'\n').filter(|_| !bytes.is_empty());
        let lines = each.map(|line| Line { digest: Digest::of(line), event: parse(line) }).collect();
        Ok(Log { bytes, lines, is_there })
    }

    /// The digest of the last line, or of nothing: what a root made now names.
    pub fn anchor(&self) -> Digest {
        self.lines.last().map_or_else(|| Digest::of(b""), |line| line.digest)
    }

    fn tells_of_salvage(&self, root: Digest) -> bool {
        let mut events = self.lines.iter().filter_map(|line| line.event.as_ref().ok());
        events.any(|e| e.kind == EventType::Capture && e.root == Some(root) && e.detail.get(SALVAGED) == Some(&Value::Bool(true)))
    }

    /// Adds an event at the end.
    fn push(&mut self, mut event: Event) -> Result<()> {
        event.event = self.lines.len() as u64 + 1;
        event.previous = self.lines.last().map(|line| line.digest);
        let line = serde_json::to_vec(&event).map_err(|e| Error::new(Kind::Internal, "cannot write an event").because(e))?;
        if self.bytes.last().is_some_and(|b| *b != b'\n') {
            self.bytes.push(b'\n');
        }
        self.bytes.extend_from_slice(&line);
        self.bytes.push(b'\n');
        self.lines.push(Line { digest: Digest::of(&line), event: Ok(event) });
        Ok(())
    }
}

fn parse(line: &[u8]) -> Result<Event, String> {
    serde_json::from_slice(line).map_err(|e| e.to_string())
}

/// The events of an archive, oldest first.
///
/// # Errors
/// `Kind::Damage` when a line is no event.
pub fn read(store: &dyn Store) -> Result<Vec<Event>> {
    let event = |(at, line): (usize, Line)| {
        line.event.map_err(|why| Error::damage("a line is no event").with("file", FILE).with("line", at + 1).with("why", why))
    };
    Log::read(store)?.lines.into_iter().enumerate().map(event).collect()
}

/// Appends an event to the archive in this folder. It takes the writer's lock; a kill at any step leaves the event there or not.
///
/// # Errors
/// `Kind::Locked` when another process writes, `Kind::Storage` when the archive cannot be written, `Kind::Damage` when the record is
/// not the one that the tag manifest lists: what was taken out of it must not be covered up.
pub fn append(archive: &Path, event: Event) -> Result<()> {
    let store = LocalStore::new(archive);
    if store.read("bagit.txt", 1 << 10)?.is_none() {
        return Err(Error::usage("there is no archive in this folder").with("folder", archive.display()));
    }
    let _lock = store.lock()?;
    commit(&store, Vec::new(), event)
}

/// Commits files that are not part of the payload together with the event that tells of them; for whoever holds the writer's lock.
///
/// # Errors
/// As [`append`].
pub fn commit(store: &LocalStore, mut files: Vec<(String, Vec<u8>)>, event: Event) -> Result<()> {
    let mut log = Log::read(store)?;
    if !tags::agrees(store, FILE, log.is_there.then_some(log.bytes.as_slice()))? {
        return Err(Error::damage("the record of events is not the one that the tag manifest lists")
            .with("file", FILE)
            .hint("floe verify says more; copy it and tagmanifest-sha256.txt from another copy of the archive"));
    }
    log.push(event)?;
    files.push((FILE.to_owned(), log.bytes));
    files.retain(|(name, _)| name != tags::FILE);
    // Only these lines of the tag manifest change: made anew from what lies there it would cover up other damage.
    let tags = tags::with(store, &files)?;
    files.push(tags);
    files.extend(spare::renewed(store, &files)?);
    store.commit(&files)
}

/// What there is to say of a record that the tag manifest lists otherwise.
pub(crate) enum Doubted {
    /// It is the one that is listed, or is not there, or is not whole in itself.
    No,
    /// It is not listed at all; its digest.
    Unlisted(Digest),
    /// It is whole in itself: the file with an event more, which tells of the difference.
    Told(Vec<u8>),
}

/// Compares the record with what the tag manifest `listed`, for who makes that anew.
///
/// # Errors
/// `Kind::Storage` when it cannot be read, `Kind::Damage` when it is too large.
pub(crate) fn doubted(store: &dyn Store, listed: Option<Digest>) -> Result<Doubted> {
    let mut log = Log::read(store)?;
    let digest = Digest::of(&log.bytes);
    if !log.is_there || listed == Some(digest) {
        return Ok(Doubted::No);
    }
    if listed.is_none() {
        return Ok(Doubted::Unlisted(digest));
    }
    let mut damage = Vec::new();
    chain(&log, &mut damage);
    if !damage.is_empty() {
        return Ok(Doubted::No);
    }
    log.push(difference())?;
    Ok(Doubted::Told(log.bytes))
}

/// That the record is not the one that it should be.
fn difference() -> Event {
    let found = Event::new(EventType::FixityCheck, Outcome::Fail);
    found.detail("file", FILE).detail("found", "not the file that the tag manifest lists")
}

/// What the log tells once a root is committed. It was read before the root was made, so that the root could name its end.
pub(crate) fn of_snapshot(mut log: Log, store: &dyn Store, root: &Root, digest: Digest, id: &str) -> Result<(String, Vec<u8>)> {
    if !tags::agrees(store, FILE, log.is_there.then_some(log.bytes.as_slice()))? {
        // A capture does not wait for a damaged record to be mended, but it does not cover the damage up either.
        log.push(difference())?;
    }
    let ledger = &root.ledger;
    let lost = ledger.failed_total() > 0 || !ledger.balances();
    let outcome = if lost { Outcome::Warning } else { Outcome::Success };
    let mut capture =
        Event::new(EventType::Capture, outcome).root(digest).detail("snapshot", id).detail("begun", root.created.to_string());
    // Of an encrypted archive the record tells nothing that the root hides.
    let is_open = root.recipients.is_empty();
    if is_open {
        capture = capture
            .detail("accounts", root.accounts.len())
            .detail("found", ledger.found)
            .detail("captured", ledger.captured)
            .detail("skipped", ledger.skipped_total())
            .detail("failed", ledger.failed_total())
            .detail("bytes", ledger.bytes);
    }
    if root.events != Some(log.anchor()) {
        // A root out of a damaged archive, kept as it was, names the end of a record that is not this one.
        capture = capture.detail(SALVAGED, true);
    }
    log.push(capture)?;
    let mut digests =
        Event::new(EventType::MessageDigestCalculation, Outcome::Success).root(digest).detail("algorithm", "SHA-256");
    if is_open {
        digests = digests.detail("items", ledger.captured).detail("tree", root.tree.to_string());
    }
    log.push(digests)?;
    Ok((FILE.to_owned(), log.bytes))
}

/// A root, as far as the events have to do with it.
struct Rooted {
    id: String,
    digest: Digest,
    /// The end of the log when it was made; nothing where it names none.
    anchor: Option<Digest>,
    /// Made by a version that kept no events.
    is_older: bool,
}

fn rooted(archive: &Archive) -> Result<Vec<Rooted>> {
    let known: HashMap<String, Option<Digest>> = archive.snapshots()?.into_iter().map(|s| (s.id, s.root.events)).collect();
    let mut all = Vec::new();
    RootFile::each(archive.store(), &mut |file| {
        // What a root names is not known without the key of an encrypted one; floe has kept events for longer than it encrypts.
        let read = known.get(&file.id);
        let anchor = read.copied().flatten();
        let is_older = if read.is_some() { anchor.is_none() } else { !file.is_whole() };
        all.push(Rooted { id: file.id, digest: file.digest, anchor, is_older });
    })?;
    Ok(all)
}

/// Finds what is wrong with the record of events: broken, cut or reordered, or at odds with the roots and signatures that are there.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read.
pub fn check(archive: &Archive, found: &mut Findings) -> Result<()> {
    let damage = &mut found.damage;
    let log = match Log::read(archive.store()) {
        Err(e) if e.kind() == Kind::Damage => {
            damage.push(e.to_string());
            return Ok(());
        }
        log => log?,
    };
    let roots = rooted(archive)?;
    if !log.is_there {
        if let Some(root) = roots.iter().find(|r| r.anchor.is_some()) {
            damage.push(format!("{FILE} is missing, and with it every event: snapshot {} names its end", root.id));
        }
        return Ok(());
    }
    chain(&log, damage);
    kept_aside(archive.store(), damage)?;
    let at: HashMap<Digest, usize> = log.lines.iter().enumerate().map(|(n, line)| (line.digest, n + 1)).collect();
    roots.iter().for_each(|root| anchored(root, &log, &at, damage, &mut found.warnings));
    let there: HashSet<Digest> = roots.iter().map(|r| r.digest).collect();
    for event in log.lines.iter().filter_map(|line| line.event.as_ref().ok()) {
        if event.kind == EventType::FixityCheck && event.detail.get("file").is_some_and(|file| file == FILE) {
            found.warnings.push(format!("event {} tells that {FILE} was another than {} listed", event.event, tags::FILE));
        }
        if let Some(root) = event.root.filter(|root| event.kind == EventType::Capture && !there.contains(root)) {
            damage.push(format!("the root that event {} tells of is missing or changed: its SHA-256 was {root}", event.event));
        }
    }
    made(archive.store(), &log, damage)
}

/// Is the record the one that the tag manifest lists? A check of the whole archive compares all such files.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read.
pub fn check_listed(store: &dyn Store, log: &Log, found: &mut Findings) -> Result<()> {
    if !tags::agrees(store, FILE, log.is_there.then_some(log.bytes.as_slice()))? {
        found.damage.push(format!("{FILE} is not the file that {} lists", tags::FILE));
    }
    Ok(())
}

/// Are the records that a delivery or a salvage kept aside what their names say?
fn kept_aside(store: &dyn Store, damage: &mut Vec<String>) -> Result<()> {
    for file in store.list("")? {
        let digits = file.name.strip_prefix("events.").and_then(|name| name.strip_suffix(".jsonl"));
        let Some(digits) = digits.filter(|d| d.len() == 16 && d.bytes().all(|b| b.is_ascii_hexdigit())) else { continue };
        match store.read(&file.name, MAX_BYTES) {
            Ok(bytes) if Digest::of(bytes.as_deref().unwrap_or_default()).to_string().starts_with(digits) => {}
            Ok(_) => damage.push(format!("{} is not the record of events that its name says: it was changed", file.name)),
            Err(e) => damage.push(e.to_string()),
        }
    }
    Ok(())
}

/// Does each line follow the one before it?
fn chain(log: &Log, damage: &mut Vec<String>) {
    if log.bytes.last().is_some_and(|b| *b != b'\n') {
        damage.push(format!("{FILE} is cut off within its last line"));
    }
    let mut before: Option<(&Line, u64)> = None;
    for (line, number) in log.lines.iter().zip(1..) {
        let event = match &line.event {
            Ok(event) => event,
            Err(why) => {
                damage.push(format!("{FILE} line {number} is no event: {why}"));
                before = Some((line, before.map_or(number, |(_, n)| n + 1)));
                continue;
            }
        };
        let n = event.event;
        match before {
            Some((_, last)) if n > last + 1 => damage.push(format!("{FILE}: events {} to {} are missing", last + 1, n - 1)),
            None if n > 1 => damage.push(format!("{FILE}: events 1 to {} are missing", n - 1)),
            Some((_, last)) if n <= last => {
                damage.push(format!("{FILE}: event {n} stands behind event {last}: they were put in another order"))
            }
            _ => {}
        }
        if event.previous != before.map(|(line, _)| line.digest) {
            let what = before.map_or("the beginning".to_owned(), |(_, last)| format!("event {last}"));
            damage.push(format!(
                "{FILE}: event {n} does not follow {what}: one of the two was changed, or what stood between was taken out"
            ));
        }
        before = Some((line, n));
    }
}

/// Is the end of the log that a root names there, and behind it the event of the root's capture?
fn anchored(root: &Rooted, log: &Log, at: &HashMap<Digest, usize>, damage: &mut Vec<String>, warnings: &mut Vec<String>) {
    if root.is_older {
        return;
    }
    let from = match root.anchor {
        None => 0,
        Some(anchor) if anchor == Digest::of(b"") => 0,
        Some(anchor) => match at.get(&anchor) {
            Some(n) => *n,
            None if log.tells_of_salvage(root.digest) => {
                warnings
                    .push(format!("the events before snapshot {} were lost: it was salvaged from a damaged archive", root.id));
                0
            }
            None => {
                damage.push(format!("{FILE}: the event that snapshot {} was made after is changed or missing", root.id));
                0
            }
        },
    };
    let captured = log.lines.iter().skip(from).filter_map(|line| line.event.as_ref().ok());
    if !captured.into_iter().any(|e| e.kind == EventType::Capture && e.root == Some(root.digest)) {
        damage.push(format!("{FILE}: the event of the capture of snapshot {} is missing", root.id));
    }
}

/// Are the files there that the events tell of, signatures and others, as they were made?
fn made(store: &dyn Store, log: &Log, damage: &mut Vec<String>) -> Result<()> {
    let mut made: BTreeMap<&str, (u64, &str)> = BTreeMap::new();
    for event in log.lines.iter().filter_map(|line| line.event.as_ref().ok()) {
        if let (Some(file), Some(digest)) =
            (event.detail.get("file").and_then(Value::as_str), event.detail.get("sha256").and_then(Value::as_str))
        {
            made.insert(file, (event.event, digest));
        }
    }
    let listed = tags::lines(store).unwrap_or_default();
    for (file, (event, digest)) in made.into_iter().filter(|(file, _)| tags::is_plain(file)) {
        // What lies under `data/` has a manifest of its own, which is compared with what is there.
        if !file.starts_with("data/") && !listed.iter().any(|(_, name)| name == file) {
            damage.push(format!("{file} is not listed in {}: event {event} tells that it was made", tags::FILE));
        }
        match store.read(file, MAX_BYTES) {
            Ok(None) => damage.push(format!("{file} is missing: event {event} tells that it was made")),
            Ok(Some(bytes)) if Digest::of(&bytes).to_string() == digest => {}
            Ok(Some(_)) => damage.push(format!("{file} is not the file that event {event} tells of")),
            Err(e) => damage.push(e.to_string()),
        }
    }
    Ok(())
}
