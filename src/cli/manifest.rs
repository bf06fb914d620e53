//! `floe manifest`.

use std::path::PathBuf;

use super::output::Output;
use super::unlock::KeyArgs;
use crate::error::{Error, Result};
use crate::export::{ManifestFormat, Selection, manifest};
use crate::model::CollectionPath;
use crate::monitor::{Monitor as _, Terminal};

/// List every item of a snapshot, a row each
///
/// CSV and JSON Lines have everything that the archive knows of an item: account, collection, kind, digests, size, date and the
/// rule that supplied it, flags, keywords, labels, Message-ID or UID, and where it lay in the source. Cells of the CSV that a
/// spreadsheet would take for a formula begin with an apostrophe. The form sha256sum is checked inside a folder that
/// `floe export --format eml` wrote.
///
/// Example: floe manifest acme.floe --format csv > acme.csv
///
/// Example: floe manifest acme.floe --format sha256sum | (cd taken-out && sha256sum -c -)
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// How the list is written
    #[arg(long)]
    format: ManifestFormat,
    /// Any unambiguous part of a snapshot's name; the newest otherwise
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,
    /// Only this account; may be given again
    #[arg(long = "account", value_name = "NAME")]
    accounts: Vec<String>,
    /// Only this collection and those below it, as `floe list` writes it; may be given again
    #[arg(long = "collection", value_name = "NAME")]
    collections: Vec<String>,
    #[command(flatten)]
    key: KeyArgs,
}

pub(super) fn run(args: Args, out: &mut Output<'_>) -> Result<u8> {
    let archive = args.key.open(&args.archive)?;
    let snapshot = archive.snapshot(args.snapshot.as_deref())?;
    let collections = args.collections.iter().map(|name| CollectionPath::parse(name)).collect();
    let selection = Selection { accounts: args.accounts, collections, ..Selection::default() };
    if let Some(name) = selection.accounts.iter().find(|name| !snapshot.root.accounts.iter().any(|a| a.account == **name)) {
        return Err(Error::usage("no such account in the snapshot").with("account", name));
    }
    let done = manifest(&archive, &snapshot, &selection, args.format, out.bytes())?;
    let monitor = Terminal::new(false);
    done.damage.iter().for_each(|line| monitor.note(&format!("damaged listing: {line}")));
    if done.damage.is_empty() {
        return Ok(0);
    }
    monitor.note(&format!("PASS WITH EXCEPTIONS: {} rows, {} damaged listings", done.rows, done.damage.len()));
    Ok(1)
}
