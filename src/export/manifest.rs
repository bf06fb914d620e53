//! Lists of what a snapshot holds, a row a placement: CSV for people, JSON Lines for programs, `sha256sum` for checking an export.
//!
//! Rows are written as they are read, so the size of the archive does not matter.

use std::io::Write;

use serde::Serialize;

use super::Format;
use super::plan::{AccountPlan, Destination, Plan};
use super::select::Selection;
use crate::archive::{Archive, CollectionEntry, Snapshot};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionKind, Placement, spreadsheet_safe};

/// How the list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ManifestFormat {
    /// Comma-separated values with a header row, safe to open in a spreadsheet
    Csv,
    /// One JSON object a line
    Jsonl,
    /// Lines for `sha256sum -c`, with the paths that `export --format eml` gives
    Sha256sum,
}

/// What came of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifested {
    /// Rows written.
    pub rows: u64,
    /// Listings that could not be read to their end, in words.
    pub damage: Vec<String>,
}

const COLUMNS: [&str; 21] = [
    "account",
    "collection",
    "kind",
    "sha256",
    "size",
    "crlf_sha256",
    "date",
    "date_rule",
    "flags",
    "keywords",
    "labels",
    "message_id",
    "uid",
    "component",
    "source_path",
    "source_offset",
    "source_length",
    "source_uid",
    "mode",
    "guid",
    "notes",
];

#[derive(Serialize)]
struct Row<'a> {
    account: &'a str,
    collection: &'a str,
    kind: CollectionKind,
    #[serde(flatten)]
    placement: &'a Placement,
}

fn text_of(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(text)) => text,
        _ => String::new(),
    }
}

fn cells(row: &Row<'_>) -> [String; 21] {
    let p = row.placement;
    let number = |n: Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
    let flags: Vec<String> = p.flags.iter().map(text_of).collect();
    [
        row.account.to_owned(),
        row.collection.to_owned(),
        row.kind.to_string(),
        p.sha256.to_string(),
        p.size.to_string(),
        p.crlf.map(|f| f.sha256.to_string()).unwrap_or_default(),
        p.date.map(|d| d.at.to_string()).unwrap_or_default(),
        p.date.map(|d| text_of(&d.rule)).unwrap_or_default(),
        flags.join(" "),
        p.keywords.join(" "),
        p.labels.join(", "),
        p.message_id.clone().unwrap_or_default(),
        p.uid.clone().unwrap_or_default(),
        p.component.clone().unwrap_or_default(),
        p.source.path.clone(),
        number(p.source.offset),
        number(p.source.length),
        number(p.source.uid.map(u64::from)),
        p.mode.map(|mode| format!("{mode:o}")).unwrap_or_default(),
        p.guid.clone().unwrap_or_default(),
        p.notes.join("; "),
    ]
    .map(spreadsheet_safe)
}

enum Out<'a> {
    Csv(Box<csv::Writer<&'a mut dyn Write>>),
    Jsonl(&'a mut dyn Write),
    Sha256sum(&'a mut dyn Write),
}

fn failed(e: std::io::Error) -> Error {
    Error::new(Kind::Storage, "cannot write to standard output").because(e)
}

/// The error below that of the CSV writer: whether it is a broken pipe matters.
fn csv_failed(e: csv::Error) -> Error {
    match e.into_kind() {
        csv::ErrorKind::Io(e) => failed(e),
        other => failed(std::io::Error::other(format!("{other:?}"))),
    }
}

impl<'a> Out<'a> {
    fn new(format: ManifestFormat, out: &'a mut dyn Write) -> Result<Self> {
        Ok(match format {
            ManifestFormat::Csv => {
                let mut csv = csv::Writer::from_writer(out);
                csv.write_record(COLUMNS).map_err(csv_failed)?;
                Out::Csv(Box::new(csv))
            }
            ManifestFormat::Jsonl => Out::Jsonl(out),
            ManifestFormat::Sha256sum => Out::Sha256sum(out),
        })
    }

    fn row(&mut self, row: &Row<'_>, number: u64, plan: &mut AccountPlan, to: &Destination) -> Result<()> {
        match self {
            Out::Csv(csv) => csv.write_record(cells(row)).map_err(csv_failed),
            Out::Jsonl(out) => {
                serde_json::to_writer(&mut **out, row).map_err(|e| failed(e.into()))?;
                out.write_all(b"\n").map_err(failed)
            }
            Out::Sha256sum(out) => {
                let (folder, name) = plan.item(to, number, row.placement);
                // Names of an export hold no backslash and no line end, the two that sha256sum would want escaped.
                writeln!(out, "{}  {}/{}/{name}", row.placement.sha256, plan.home, folder.join("/")).map_err(failed)
            }
        }
    }

    fn finish(self) -> Result<()> {
        match self {
            Out::Csv(mut csv) => csv.flush().map_err(failed),
            Out::Jsonl(out) | Out::Sha256sum(out) => out.flush().map_err(failed),
        }
    }
}

/// Writes a row for every placement of the selected accounts and collections.
///
/// # Errors
/// `Kind::Storage` when `out` cannot be written. A damaged listing is named in what is returned, and the rest goes on.
pub fn manifest(
    archive: &Archive,
    snapshot: &Snapshot,
    selection: &Selection,
    format: ManifestFormat,
    out: &mut dyn Write,
) -> Result<Manifested> {
    let mut done = Manifested::default();
    let mut out = Out::new(format, out)?;
    let mut names = Plan::default();
    for account in &snapshot.root.accounts {
        let mut plan = names.account(&account.account);
        if !selection.wants_account(&account.account) {
            continue;
        }
        let collections = archive.collections(account).unwrap_or_else(|e| {
            done.damage.push(format!("{}: {e}", account.account));
            Vec::new()
        });
        for entry in &collections {
            let to = plan.collection(&entry.head, Format::Eml);
            if selection.wants_collection(&entry.head.path) {
                rows(archive, &account.account, entry, &mut plan, &to, &mut out, &mut done)?;
            }
        }
    }
    out.finish()?;
    Ok(done)
}

fn rows(
    archive: &Archive,
    account: &str,
    entry: &CollectionEntry,
    plan: &mut AccountPlan,
    to: &Destination,
    out: &mut Out<'_>,
    done: &mut Manifested,
) -> Result<()> {
    let collection = entry.head.path.to_string();
    let (mut number, mut stopped) = (0u64, false);
    let read = archive.placements(entry, &mut |placement| {
        number += 1;
        let row = Row { account, collection: &collection, kind: entry.head.kind, placement: &placement };
        out.row(&row, number, plan, to).inspect_err(|_| stopped = true)
    });
    done.rows += number;
    match read {
        Err(e) if stopped => Err(e),
        Err(e) => {
            done.damage.push(format!("{account} {collection}: {e}"));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::item;

    #[test]
    fn a_cell_is_never_a_formula() {
        let mut message = item(b"x");
        message.message_id = Some("=HYPERLINK(\"http://evil\")".into());
        message.keywords = vec!["+1".into()];
        message.notes = vec!["-2".into()];
        message.source.path = "@SUM(A1)".into();
        let row = Row { account: "\tx", collection: "\ry", kind: CollectionKind::Mail, placement: &message };
        let cells = cells(&row);
        assert!(cells.iter().all(|c| !c.starts_with(['=', '+', '-', '@', '\t', '\r'])), "{cells:?}");
        assert_eq!((cells[0].as_str(), cells[11].as_str()), ("'\tx", "'=HYPERLINK(\"http://evil\")"));
    }
}
