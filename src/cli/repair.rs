//! `floe repair`.

use std::path::PathBuf;

use serde::Serialize;

use super::output::{Output, Verdict};
use crate::error::{Error, Result};
use crate::model::printable;
use crate::monitor::Terminal;
use crate::parity::{self, Repaired};

/// Mend a damaged archive with its recovery data
///
/// Finds packs and snapshot roots that are damaged, cut, grown, missing or wrongly named, and makes them anew from what is left of them and the
/// recovery data of 'floe protect'. Bag files and index are made anew where they are damaged. A mended file is checked before it takes its place; what lay there is kept
/// in the folder damaged/ and removed once the whole archive was checked as by 'floe verify --full'. What cannot be mended is left as it is and
/// named, with the items that it touches, and ends in exit code 2. Can be repeated, also after it was interrupted.
///
/// Example: floe repair acme.floe
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    repaired: &'a Repaired,
    verdict: String,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let repaired = parity::repair(&args.archive, &Terminal::new(args.json))?;
    let damage = damage(&repaired);
    let verdict = verdict(&repaired);
    if args.json {
        let verdict = damage.as_ref().map_or_else(|| verdict.words(), |damage| format!("FAIL: {damage}"));
        out.json(&Report { repaired: &repaired, verdict })?;
    } else {
        lines(&repaired, out)?;
    }
    if let Some(damage) = damage {
        let hint = match repaired.lacking.first() {
            Some(first) => format!(
                "copy {} from another copy of the archive to the same place{}, then repair again",
                first.file,
                if repaired.lacking.len() > 1 { ", and likewise the others named above" } else { "" }
            ),
            None => "look at what is named above, copy it from another copy of the archive, then repair again".to_owned(),
        };
        return Err(Error::damage(damage).hint(hint));
    }
    if args.json { Ok(verdict.code()) } else { out.verdict(&verdict) }
}

fn lines(repaired: &Repaired, out: &mut Output<'_>) -> Result<()> {
    for mended in &repaired.mended {
        match &mended.was {
            Some(was) => out.line(format_args!("mended: {} (it lay in {})", mended.file, printable(was)))?,
            None => out.line(format_args!("mended: {} ({} slices made anew)", mended.file, mended.slices))?,
        }
    }
    if repaired.bag_files {
        out.line("made anew: the bag files")?;
    }
    if repaired.index {
        out.line("made anew: the index")?;
    }
    for name in &repaired.set_aside {
        out.line(format_args!("of no use: {}", printable(name)))?;
    }
    for lacking in &repaired.lacking {
        out.line(format_args!("cannot be mended: {}: {}", lacking.file, printable(&lacking.why)))?;
    }
    for line in &repaired.findings.damage {
        out.line(format_args!("damaged: {}", printable(line)))?;
    }
    for line in &repaired.findings.warnings {
        out.line(format_args!("note: {}", printable(line)))?;
    }
    Ok(())
}

/// What is still damaged, if anything is.
fn damage(repaired: &Repaired) -> Option<String> {
    let (mended, lacking, found) = (repaired.mended.len(), repaired.lacking.len(), repaired.findings.damage.len());
    (lacking + found > 0)
        .then(|| format!("{mended} files were mended, {lacking} cannot be; the archive still has {found} damages"))
}

fn verdict(repaired: &Repaired) -> Verdict {
    let found = &repaired.findings;
    let intact = format!(
        "{} files were mended; {} files, {} objects, {} placements are intact",
        repaired.mended.len(),
        found.files,
        found.objects,
        found.placements
    );
    match found.warnings.len() {
        0 => Verdict::Pass(intact),
        n => Verdict::WithExceptions(format!("{intact}; {n} notes, see above")),
    }
}
