//! `floe verify`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

use super::output::{Output, Verdict};
use super::unlock::KeyArgs;
use crate::archive::{self, Archive, Check, Findings};
use crate::error::{Error, Kind, Result};
use crate::model::printable;
use crate::monitor::Terminal;
use crate::parity;
use crate::proof::events::{self, Event, EventType};
use crate::proof::key::{self, Demanded};
use crate::proof::signature::Signature;
use crate::proof::since::{self, Since};
use crate::proof::timestamp::{self, Stamp};
use crate::proof::{self, RootFile, tombstone};
use crate::report;
use crate::snapshot;

/// Check that an archive is intact
///
/// Quick, the default, checks the bag files, the digest of every pack, and that index and listings agree. Full also rebuilds and hashes every object and
/// follows every placement of every snapshot to its item. Of an encrypted archive the
/// files' digests can be checked without the key. Nothing is written. What is damaged is listed, with the items that
/// it touches, and ends in exit code 2. Every signature found is checked, and so is the record of events.
///
/// With --signed-by each of the given keys must have signed the newest root, or that of --snapshot. With --since it is proven that
/// nothing was changed that was there when you saw that root: the chain of roots leads to it, and what it and those before it name is there.
///
/// Example: floe verify acme.floe --full --signed-by operator.pub
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// Check files and digests only (the default)
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Rebuild and hash everything
    #[arg(long)]
    full: bool,
    /// Any unambiguous part of a snapshot's name: only its listings and items; all snapshots otherwise
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,
    /// File of public keys (.pub, allowed_signers): each of them must have signed the newest root; may be given again
    #[arg(long, value_name = "PUB", num_args = 1..)]
    signed_by: Vec<PathBuf>,
    /// SHA-256 of a root that you have seen before, a file of it, or a copy of that root
    #[arg(long, value_name = "ROOT", conflicts_with = "snapshot")]
    since: Option<String>,
    /// Write down in the archive's events.jsonl that it was checked, and with what result
    #[arg(long)]
    record: bool,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
    /// Write a report for auditors into this folder: HTML, JSON and CSV
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    #[command(flatten)]
    key: KeyArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    findings: &'a Findings,
    full: bool,
    signatures: &'a [Signature],
    timestamps: &'a [Stamp],
    since: Option<&'a Since>,
    verdict: String,
}

pub(super) fn run(args: Args, out: &mut Output<'_>) -> Result<u8> {
    let demanded = args.signed_by.iter().map(|file| key::read_public(file)).collect::<Result<Vec<_>>>()?.concat();
    let since = args.since.as_deref().map(since::digest_of).transpose()?;
    let needs_key = args.full || since.is_some() || args.snapshot.is_some() || args.report.is_some();
    let archive = if needs_key { args.key.open(&args.archive) } else { args.key.open_or_locked(&args.archive) }?;
    let forgotten = tombstone::forgotten(archive.vault())?;
    let check = Check { full: args.full, present: since.is_some(), forgotten, snapshot: args.snapshot.clone() };
    let begun = Instant::now();
    let mut found = archive::verify(&archive, &check, &Terminal::new(args.json))?;
    let stamps = timestamp::check(archive.store(), &mut found)?;
    parity::check(archive.store(), &mut found)?;
    snapshot::check_seen(&archive, &mut found)?;
    let signatures = proof::check(&archive, &mut found)?;
    let signed = signed_by(&archive, &args, &demanded, &signatures, &mut found)?;
    let since = since.map(|root| since::check(&archive, root, &mut found.damage)).transpose()?;
    // The report tells of this check itself, so it comes before the record does.
    let report = args
        .report
        .as_ref()
        .map(|to| report::of_check(to, (&archive, &args.archive), &check, options(&args), (&found, begun.elapsed())));
    if args.record
        && let Err(e) = record(&args, &archive, &found)
    {
        // What was found is told all the same.
        found.warnings.push(format!("this check is not in the record of events: {e}"));
    }
    report.transpose()?;
    let damage = format!("the archive has {} damages", found.damage.len());
    let verdict = verdict(&found, args.full);
    if args.json {
        let verdict = if found.damage.is_empty() { verdict.words() } else { format!("FAIL: {damage}") };
        let (signatures, since) = (signatures.as_slice(), since.as_ref());
        out.json(&Report { findings: &found, full: args.full, signatures, timestamps: &stamps, since, verdict })?;
    } else {
        tell(&found, &signatures, &stamps, &signed, since.as_ref(), out)?;
    }
    if !found.damage.is_empty() {
        return Err(Error::damage(damage).hint("copy the files named above from another copy of the archive, then check again"));
    }
    if args.json { Ok(verdict.code()) } else { out.verdict(&verdict) }
}

