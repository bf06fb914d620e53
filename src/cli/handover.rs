//! `floe handover`.

use std::path::PathBuf;

use serde::Serialize;

use super::export::lies_in;
use super::output::{Output, Verdict};
use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::model::printable;
use crate::proof::handover::{Handover, look, write};

/// Write the sheet that goes with an archive, to print and to sign
///
/// One page of A4 as HTML: what the archive is, how much is in it, the fingerprints of the snapshot's root and of the manifest
/// in groups of digits and in words (BIP 39, English), signatures, time stamps, events, and lines to sign for who gives,
/// carries and receives it. Up to 20 accounts are named one by one. Nothing is loaded from outside, and there is no script. The
/// archive is not checked for it: `floe verify` does that.
///
/// Example: floe handover acme.floe --out sheet.html
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// The page to write; nothing may be there yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Any unambiguous part of a snapshot's name; the newest otherwise
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,
    /// Print what the sheet says as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    handover: &'a Handover,
    out: String,
    verdict: String,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let archive = Archive::open(&args.archive)?;
    if lies_in(&args.out, &args.archive) {
        return Err(Error::usage("the sheet would lie in the archive").hint("nothing but floe's own files may be in there"));
    }
    let snapshot = archive.snapshot(args.snapshot.as_deref())?;
    let handover = look(&archive, &snapshot)?;
    write(&handover, &snapshot, &args.out)?;
    let (items, accounts) = (handover.items, handover.accounts);
    let verdict = match handover.damage.len() {
        0 => Verdict::Pass(format!("the sheet names {items} items of {accounts} accounts; print {}", args.out.display())),
        n => Verdict::WithExceptions(format!("{n} signatures or time stamps do not hold; see {}", args.out.display())),
    };
    if args.json {
        out.json(&Report { handover: &handover, out: args.out.display().to_string(), verdict: verdict.words() })?;
        return Ok(verdict.code());
    }
    for line in &handover.damage {
        out.line(format_args!("damaged: {}", printable(line)))?;
    }
    out.line(format_args!("root      {}", handover.root.grouped))?;
    out.line(format_args!("          {}", handover.root.words))?;
    out.line(format_args!("manifest  {}", handover.manifest.grouped))?;
    out.line(format_args!("          {}", handover.manifest.words))?;
    out.verdict(&verdict)
}
