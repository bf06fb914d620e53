//! What an archive itself has to say to a report: a snapshot's folders, items and exceptions, and the findings of a check.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use super::builder::{Builder, FolderId};
use super::custody;
use super::header::{archive_identity, header};
use super::model::{Class, Example, Fixity, Job, Outcome, Report, Source};
use crate::archive::{Archive, Check, CollectionEntry, Findings, Snapshot};
use crate::error::{Error, Result};
use crate::model::{Digest, Exception, Ledger};
use crate::proof::events::EventType;
use crate::vault::SUFFIX;

/// Begins the report of a job on a snapshot of an archive: header, scope, custody, and the steps that anybody can repeat.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read or the report not written.
pub fn begin(
    folder: &Path,
    job: Job,
    archive: (&Archive, &Path),
    snapshot: &Snapshot,
    options: BTreeMap<String, String>,
) -> Result<Builder> {
    let (archive, path) = archive;
    let identity = archive_identity(archive, path, snapshot)?;
    let mut builder = Builder::create(folder, header(job, Some(identity), options))?;
    builder.scope.captured_from = Some(snapshot.root.created);
    builder.scope.sources = snapshot
        .root
        .sources
        .iter()
        .map(|s| Source { kind: s.format.clone().unwrap_or_else(|| "files".to_owned()), path: s.path.clone(), read_only: true })
        .collect();
    builder.scope.out_of_scope = vec![
        format!("Snapshots of this archive other than {}: their items are not listed here.", snapshot.id),
        "Anything outside of the sources named above, and anything that came into them after the capture.".to_owned(),
        "What the stores do not hold: passwords, settings of mail programs, sessions.".to_owned(),
    ];
    // Snapshots in quick succession are dated a second apart, events are not.
    let captured = custody::add_events(&mut builder, archive, snapshot)?;
    builder.scope.captured_to = captured.map(|at| at.max(snapshot.root.created));
    steps(&mut builder, snapshot, archive.is_encrypted());
    custody::add_seals(&mut builder, archive, snapshot)?;
    Ok(builder)
}

/// Follows the chain of events with what Python brings along.
const EVENTS_CHAIN: &str = "python3 -c \"import hashlib, json, sys; lines = open('ARCHIVE/events.jsonl', 'rb').read().splitlines(); \
                            before = [None] + [hashlib.sha256(line).hexdigest() for line in lines]; \
                            sys.exit(any(json.loads(line)['previous'] != b for line, b in zip(lines, before)))\"";

fn steps(builder: &mut Builder, snapshot: &Snapshot, encrypted: bool) {
    let (suffix, key) = if encrypted { (SUFFIX, " --identity KEY") } else { ("", "") };
    builder.step(
        "Every file of the archive has the digest in its manifest",
        "cd ARCHIVE && sha256sum --quiet -c manifest-sha256.txt && sha256sum --quiet -c tagmanifest-sha256.txt",
        "no output, exit code 0",
    );
    builder.step(
        "The root is the one that this report names",
        format!("sha256sum ARCHIVE/data/snapshots/{}.json{suffix}", snapshot.id),
        &snapshot.digest.to_string(),
    );
    builder.step(
        "Every item can be rebuilt and has its SHA-256, without floe",
        format!("python3 ARCHIVE/restore.py ARCHIVE --check{key}"),
        "exit code 0",
    );
    builder.step(
        "No event was changed, taken out or moved: each line names the SHA-256 of the one before",
        EVENTS_CHAIN,
        "no output, exit code 0",
    );
    builder.step(
        "The program is the one that this report names",
        "sha256sum \"$(command -v floe)\"",
        "the binary's SHA-256 in the header above",
    );
}

