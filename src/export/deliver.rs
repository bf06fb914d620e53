//! One item, one file: written beside its place, checked, dated, and only then given its name.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use rayon::prelude::*;

use super::dir::{Dir, Settled};
use crate::archive::Archive;
use crate::error::{Error, Kind, Result};
use crate::model::{Digest, Placement};

/// Something that the target cannot keep as the archive has it; the rest of the item is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    /// In a few fixed words, under which it is counted.
    pub reason: &'static str,
    /// More about this one.
    pub detail: String,
}

impl Loss {
    pub(super) fn new(reason: &'static str, detail: impl Into<String>) -> Self {
        Loss { reason, detail: detail.into() }
    }
}

/// What became of an item.
#[derive(Debug)]
pub(super) enum Fate {
    /// It is written.
    Written,
    /// The same was there already.
    There,
    /// It is not there, and why.
    Failed(Loss),
}

/// What became of an item, where, and what could not be kept.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Its file, relative to the account's folder.
    pub file: String,
    pub fate: Fate,
    pub losses: Vec<Loss>,
}

impl Outcome {
    pub(super) fn failed(file: String, reason: &'static str, detail: impl Into<String>) -> Self {
        Outcome { file, fate: Fate::Failed(Loss::new(reason, detail)), losses: Vec::new() }
    }
}

/// A file to be written.
pub(super) struct Delivery {
    pub sha256: Digest,
    pub size: u64,
    /// Where it is written.
    pub part_in: Arc<Dir>,
    pub part: String,
    /// Where it goes when it is complete.
    pub folder: Arc<Dir>,
    pub name: String,
    pub modified: Option<Timestamp>,
    pub mode: Option<u32>,
    pub losses: Vec<Loss>,
    /// As in [`Outcome`].
    pub file: String,
}

/// The name under which a file is written.
pub(super) fn part_name(name: &str) -> String {
    format!(".{name}.part")
}

impl Delivery {
    /// An item that is written in its own folder.
    pub(super) fn new(item: &Placement, folder: Arc<Dir>, name: String, file: String) -> Self {
        Delivery {
            sha256: item.sha256,
            size: item.size,
            part_in: Arc::clone(&folder),
            part: part_name(&name),
            folder,
            name,
            modified: item.date.map(|d| d.at),
            mode: None,
            losses: Vec::new(),
            file,
        }
    }
}

/// Writes the files side by side; what became of each, in order.
///
/// # Errors
/// When nothing more can be written: a full disk, for example.
pub(super) fn deliver_all(archive: &Archive, files: Vec<Option<Result<Delivery, Outcome>>>) -> Result<Vec<Option<Outcome>>> {
    files
        .into_par_iter()
        .map(|file| match file {
            None => Ok(None),
            Some(Err(outcome)) => Ok(Some(outcome)),
            Some(Ok(delivery)) => deliver(archive, delivery).map(Some),
        })
        .collect()
}

fn deliver(archive: &Archive, mut delivery: Delivery) -> Result<Outcome> {
    let fate = match write(archive, &mut delivery) {
        Ok(fate) => fate,
        Err(e) if ends_all(&e) => return Err(Error::io(Kind::Storage, "cannot write the file", &delivery.path(), e)),
        Err(e) => Fate::Failed(Loss::new("the file could not be written", e.to_string())),
    };
    Ok(Outcome { file: delivery.file, fate, losses: delivery.losses })
}

/// Does the error mean that nothing more can be written?
pub(super) fn ends_all(e: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(e.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
}

impl Delivery {
    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join(&self.name)
    }
}

fn write(archive: &Archive, delivery: &mut Delivery) -> io::Result<Fate> {
    const TAKEN: &str = "another file is in its place";
    let (folder, name) = (&delivery.folder, &delivery.name);
    if folder.has(name)? {
        let same = folder.holds(name, delivery.size, delivery.sha256)?;
        return Ok(if same { Fate::There } else { Fate::Failed(Loss::new(TAKEN, "")) });
    }
    let file = delivery.part_in.create_part(&delivery.part)?;
    // Nothing half written stays; if even that cannot be removed, the next run will.
    let filled = fill(archive, delivery.sha256, &file).inspect_err(|_| drop(delivery.part_in.remove(&delivery.part)))?;
    if let Err(e) = filled {
        delivery.part_in.remove(&delivery.part)?;
        return Ok(Fate::Failed(Loss::new("the item is damaged in the archive", e.to_string())));
    }
    if let Some(mode) = delivery.mode {
        file.set_permissions(Permissions::from_mode(mode & 0o777))?;
    }
    if let Some(at) = delivery.modified
        && let Err(e) = file.set_modified(SystemTime::from(at))
    {
        delivery.losses.push(Loss::new("the file's time could not be set", e.to_string()));
    }
    Ok(match delivery.part_in.settle(&delivery.part, folder, name)? {
        Settled::Placed => Fate::Written,
        Settled::There => Fate::There,
        Settled::Conflict => Fate::Failed(Loss::new(TAKEN, "")),
    })
}

/// Writes an object to a file. The outer error is the file's, the inner one the archive's.
fn fill(archive: &Archive, object: Digest, file: &File) -> io::Result<Result<()>> {
    let mut out = Tracking { out: BufWriter::with_capacity(1 << 17, file), failed: None };
    let copied = archive.copy(object, &mut out);
    if let Some(e) = out.failed {
        return Err(e);
    }
    out.out.flush()?;
    Ok(copied.map(|_| ()))
}

/// Remembers its own failure, so that it can be told from the archive's.
pub(super) struct Tracking<W> {
    pub out: W,
    pub failed: Option<io::Error>,
}

impl<W: Write> Write for Tracking<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes).map_err(|e| {
            let kind = e.kind();
            self.failed = Some(e);
            kind.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
