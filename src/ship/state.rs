//! What `floe ship` remembers between two runs, beside the archive's cache: the files that it has read, and which disks have what.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::contents::Read;
use super::copy::put;
use super::sheet::{SHEET_MAX_BYTES, read_small, to_json};
use crate::error::{Error, Kind, Result};
use crate::export::dir::Dir;
use crate::model::Digest;

const FILE: &str = "shipping.json";

/// A disk of the shipment under way.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Known {
    /// All its files were written and read back.
    pub finished: bool,
    pub files: BTreeMap<String, Digest>,
    /// What the disk is called.
    #[serde(default)]
    pub medium: Option<String>,
}

/// A shipment under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Round {
    /// The receipt that it began from.
    pub since: Option<Digest>,
    pub shipment: Digest,
    /// When that state of the archive was first shipped.
    pub created: Timestamp,
    /// The highest number that a disk has.
    pub last: u32,
    pub disks: BTreeMap<u32, Known>,
    /// Everything is on disks.
    pub complete: bool,
}

#[derive(Default, Serialize, Deserialize)]
pub(super) struct State {
    pub read: Read,
    pub round: Option<Round>,
}

impl State {
    /// What is left of earlier runs; nothing where it cannot be read, for what lies on the disks decides then.
    pub(super) fn load(cache: &Dir) -> State {
        let bytes = read_small(cache, FILE, SHEET_MAX_BYTES).ok().flatten();
        bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    pub(super) fn save(&self, cache: &Dir) -> Result<()> {
        put(cache, FILE, &to_json(self)?)
    }
}

/// The archive's cache folder.
pub(super) fn cache(archive: &Path) -> Result<Dir> {
    let path = archive.join("index");
    Dir::open(&path).map_err(|e| Error::io(Kind::Storage, "cannot open the archive's cache", &path, e))
}
