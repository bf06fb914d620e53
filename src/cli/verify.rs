//! `floe verify`.

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

use super::key::KeyArgs;
use super::output::{Output, Verdict};
use crate::archive::{self, Check, Findings};
use crate::error::{Error, Result};
use crate::model::printable;
use crate::monitor::Terminal;
use crate::report;

/// Check that an archive is intact
///
/// Quick, the default, checks the bag files, the digest of every pack, and that index and listings agree. Full also rebuilds and hashes every object and
/// follows every placement of every snapshot to its item. Of an encrypted archive the files' digests can be checked without the key. Nothing is written. What is damaged is listed, with the items that
/// it touches, and ends in exit code 2.
///
/// Example: floe verify acme.floe --full
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
    verdict: String,
}

pub(super) fn run(args: Args, out: &mut Output<'_>) -> Result<u8> {
    let needs_key = args.full || args.snapshot.is_some() || args.report.is_some();
    let archive = if needs_key { args.key.open(&args.archive) } else { args.key.open_or_locked(&args.archive) }?;
    let check = Check { full: args.full, snapshot: args.snapshot };
    let begun = Instant::now();
    let found = archive::verify(&archive, &check, &Terminal::new(args.json))?;
    if let Some(folder) = &args.report {
        report::of_check(folder, (&archive, &args.archive), &check, &found, begun.elapsed())?;
    }
    let damage = format!("the archive has {} damages", found.damage.len());
    let verdict = verdict(&found, args.full);
    if args.json {
        let verdict = if found.damage.is_empty() { verdict.words() } else { format!("FAIL: {damage}") };
        out.json(&Report { findings: &found, full: args.full, verdict })?;
    } else {
        for line in &found.damage {
            out.line(format_args!("damaged: {}", printable(line)))?;
        }
        for line in &found.warnings {
            out.line(format_args!("note: {}", printable(line)))?;
        }
    }
    if !found.damage.is_empty() {
        return Err(Error::damage(damage).hint("copy the files named above from another copy of the archive, then check again"));
    }
    if args.json { Ok(verdict.code()) } else { out.verdict(&verdict) }
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
