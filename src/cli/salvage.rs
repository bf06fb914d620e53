//! `floe salvage`.

use std::path::PathBuf;

use serde::Serialize;

use super::output::{Output, Verdict};
use super::unlock::KeyArgs;
use crate::error::Result;
use crate::model::printable;
use crate::monitor::Terminal;
use crate::net::Secret;
use crate::salvage::{Cover, Lost, Salvaged, salvage};
use crate::vault::{Keys, Protection, Recipient};

/// Save what is whole from damaged archives, cut packs and stray files
///
/// Reads every file under BROKEN, whatever its name, and takes each whole frame of a pack and each whole root out of it. Index,
/// manifests and seek tables are not needed. Every object whose digest is right goes into the new archive. A snapshot of which
/// nothing is lost keeps its root as it was; of the others the new archive has what is left, and counts and lists what is lost as
/// failed. What no surviving listing names comes into accounts called 'salvaged': what looks like mail as mail, the rest as files.
/// Nothing under BROKEN is changed. Encrypted files need a key (--identity, --passphrase-file); each piece of 64 KiB that is whole is
/// opened, if the file's header is left. What was encrypted is encrypted again for the same recipients, unless others are named or --in-clear is given. If the disk has read errors, copy it to a good one first (ddrescue).
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
    /// Encrypt the new archive for this age recipient (age1...), or for those in a file of one a line, in place of those of the damaged
    /// one; may be given again
    #[arg(long = "recipient", value_name = "RECIPIENT|FILE")]
    recipients: Vec<String>,
    /// File whose first line is a passphrase that is to open the new archive
    #[arg(long, value_name = "FILE")]
    new_passphrase_file: Option<PathBuf>,
    /// Do not encrypt the new archive, whatever was encrypted
    #[arg(long, conflicts_with_all = ["recipients", "new_passphrase_file"])]
    in_clear: bool,
    #[command(flatten)]
    key: KeyArgs,
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
    let keys = args.key.keys_for_heap(&args.broken)?;
    let salvaged = salvage(&args.broken, &args.archive, &keys, cover(args)?, &Terminal::new(args.json))?;
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
    if !salvaged.recipients.is_empty() {
        out.line(format_args!("encrypted for {}", salvaged.recipients.join(", ")))?;
    }
    out.verdict(&verdict)
}

fn cover(args: &Args) -> Result<Cover> {
    if args.in_clear {
        return Ok(Cover::Clear);
    }
    let passphrase = args.new_passphrase_file.as_deref().map(Secret::from_file).transpose()?;
    if passphrase.is_none() && args.recipients.is_empty() {
        return Ok(Cover::AsItWas);
    }
    let (keys, recipients) = (Keys::new(&[] as &[PathBuf], passphrase)?, Recipient::all(&args.recipients)?);
    Ok(Cover::For(Protection { keys, recipients, ..Protection::default() }))
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
