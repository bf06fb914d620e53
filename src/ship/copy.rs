//! One file copied so that it is known to be whole: hashed as it is read, made durable, dropped from memory, read back and
//! hashed again, and only then named.

use std::fs::File;
use std::io::{IoSliceMut, Read as _, Write as _};
use std::num::NonZeroU64;

use rustix::fs::Advice;
use rustix::io::{Errno, ReadWriteFlags};

use super::sheet::ListedFile;
use crate::error::{Error, Kind, Result};
use crate::export::dir::{Dir, digest_of};
use crate::model::Hasher;
use crate::monitor::Monitor;

const BLOCK_BYTES: usize = 1 << 20;

/// What became of a file.
pub(super) enum Copied {
    /// It lies there.
    Whole {
        /// It was read back from the disk itself, not from memory that this machine kept.
        from_disk: bool,
    },
    /// It could not be read at its source, or its bytes are not the ones wanted; nothing was put in its place.
    Bad(String),
    /// The disk is full.
    Full,
}

/// What went wrong while bytes were poured.
enum Fault {
    Source(String),
    Target(std::io::Error),
}

/// Copies `from` to `name` in `to`, where it must be the file `want`.
///
/// # Errors
/// `Kind::Storage` when the target cannot be written, or gives back other bytes than were written.
pub(super) fn copy(mut from: File, want: &ListedFile, to: &Dir, name: &str, monitor: &dyn Monitor) -> Result<Copied> {
    let failed = |e| Error::io(Kind::Storage, "cannot write the file", &to.path().join(name), e);
    let part = format!(".{name}.part");
    let mut file = to.create_part(&part).map_err(failed)?;
    let poured = pour(&mut from, want, &mut file, monitor).and_then(|()| file.sync_all().map_err(Fault::Target));
    match poured {
        Ok(()) => {}
        Err(Fault::Source(why)) => {
            to.remove(&part).map_err(failed)?;
            return Ok(Copied::Bad(why));
        }
        Err(Fault::Target(e)) => {
            // Nothing half written stays; if even that cannot be removed, the next run will.
            let _ = to.remove(&part);
            return if e.kind() == std::io::ErrorKind::StorageFull { Ok(Copied::Full) } else { Err(failed(e)) };
        }
    }
    let from_disk = forget(&file, want.size);
    drop(file);
    let back = to.regular(&part).map_err(failed)?.map(digest_of).transpose().map_err(failed)?;
    if back != Some(want.sha256) {
        let _ = to.remove(&part);
        return Err(Error::new(Kind::Storage, "the disk gives back other bytes than were written to it")
            .with("file", to.path().join(name).display())
            .hint("use another disk, cable or port"));
    }
    to.replace(&part, name).map_err(failed)?;
    Ok(Copied::Whole { from_disk })
}

fn pour(from: &mut File, want: &ListedFile, to: &mut File, monitor: &dyn Monitor) -> std::result::Result<(), Fault> {
    let unreadable = |e: std::io::Error| Fault::Source(format!("it cannot be read: {e}"));
    let metadata = from.metadata().map_err(unreadable)?;
    if metadata.len() != want.size {
        return Err(Fault::Source(format!("it has {} bytes instead of {}", metadata.len(), want.size)));
    }
    let mut hasher = Hasher::new();
    let mut block = vec![0; BLOCK_BYTES];
    let mut left = want.size;
    loop {
        let n = from.read(&mut block).map_err(unreadable)?;
        if n == 0 {
            break;
        }
        left = left.checked_sub(n as u64).ok_or_else(|| Fault::Source("it grows while it is read".to_owned()))?;
        hasher.update(&block[..n]);
        to.write_all(&block[..n]).map_err(Fault::Target)?;
        monitor.advance(0, n as u64);
    }
    if left > 0 || hasher.finish() != want.sha256 {
        return Err(Fault::Source("its bytes have not the SHA-256 that they should have".to_owned()));
    }
    Ok(())
}

/// Has the system forget what it keeps of a file in memory; does it?
///
/// The advice is taken without a word by file systems that then do nothing. Whether the pages are gone is asked by reads that must
/// not wait for a disk.
pub(super) fn forget(file: &File, size: u64) -> bool {
    if size == 0 {
        return true;
    }
    if rustix::fs::fadvise(file, 0, NonZeroU64::new(size), Advice::DontNeed).is_err() {
        return false;
    }
    [0, size / 2, size - 1].iter().all(|at| {
        let mut byte = [0];
        let read = rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], *at, ReadWriteFlags::NOWAIT);
        matches!(read, Err(Errno::AGAIN))
    })
}

/// Is the file there, with these bytes? What this machine keeps of it in memory is not asked.
pub(super) fn is_whole(folder: &Dir, name: &str, want: &ListedFile) -> std::io::Result<bool> {
    let file = match folder.regular(name) {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(false),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    if file.metadata()?.len() != want.size {
        return Ok(false);
    }
    forget(&file, want.size);
    Ok(digest_of(file)? == want.sha256)
}

/// Writes a small file whole, in the place of whatever has its name.
///
/// # Errors
/// `Kind::Storage` when it cannot be written.
pub(super) fn put(folder: &Dir, name: &str, bytes: &[u8]) -> Result<()> {
    let failed = |e| Error::io(Kind::Storage, "cannot write the file", &folder.path().join(name), e);
    let part = format!(".{name}.part");
    let mut file = folder.create_part(&part).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    folder.replace(&part, name).map_err(failed)
}
