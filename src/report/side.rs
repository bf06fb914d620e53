//! The files beside a report, written while the job runs: `items.jsonl`, `items.csv`, `exceptions.csv`,
//! `duplicates.csv`, `totals.csv`.
//!
//! CSV is for people: no cell drives a spreadsheet, a terminal or the direction of text. JSON Lines hold the text as it is.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::model::SideFile;
use crate::error::{Error, Kind, Result};
use crate::model::{Digest, Hasher, printable, printable_json, spreadsheet_safe};

/// Digits of an item's id in the lists.
pub(super) const ID_DIGITS: usize = 32;

/// A file that is hashed while it is written, and has its name only when it is whole.
pub(super) struct Lines {
    out: BufWriter<Hashed>,
    path: PathBuf,
    rows: u64,
    what: &'static str,
}

struct Hashed {
    file: File,
    hasher: Hasher,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Lines {
    /// Begins `NAME` in the folder, under the name `NAME.partial`.
    pub(super) fn create(folder: &Path, name: &str, what: &'static str) -> Result<Self> {
        let path = folder.join(name);
        let file = File::create(partial(&path)).map_err(|e| Error::io(Kind::Storage, "cannot write the report", &path, e))?;
        let out = BufWriter::with_capacity(1 << 16, Hashed { file, hasher: Hasher::new() });
        Ok(Lines { out, path, rows: 0, what })
    }

    /// As [`Lines::create`], with a row of column names.
    pub(super) fn csv(folder: &Path, name: &str, what: &'static str, columns: &[&str]) -> Result<Self> {
        let mut lines = Self::create(folder, name, what)?;
        lines.row(columns.iter().map(|c| (*c).to_owned()))?;
        lines.rows = 0;
        Ok(lines)
    }

    /// A row of CSV.
    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) -> Result<()> {
        let mut row = csv::Writer::from_writer(Vec::new());
        let wrote = row.write_record(cells.into_iter().map(|cell| spreadsheet_safe(printable(&cell))));
        let bytes = wrote.ok().and_then(|()| row.into_inner().ok()).unwrap_or_default();
        self.put(&bytes)
    }

    /// A line of JSON.
    pub(super) fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value).map_err(|e| Error::new(Kind::Internal, "cannot write JSON").because(e))?;
        self.put(printable_json(&text).as_bytes())?;
        self.out.write_all(b"\n").map_err(|e| self.failed(e))
    }

    /// Bytes as they are.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.rows += 1;
        self.out.write_all(bytes).map_err(|e| self.failed(e))
    }

    fn failed(&self, e: std::io::Error) -> Error {
        Error::io(Kind::Storage, "cannot write the report", &self.path, e)
    }

    /// Writes the rest, syncs, and gives the file its name.
    pub(super) fn finish(self) -> Result<SideFile> {
        let failed = |e| Error::io(Kind::Storage, "cannot write the report", &self.path, e);
        let done = self.out.into_inner().map_err(|e| failed(e.into_error()))?;
        done.file.sync_all().map_err(failed)?;
        std::fs::rename(partial(&self.path), &self.path).map_err(failed)?;
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(SideFile { name, what: self.what.to_owned(), rows: self.rows, sha256: done.hasher.finish() })
    }
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

/// An id of an item that stays the same as long as it is not moved or changed. The lists have its first [`ID_DIGITS`].
pub(super) fn item_id(account: &str, folder: &str, place: &str, sha256: Option<&Digest>) -> Digest {
    let mut hasher = Hasher::new();
    for part in [account, folder, place] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    if let Some(digest) = sha256 {
        hasher.update(digest.as_bytes());
    }
    hasher.finish()
}
