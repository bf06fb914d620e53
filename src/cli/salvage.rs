//! `floe salvage`.

use std::path::PathBuf;

use serde::Serialize;

use super::output::{Output, Verdict};
use crate::error::Result;
use crate::model::printable;
use crate::monitor::Terminal;
use crate::salvage::{Lost, Salvaged, salvage};

/// Save what is whole from damaged archives, cut packs and stray files
///
/// Reads every file under BROKEN, whatever its name, and takes each whole frame of a pack and each whole root out of it. Index,
/// manifests and seek tables are not needed. Every object whose digest is right goes into the new archive. A snapshot of which
/// nothing is lost keeps its root as it was; of the others the new archive has what is left, and counts and lists what is lost as
/// failed. What no surviving listing names comes into accounts called 'salvaged': what looks like mail as mail, the rest as files.
/// Nothing under BROKEN is changed. If the disk has read errors, copy it to a good one first (ddrescue).
///
/// What is lost is printed: account, folder, place in the source, Message-ID. Exit code 1 says that something is.
///
/// Example: floe salvage broken.floe --archive saved.floe
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder with what is left
    #[arg(value_name = "BROKEN")]
    broken: PathBuf,
    /// Folder of the new archive: empty, or not there yet
    #[arg(long, value_name = "NEW")]
    archive: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    salvaged: &'a Salvaged,
    verdict: String,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let salvaged = salvage(&args.broken, &args.archive, &Terminal::new(args.json))?;
    let verdict = verdict(&salvaged);
    if args.json {
        out.json(&Report { salvaged: &salvaged, verdict: verdict.words() })?;
        return Ok(verdict.code());
    }
    for line in &salvaged.damage {
        out.line(format_args!("damaged: {}", printable(line)))?;
    }
    for lost in &salvaged.lost {
        out.line(format_args!("lost: {}", printable(&named(lost))))?;
    }
    let (kept, remade) = (&salvaged.kept, &salvaged.remade);
    for id in kept {
        out.line(format_args!("snapshot {id}: nothing is lost"))?;
    }
    for (file, id) in remade {
        out.line(format_args!("snapshot {id}: made anew from {}", printable(file)))?;
    }
    if salvaged.strays > 0 {
        let accounts = salvaged.stray_accounts.join(", ");
        out.line(format_args!("{} items that no root leads to are in these accounts: {accounts}", salvaged.strays))?;
    }
    out.verdict(&verdict)
}

fn named(lost: &Lost) -> String {
    let mut parts = vec![lost.account.as_str(), lost.collection.as_str(), lost.what.as_str()];
    parts.extend(lost.message_id.as_deref());
    parts.retain(|part| !part.is_empty());
    let digest = lost.sha256.map_or(String::new(), |sha256| format!(" (SHA-256 {sha256})"));
    format!("{}{digest}", parts.join(", "))
}

fn verdict(salvaged: &Salvaged) -> Verdict {
    let saved = format!(
        "{} objects saved from {} packs; the newest snapshot has {} items",
        salvaged.objects, salvaged.packs, salvaged.items
    );
    let (lost, damage) = (salvaged.lost.len(), salvaged.damage.len());
    if lost == 0 && damage == 0 && salvaged.broken_recipes == 0 {
        return Verdict::Pass(saved);
    }
    let recipes = match salvaged.broken_recipes {
        0 => String::new(),
        n => format!(", {n} objects lack a part"),
    };
    Verdict::WithExceptions(format!("{saved}; {lost} losses are named above, {damage} places could not be used{recipes}"))
}
