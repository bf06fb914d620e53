//! What a disk says of itself (`floe-disk.json`): of which archive it is, which files the whole has, and which disk has which.
//!
//! Every disk has the complete list, so that any one of them tells what is missing. What is read here comes from a disk that
//! anybody may have written to: names, sizes and sums are checked before anything is made of them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::export::dir::Dir;
use crate::model::{Digest, printable, safe_file_name};
use crate::store::RECEIVING;

/// The sheet's file.
pub(super) const SHEET: &str = "floe-disk.json";
/// The folder on a disk that holds the archive's files under their names.
pub(super) const FILES: &str = "archive";
/// The list for `sha256sum -c`.
pub(super) const SUMS: &str = "SHA256SUMS";
/// The text for people.
pub(super) const README: &str = "README.txt";
/// Largest sheet that is read: a million files.
pub(super) const SHEET_MAX_BYTES: u64 = 256 << 20;
/// Largest file that FAT32 can hold. Packs are far smaller.
pub(super) const FILE_MAX_BYTES: u64 = u32::MAX as u64;
/// Highest number of a disk.
pub(super) const DISKS_MAX: u32 = 1_000_000;
const FORMAT: &str = "floe disk";
const VERSION: u32 = 1;
/// Folders of an archive that are never shipped: caches, and what exists only while something is being written.
pub(super) const NOT_SHIPPED: [&str; 4] = ["index", "pending", "pending.tmp", RECEIVING];
/// Where the roots lie.
pub(super) const ROOTS: &str = "data/snapshots/";

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedFile {
    /// Its name in the archive.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Digest,
}

/// A file of the shipment, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    #[serde(flatten)]
    pub file: ListedFile,
    /// The disk that has it; none yet where it is still to be written, or where the receiver has it already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<u32>,
    /// The receiver's receipt says that it is there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub received: bool,
}

/// The sheet of one disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sheet {
    pub format: String,
    pub version: u32,
    /// Which archive: the digest of its first root.
    pub archive: Digest,
    /// Which state of it: the digest over all its files, see [`state_of`].
    pub shipment: Digest,
    /// When this state was first shipped.
    pub created: Timestamp,
    pub tool: String,
    /// Number of this disk.
    pub disk: u32,
    /// Number of the last disk, where it is known.
    pub of: Option<u32>,
    pub files: Vec<Entry>,
}

impl Sheet {
    pub(super) fn new(contents: &Contents, created: Timestamp, disk: u32) -> Self {
        Sheet {
            format: FORMAT.to_owned(),
            version: VERSION,
            archive: contents.archive,
            shipment: contents.shipment,
            created,
            tool: format!("floe {}", env!("CARGO_PKG_VERSION")),
            disk,
            of: None,
            files: Vec::new(),
        }
    }

    /// Reads and checks the sheet of a disk; `None` where there is none.
    ///
    /// # Errors
    /// `Kind::Damage` when it is cut, malformed, of a later version, or says what cannot be.
    pub(super) fn read(disk: &Dir) -> Result<Option<Self>> {
        let Some(bytes) = read_small(disk, SHEET, SHEET_MAX_BYTES)? else { return Ok(None) };
        let at = || disk.path().join(SHEET);
        let sheet: Sheet = serde_json::from_slice(&bytes)
            .map_err(|e| Error::damage("a disk's sheet cannot be read").because(e).with("file", at().display()))?;
        sheet.check().map_err(|e| e.with("file", at().display()))?;
        Ok(Some(sheet))
    }

    /// Could all that it says be true?
    fn check(&self) -> Result<()> {
        if self.format != FORMAT || self.version != VERSION {
            return Err(
                Error::damage(format!("this is no disk of version {VERSION}")).hint("a newer floe may be able to read it")
            );
        }
        check_names(self.files.iter().map(|e| e.file.name.as_str()))?;
        if let Some(large) = self.files.iter().find(|e| e.file.size > FILE_MAX_BYTES) {
            return Err(
                Error::damage("a disk's sheet names a file larger than any file of a shipment").with("name", &large.file.name)
            );
        }
        let mut numbers = self.files.iter().filter_map(|e| e.disk).chain([self.disk]).chain(self.of);
        if numbers.any(|n| n == 0 || n > DISKS_MAX) {
            return Err(Error::damage("a disk's sheet has a number that no disk can have"));
        }
        let files: Vec<ListedFile> = self.files.iter().map(|e| e.file.clone()).collect();
        let contents = Contents::of(files)?;
        if contents.shipment != self.shipment || contents.archive != self.archive {
            return Err(Error::damage("a disk's sheet is not whole: its list of files is not the one that it was written with"));
        }
        Ok(())
    }

