//! Reading files of a source safely: no FIFOs, no links out of the source, and a stamp to notice change.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use base64::Engine as _;
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::model::Place;

/// Files that are asked about at a time.
pub const ASK_BATCH: usize = 2048;
/// So many questions are worth waking other cores for.
const MANY: usize = 256;

/// What identifies a file's content without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileStamp {
    /// Bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Inode number.
    pub inode: u64,
}

impl FileStamp {
    /// From a file's metadata.
    pub fn of(metadata: &Metadata) -> Self {
        FileStamp {
            size: metadata.len(),
            mtime_ns: metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()),
            inode: metadata.ino(),
        }
    }

    /// Modification time in whole seconds since 1970.
    pub fn mtime_s(&self) -> i64 {
        self.mtime_ns.div_euclid(1_000_000_000)
    }
}

/// Opens a regular file for reading; a link, a FIFO, a device or a folder is an error, and never blocks.
///
/// # Errors
/// `Kind::Source` when it is not a regular file or cannot be opened.
pub fn open_regular(path: &Path) -> Result<(File, FileStamp)> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(|e| Error::io(Kind::Source, "cannot open the file", path, e))?;
    let metadata = file.metadata().map_err(|e| Error::io(Kind::Source, "cannot read the file's state", path, e))?;
    if !metadata.is_file() {
        return Err(Error::source("not a regular file").with("path", path.display()));
    }
    Ok((file, FileStamp::of(&metadata)))
}

/// Asks the disk about each of these, where they are many on all cores: in threads of their own, since those that capture have a
/// long queue, and who waits behind it lets it run dry.
pub fn ask<T: Sync, R: Send>(about: &[T], question: impl Fn(&T) -> R + Sync + Send) -> Vec<R> {
    static ASKING: LazyLock<Option<ThreadPool>> = LazyLock::new(|| ThreadPoolBuilder::new().build().ok());
    let threads = if about.len() < MANY { None } else { ASKING.as_ref() };
    match threads {
        Some(threads) => threads.install(|| about.par_iter().map(question).collect()),
        None => about.iter().map(question).collect(),
    }
}

/// The state of each of these files, not of what a link leads to.
pub fn states<T: Sync>(of: &[T], path: impl Fn(&T) -> PathBuf + Sync + Send) -> Vec<(PathBuf, io::Result<Metadata>)> {
    ask(of, |file| {
        let path = path(file);
        let metadata = fs::symlink_metadata(&path);
        (path, metadata)
    })
}

/// The place of a whole file under `root`, lossless also when its name is not UTF-8.
pub fn place_of(root: &Path, path: &Path) -> Place {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let bytes = relative.as_os_str().as_bytes();
    let path_bytes = std::str::from_utf8(bytes).is_err().then(|| base64::engine::general_purpose::STANDARD.encode(bytes));
    Place { path: String::from_utf8_lossy(bytes).into_owned(), path_bytes, ..Place::default() }
}

/// A name as the key of a stamp: as text, and different for different names also when they are not UTF-8.
pub fn stamp_name(name: &std::ffi::OsStr) -> String {
    match name.to_str() {
        Some(text) => text.to_owned(),
        None => {
            let bytes = base64::engine::general_purpose::STANDARD.encode(name.as_bytes());
            format!("{} ({bytes})", name.to_string_lossy())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_questions() {
        for many in [0, MANY - 1, MANY, 10 * MANY] {
            let about: Vec<usize> = (0..many).collect();
            assert_eq!(ask(&about, |n| n + 1), (1..=many).collect::<Vec<_>>());
        }
    }
}