/// Writes the report of a snapshot that was just committed.
///
/// # Errors
/// `Kind::Storage` when it cannot be written; `Kind::Damage` when what was committed cannot be read back.
pub fn of_snapshot(
    folder: &Path,
    archive: (&Archive, &Path),
    snapshot: &Snapshot,
    options: BTreeMap<String, String>,
) -> Result<Report> {
    let mut builder = begin(folder, Job::Snapshot, archive, snapshot, options)?;
    add_snapshot(&mut builder, archive.0, snapshot)?;
    let report = builder.finish()?;
    let broken = report.exceptions.iter().find(|cause| cause.class == Class::Damaged).map(|cause| cause.cause.clone());
    let broken = broken.or_else(|| report.seals.iter().find(|seal| !seal.good).map(|seal| seal.result.clone()));
    match broken {
        Some(why) => Err(Error::damage(why).hint("the snapshot is kept and the report names it; run floe verify --full")),
        None => Ok(report),
    }
}

/// Writes the report of a check of an archive.
///
/// # Errors
/// `Kind::Storage` when it cannot be written, `Kind::Damage` when no root can be read to report on.
pub fn of_check(
    folder: &Path,
    archive: (&Archive, &Path),
    check: &Check,
    options: BTreeMap<String, String>,
    (found, elapsed): (&Findings, Duration),
) -> Result<Report> {
    let level = if check.full { "full" } else { "quick" };
    let snapshot = match &check.snapshot {
        Some(id) => Some(archive.0.snapshot(Some(id))?),
        None => archive.0.snapshots()?.pop(),
    };
    let mut builder = match &snapshot {
        Some(snapshot) => begin(folder, Job::Verify, archive, snapshot, options)?,
        None => Builder::create(folder, header(Job::Verify, None, options))?,
    };
    builder.fixity = Some(fixity(archive.0, level, found, elapsed));
    add_findings(&mut builder, found)?;
    if let Some(mut snapshot) = snapshot {
        // What a tombstone accounts for is told by the findings.
        let is_there = |listing: &Digest| !check.forgotten.contains(listing) || archive.0.contains(listing).unwrap_or(true);
        snapshot.root.accounts.retain(|account| is_there(&account.listing));
        snapshot.root.leftovers = snapshot.root.leftovers.filter(is_there);
        add_snapshot(&mut builder, archive.0, &snapshot)?;
        let outcome = format!("this check, {level}: {} damages, {} notes", found.damage.len(), found.warnings.len());
        builder.event(custody::just_now(EventType::FixityCheck, snapshot.digest, outcome));
    }
    let report = builder.finish()?;
    if report.verdict.result == Outcome::Fail && found.damage.is_empty() {
        return Err(Error::damage(report.verdict.reasons.join("; ")).hint("the report names it"));
    }
    Ok(report)
}

fn fixity(archive: &Archive, level: &str, found: &Findings, elapsed: Duration) -> Fixity {
    let missing = found.damage.iter().filter(|line| line.contains("missing")).count() as u64;
    let packs: u64 = archive.index().packs().iter().map(|pack| pack.size).sum();
    Fixity {
        level: level.to_owned(),
        files: found.files,
        objects: found.objects,
        placements: found.placements,
        // A full check reads the packs twice: once as files, once frame by frame.
        bytes: if level == "full" { 2 * packs } else { packs },
        elapsed_ms: elapsed.as_millis() as u64,
        mismatches: found.damage.len() as u64 - missing,
        missing,
        repaired: 0,
        sample: None,
    }
}

/// Adds all folders, items and exceptions of a snapshot. A listing that cannot be read is an exception, and the rest goes on.
///
/// # Errors
/// `Kind::Storage` when the report cannot be written.
pub fn add_snapshot(builder: &mut Builder, archive: &Archive, snapshot: &Snapshot) -> Result<()> {
    for account in &snapshot.root.accounts {
        match archive.collections(account) {
            Ok(collections) => {
                collections.iter().try_for_each(|c| add_collection(builder, archive, &account.account, c))?;
            }
            Err(e) => {
                builder.unassigned(&account.account, &account.ledger);
                unreadable(builder, &account.account, "", &e.to_string())?;
            }
        }
    }
    add_leftovers(builder, archive, snapshot)
}

