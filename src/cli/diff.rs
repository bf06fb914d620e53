//! `floe diff`.

use std::path::PathBuf;

use super::output::Output;
use super::unlock::KeyArgs;
use crate::diff::{CollectionDifference, ItemNote, diff};
use crate::error::Result;
use crate::model::printable;

/// Say what two snapshots hold differently
///
/// Per account and collection: items that are new, gone, moved from another collection of the account, and items whose flags,
/// keywords, labels or date changed. Collections that are the same in both are not read.
///
/// Example: floe diff acme.floe 20261101T200000Z 20261108T200000Z
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// Any unambiguous part of the first snapshot's name
    #[arg(value_name = "SNAP1")]
    from: String,
    /// Any unambiguous part of the second snapshot's name
    #[arg(value_name = "SNAP2")]
    to: String,
    /// Print the differences as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    key: KeyArgs,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let archive = args.key.open(&args.archive)?;
    let (from, to) = (archive.snapshot(Some(&args.from))?, archive.snapshot(Some(&args.to))?);
    let found = diff(&archive, &from, &to)?;
    if args.json {
        out.json(&found)?;
        return Ok(0);
    }
    found.collections.iter().try_for_each(|c| collection(c, out))?;
    if found.collections.is_empty() {
        out.line("the snapshots hold the same")?;
    } else {
        let (new, gone, moved, changed) = (found.new, found.gone, found.moved, found.changed);
        out.line(format_args!("{new} new, {gone} gone, {moved} moved, {changed} changed"))?;
    }
    Ok(0)
}

fn collection(c: &CollectionDifference, out: &mut Output<'_>) -> Result<()> {
    let state = match (c.was_there, c.is_there) {
        (false, _) => " (new collection)",
        (_, false) => " (collection is gone)",
        _ => "",
    };
    let (new, gone, moved, changed) = (c.new.len(), c.gone.len(), c.moved.len(), c.changed.len());
    let name = printable(&format!("{}  {}", c.account, c.collection));
    out.line(format_args!("{name}{state}: {new} new, {gone} gone, {moved} moved, {changed} changed"))?;
    let mut item = |word: &str, item: &ItemNote, more: &str| {
        let more = if more.is_empty() { String::new() } else { format!("  {}", printable(more)) };
        out.line(format_args!("  {word:8} {} {:>10}  {}{more}", item.sha256, item.size, printable(&item.name)))
    };
    c.new.iter().try_for_each(|i| item("new", i, ""))?;
    c.gone.iter().try_for_each(|i| item("gone", i, ""))?;
    c.moved.iter().try_for_each(|m| item("moved", &m.item, &format!("from {}", m.from)))?;
    c.changed.iter().try_for_each(|x| item("changed", &x.item, &x.what.join(" ")))
}
