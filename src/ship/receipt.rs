//! What the receiver carries back: which files arrived whole, and which are still wanted.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::sheet::{Contents, DISKS_MAX, ListedFile, ROOTS, SHEET_MAX_BYTES, read_small, to_json};
use crate::error::{Error, Kind, Result};
use crate::export::dir::Dir;
use crate::model::{Digest, printable};

const FORMAT: &str = "floe receipt";
const VERSION: u32 = 1;

/// A file that has not arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Its name in the archive.
    pub name: String,
    /// Its bytes, where they are known.
    pub size: Option<u64>,
    /// Its digest.
    pub sha256: Digest,
    /// The disks that should have it, as far as those seen so far say.
    pub disks: Vec<u32>,
    /// What is wrong with it.
    pub why: String,
}

/// The receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    format: String,
    version: u32,
    tool: String,
    /// When it was written.
    pub at: Timestamp,
    /// Which archive: the digest of its first root.
    pub archive: Digest,
    /// Which state of it was sent.
    pub shipment: Digest,
    /// The newest root of that state.
    pub newest: String,
    /// Is everything there?
    pub complete: bool,
    /// The highest number of a disk that was seen.
    pub disks: u32,
    /// Files that arrived whole.
    pub held: Vec<ListedFile>,
    /// Files that did not.
    pub missing: Vec<Missing>,
}

impl Receipt {
    pub(super) fn new(contents: &Contents, disks: u32, held: Vec<ListedFile>, missing: Vec<Missing>) -> Self {
        Receipt {
            format: FORMAT.to_owned(),
            version: VERSION,
            tool: format!("floe {}", env!("CARGO_PKG_VERSION")),
            at: Timestamp::now(),
            archive: contents.archive,
            shipment: contents.shipment,
            newest: contents.newest.clone(),
            complete: missing.is_empty(),
            disks,
            held,
            missing,
        }
    }

    /// Reads a receipt, and gives its digest.
    ///
    /// # Errors
    /// `Kind::Usage` when there is none, `Kind::Damage` when it is none of this version.
    pub fn read(path: &Path) -> Result<(Self, Digest)> {
        let (folder, name) = folder_and_name(path)?;
        let folder = Dir::open_existing(&folder).map_err(|e| Error::io(Kind::Usage, "there is no such receipt", path, e))?;
        let bytes = read_small(&folder, &name, SHEET_MAX_BYTES)?
            .ok_or_else(|| Error::usage("there is no such receipt").with("file", path.display()))?;
        let bad = || Error::damage("this is no receipt that can be read").with("file", path.display());
        let receipt: Receipt = serde_json::from_slice(&bytes).map_err(|e| bad().because(e))?;
        if receipt.format != FORMAT || receipt.version != VERSION {
            return Err(bad().hint("'floe receive' writes receipts; a newer floe may be able to read this one"));
        }
        if receipt.disks > DISKS_MAX {
            return Err(bad());
        }
        Ok((receipt, Digest::of(&bytes)))
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let (folder, name) = folder_and_name(path)?;
        let folder = Dir::open_existing(&folder).map_err(|e| Error::io(Kind::Storage, "cannot write the receipt", path, e))?;
        super::copy::put(&folder, &name, &to_json(self)?)
    }

    /// Can the receiver go on with this archive?
    pub(super) fn check(&self, contents: &Contents) -> Result<()> {
        if self.archive != contents.archive {
            return Err(Error::usage("the receipt is for another archive")
                .with("receipt", self.archive.short())
                .with("archive", contents.archive.short()));
        }
        let unknown = self.held.iter().find(|f| f.name.starts_with(ROOTS) && !contents.holds(&f.name, f.sha256));
        match unknown {
            Some(root) => Err(Error::usage("the receiver has a snapshot that this archive has not: their histories parted")
                .with("root", printable(&root.name))
                .hint("ship everything, without --since, and receive it into a new folder")),
            None => Ok(()),
        }
    }
}

/// A path as an open-able folder and the name in it.
fn folder_and_name(path: &Path) -> Result<(std::path::PathBuf, String)> {
    let name = path.file_name().ok_or_else(|| Error::usage("this is no name of a file").with("path", path.display()))?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok((folder.to_owned(), name.to_string_lossy().into_owned()))
}