/// Adds what of the sources belongs to no collection and was not captured.
///
/// # Errors
/// `Kind::Storage` when the report cannot be written.
pub fn add_leftovers(builder: &mut Builder, archive: &Archive, snapshot: &Snapshot) -> Result<()> {
    let Some(listing) = snapshot.root.leftovers else { return Ok(()) };
    let mut by_account: HashMap<String, Ledger> = HashMap::new();
    let read = each(builder, &mut |give| archive.exceptions(listing, give), &mut |builder, e: Exception| {
        let ledger = by_account.entry(e.account.clone()).or_default();
        ledger.found += 1;
        ledger.note(e.outcome, &e.reason);
        builder.not_captured(&e)
    })?;
    for (account, ledger) in &by_account {
        builder.unassigned(account, ledger);
    }
    read.map_or(Ok(()), |why| unreadable(builder, "", "", &why))
}

fn add_collection(builder: &mut Builder, archive: &Archive, account: &str, c: &CollectionEntry) -> Result<()> {
    let id = add_folder(builder, archive, account, c)?;
    let mut items = 0;
    let read = each(builder, &mut |give| archive.placements(c, give), &mut |builder, item| {
        items += 1;
        builder.item(id, &item)
    })?;
    let wrong = (items != c.ledger.captured).then(|| format!("{items} items are listed, the ledger says {}", c.ledger.captured));
    read.or(wrong).map_or(Ok(()), |why| unreadable(builder, account, &c.head.path.to_string(), &why))
}

/// Adds a collection with its ledger and what of it was not captured, without its items.
///
/// # Errors
/// `Kind::Storage` when the report cannot be written.
pub fn add_folder(builder: &mut Builder, archive: &Archive, account: &str, c: &CollectionEntry) -> Result<FolderId> {
    let id = builder.folder(account, &c.head.path, c.head.kind, &c.ledger);
    builder.uid_validity(id, c.head.uid_validity);
    let Some(listing) = c.exceptions else { return Ok(id) };
    let read =
        each(builder, &mut |give| archive.exceptions(listing, give), &mut |builder, e: Exception| builder.not_captured(&e))?;
    read.map_or(Ok(()), |why| unreadable(builder, account, &c.head.path.to_string(), &why))?;
    Ok(id)
}

/// Is handed the lines of a listing.
type Give<'a, T> = &'a mut dyn FnMut(T) -> Result<()>;

/// Reads a listing into the report. An error of the report ends all; one of the listing is given back in words.
fn each<T>(
    builder: &mut Builder,
    read: &mut dyn FnMut(Give<'_, T>) -> Result<()>,
    add: &mut dyn FnMut(&mut Builder, T) -> Result<()>,
) -> Result<Option<String>> {
    let mut report_failed = false;
    let done = read(&mut |line| {
        let added = add(builder, line);
        report_failed = added.is_err();
        added
    });
    match done {
        Err(e) if report_failed => Err(e),
        Err(e) => Ok(Some(e.to_string())),
        Ok(()) => Ok(None),
    }
}

fn unreadable(builder: &mut Builder, account: &str, folder: &str, why: &str) -> Result<()> {
    let (account, folder) = (account.to_owned(), folder.to_owned());
    let example = Example { account, folder, place: String::new(), detail: why.to_owned() };
    builder.exception(Class::Damaged, "a listing cannot be read as it was written", example)
}

/// Adds what a check of the archive found.
///
/// # Errors
/// `Kind::Storage` when the report cannot be written.
pub fn add_findings(builder: &mut Builder, found: &Findings) -> Result<()> {
    let lists = [
        (Class::Damaged, "found by the fixity check", &found.damage),
        (Class::Note, "noted by the fixity check", &found.warnings),
    ];
    for (class, cause, lines) in lists {
        for line in lines {
            let example = Example { account: String::new(), folder: String::new(), place: String::new(), detail: line.clone() };
            builder.exception(class, cause, example)?;
        }
    }
    Ok(())
}