/// The options in use, for the report; none of them is a secret.
fn options(args: &Args) -> BTreeMap<String, String> {
    let keys: Vec<String> = args.signed_by.iter().map(|file| file.display().to_string()).collect();
    report::options([
        ("level", if args.full { "full" } else { "quick" }.to_owned()),
        ("record", args.record.to_string()),
        ("snapshot", args.snapshot.clone().unwrap_or_default()),
        ("signed by", keys.join(", ")),
        ("since", args.since.clone().unwrap_or_default()),
    ])
}

/// Has each of the keys signed the root? What is missing is damage; what is there is told in words.
fn signed_by(
    archive: &Archive,
    args: &Args,
    demanded: &[Demanded],
    signatures: &[Signature],
    found: &mut Findings,
) -> Result<Vec<String>> {
    if demanded.is_empty() {
        return Ok(Vec::new());
    }
    let root = match RootFile::find(archive.store(), args.snapshot.as_deref()) {
        Err(e) if e.kind() == Kind::Damage => {
            found.damage.push(format!("the root whose signatures are asked for is damaged: {e}"));
            return Ok(Vec::new());
        }
        root => root?,
    };
    let mut told = Vec::new();
    for key in demanded {
        let mine = signatures.iter().filter(|s| s.snapshot == root.id && s.is_by(key));
        let roles: Vec<&str> = mine.map(|s| s.role.word()).collect();
        let name = format!("{} {}", key.key.fingerprint(Default::default()), key.who);
        match roles.is_empty() {
            true => found.damage.push(format!("snapshot {} has no good signature by {}", root.id, name.trim_end())),
            false => told.push(format!("snapshot {} is signed by {} as {}", root.id, name.trim_end(), roles.join(", "))),
        }
    }
    Ok(told)
}

/// Writes the check down in the archive.
fn record(args: &Args, archive: &Archive, found: &Findings) -> Result<()> {
    let outcome = match (found.damage.len(), found.warnings.len()) {
        (0, 0) => events::Outcome::Success,
        (0, _) => events::Outcome::Warning,
        _ => events::Outcome::Fail,
    };
    let mut event = Event::new(EventType::FixityCheck, outcome)
        .detail("level", if args.full { "full" } else { "quick" })
        .detail("files", found.files)
        .detail("damages", found.damage.len())
        .detail("notes", found.warnings.len());
    if !archive.is_encrypted() {
        // This record lies there in clear.
        event = event.detail("objects", found.objects).detail("placements", found.placements);
    }
    event.root = RootFile::find(archive.store(), args.snapshot.as_deref()).ok().map(|root| root.digest);
    events::append(&args.archive, event)
}

fn tell(
    found: &Findings,
    signatures: &[Signature],
    stamps: &[Stamp],
    signed: &[String],
    since: Option<&Since>,
    out: &mut Output<'_>,
) -> Result<()> {
    for line in &found.damage {
        out.line(format_args!("damaged: {}", printable(line)))?;
    }
    for line in &found.warnings {
        out.line(format_args!("note: {}", printable(line)))?;
    }
    for s in signatures.iter().filter(|s| s.holds()) {
        let key = s.fingerprint.as_deref().unwrap_or_default();
        out.line(format_args!("signature of snapshot {} by the {} with {key} holds", s.snapshot, s.role))?;
    }
    for stamp in stamps {
        out.line(format_args!("{} says {}; who gave it is checked by: {}", stamp.file, stamp.at, stamp.command()))?;
    }
    for line in signed {
        out.line(printable(line))?;
    }
    if let Some(Since { root, snapshot: Some(snapshot), later, earlier }) = since {
        out.line(format_args!("root {root} is snapshot {snapshot}: {earlier} before it and {later} after it follow each other"))?;
    }
    Ok(())
}

fn verdict(found: &Findings, full: bool) -> Verdict {
    let (files, placements) = (found.files, found.placements);
    let intact = if found.locked {
        format!("{files} files are intact (encrypted, and no key was given: listings and objects were not read)")
    } else if full {
        format!("{files} files, {} objects, {placements} placements are intact", found.objects)
    } else {
        format!("{files} files and {placements} lines of listings are intact (quick: objects were not rebuilt)")
    };
    match found.warnings.len() {
        0 => Verdict::Pass(intact),
        n => Verdict::WithExceptions(format!("{intact}; {n} notes, see above")),
    }
}