    /// The files that lie on this disk.
    pub(super) fn own(&self) -> impl Iterator<Item = &ListedFile> {
        self.files.iter().filter(|e| e.disk == Some(self.disk)).map(|e| &e.file)
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        to_json(self)
    }

    /// What lies on this disk, for `sha256sum -c`.
    pub(super) fn sums(&self, sheet: &[u8], readme: &str) -> String {
        let mut text = format!("{}  {README}\n{}  {SHEET}\n", Digest::of(readme.as_bytes()), Digest::of(sheet));
        for file in self.own() {
            let _ = writeln!(text, "{}  {FILES}/{}", file.sha256, file.name);
        }
        text
    }
}

/// JSON for a file.
pub(super) fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    let failed = |e| Error::new(crate::Kind::Internal, "cannot write JSON").because(e);
    let mut bytes = serde_json::to_vec_pretty(value).map_err(failed)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// A whole file of at most `max_bytes`; `None` when it is not there.
pub(super) fn read_small(folder: &Dir, name: &str, max_bytes: u64) -> Result<Option<Vec<u8>>> {
    use std::io::Read as _;
    let failed = |e| Error::io(crate::Kind::Storage, "cannot read the file", &folder.path().join(name), e);
    let file = match folder.regular(name) {
        Ok(Some(file)) => file,
        Ok(None) => return Err(Error::damage("this should be a file").with("path", folder.path().join(name).display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let mut bytes = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > max_bytes {
        return Err(Error::damage("the file is larger than it may be").with("file", folder.path().join(name).display()));
    }
    Ok(Some(bytes))
}

/// All files of one state of an archive, and what they make it.
#[derive(Clone, Debug)]
pub(super) struct Contents {
    pub files: BTreeMap<String, ListedFile>,
    /// Digest of the first root.
    pub archive: Digest,
    /// Digest over all files.
    pub shipment: Digest,
    /// Name of the newest root.
    pub newest: String,
}

impl Contents {
    /// # Errors
    /// `Kind::Usage` when there is no root.
    pub(super) fn of(files: Vec<ListedFile>) -> Result<Self> {
        let files: BTreeMap<String, ListedFile> = files.into_iter().map(|f| (f.name.clone(), f)).collect();
        let mut roots = files.values().filter(|f| f.name.starts_with(ROOTS));
        let first = roots.next().ok_or_else(|| {
            Error::usage("no snapshot is committed yet, so there is nothing to ship").hint("make one with 'floe snapshot'")
        })?;
        let newest = roots.next_back().unwrap_or(first).name.clone();
        Ok(Contents { archive: first.sha256, shipment: state_of(files.values()), newest, files })
    }

    /// Has this state everything that the other has under `data/`, where nothing ever changes?
    pub(super) fn continues(&self, other: &BTreeMap<String, Digest>) -> bool {
        other.iter().filter(|(name, _)| is_payload(name)).all(|(name, sha256)| self.holds(name, *sha256))
    }

    pub(super) fn holds(&self, name: &str, sha256: Digest) -> bool {
        self.files.get(name).is_some_and(|f| f.sha256 == sha256)
    }
}

pub(super) fn is_payload(name: &str) -> bool {
    name.starts_with("data/")
}

/// The digest of what `sha256sum` prints of all the files in the order of their names.
fn state_of<'a>(files: impl Iterator<Item = &'a ListedFile>) -> Digest {
    let mut text = String::new();
    for file in files {
        let _ = writeln!(text, "{}  {}", file.sha256, file.name);
    }
    Digest::of(text.as_bytes())
}

/// Can all these names stand side by side in a folder on FAT, exFAT, Windows and here, and inside that folder?
///
/// # Errors
/// `Kind::Damage` with the first name that cannot.
pub(super) fn check_names<'a>(names: impl Iterator<Item = &'a str>) -> Result<()> {
    let refuse = |name: &str, why: &str| Err(Error::damage(why).with("name", printable(name)));
    let (mut all, mut folders) = (HashSet::new(), BTreeSet::new());
    for name in names {
        if let Some(why) = unfit(name) {
            return refuse(name, why);
        }
        let small = name.to_ascii_lowercase();
        folders.extend(small.match_indices('/').map(|(at, _)| small[..at].to_owned()));
        if !all.insert(small) {
            return refuse(name, "two files have names that some disks take for the same");
        }
    }
    match folders.iter().find(|folder| all.contains(*folder)) {
        Some(name) => refuse(name, "a name is that of a file and of a folder"),
        None => Ok(()),
    }
}

/// Why a name cannot be that of a file in a shipment.
pub(super) fn unfit(name: &str) -> Option<&'static str> {
    let levels: Vec<&str> = name.split('/').collect();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.len() > 255 || levels.len() > 8 {
        Some("a file has a name that is too long for a shipment")
    } else if !levels.iter().all(|l| l.chars().all(is_plain) && safe_file_name(l) == **l) {
        Some("a file has a name that not every disk can hold")
    } else if NOT_SHIPPED.iter().any(|folder| levels[0].eq_ignore_ascii_case(folder)) {
        Some("a file lies in a folder that is never shipped")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str) -> ListedFile {
        ListedFile { name: name.into(), size: 1, sha256: Digest::of(name.as_bytes()) }
    }

    fn sheet(names: &[&str]) -> Result<Sheet> {
        let contents = Contents::of(names.iter().map(|n| listed(n)).collect())?;
        let mut sheet = Sheet::new(&contents, Timestamp::UNIX_EPOCH, 1);
        sheet.files = contents.files.values().map(|f| Entry { file: f.clone(), disk: Some(1), received: false }).collect();
        Ok(sheet)
    }

    #[test]
    fn hostile_names_are_refused() {
        for name in [
            "../x",
            "/etc/passwd",
            "a/../b",
            "a//b",
            "",
            "a\\b",
            "C:/x",
            "con",
            "aux.txt",
            "a.",
            "index/x",
            "Pending/x",
            "receiving/x",
            "a b",
            "ü",
            "x\0",
            "~x",
            ".hidden",
            "a/b/c/d/e/f/g/h/i",
        ] {
            let sheet = sheet(&["data/snapshots/1.json", name]).unwrap();
            assert!(sheet.check().is_err(), "{name:?}");
        }
        for pair in [["a", "A"], ["a", "a/b"], ["Ab/c", "aB"]] {
            let sheet = sheet(&["data/snapshots/1.json", pair[0], pair[1]]).unwrap();
            assert!(sheet.check().is_err(), "{pair:?}");
        }
        sheet(&["data/snapshots/1.json", "bagit.txt", "parity/x-1.par2"]).unwrap().check().unwrap();
    }

    #[test]
    fn a_changed_list_is_noticed() {
        let good = sheet(&["data/snapshots/1.json", "data/packs/a.tar.zst"]).unwrap();
        good.check().unwrap();
        let mut bad = good.clone();
        bad.files[0].file.sha256 = Digest::of(b"other");
        assert!(bad.check().is_err());
        let mut bad = good.clone();
        bad.files.pop();
        assert!(bad.check().is_err());
        let mut bad = good.clone();
        bad.files[0].file.size = u64::MAX;
        assert!(bad.check().is_err());
        for number in [0, u32::MAX] {
            assert!(Sheet { disk: number, ..good.clone() }.check().is_err());
            assert!(Sheet { of: Some(number), ..good.clone() }.check().is_err());
        }
        let mut bad = good;
        bad.archive = Digest::of(b"other");
        assert!(bad.check().is_err());
    }
}
