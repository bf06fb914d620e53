//! Folders of an export, held open: files are made by name inside them, no link is ever followed, nothing is overwritten.
//!
//! A file gets its bytes under a name of its own and its final name only when it is complete, so whatever stands under a
//! final name is whole, also after `kill -9`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::model::{Digest, Hasher};

/// A folder that is open.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

/// What came of giving a file its final name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It has it now.
    Placed,
    /// The same bytes stood there already.
    There,
    /// Something else stands there.
    Conflict,
}

/// A name of one level.
fn checked(name: &str) -> io::Result<&str> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a name of one file"));
    }
    Ok(name)
}

impl Dir {
    /// Opens a folder by its path, making it where it is missing. The person names it, so here links are followed.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Dir { fd, path: path.to_owned() })
    }

    /// Opens a folder in this one, making it where it is missing. A link or a file in its place is an error.
    pub(crate) fn sub(&self, name: &str) -> io::Result<Self> {
        let name = checked(name)?;
        match rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty()).map_err(|e| match e {
            Errno::NOTDIR | Errno::LOOP => {
                io::Error::new(io::ErrorKind::NotADirectory, "something that is no folder stands there")
            }
            e => e.into(),
        })?;
        Ok(Dir { fd, path: self.path.join(OsStr::new(name)) })
    }

    /// Opens a folder by its path, which must be there.
    pub(crate) fn open_existing(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Dir { fd, path: path.to_owned() })
    }

    /// Opens a folder some levels below, which must be there. A link in its way is an error.
    pub(crate) fn existing_below(&self, names: &[String]) -> io::Result<Self> {
        let mut dir = Dir { fd: self.fd.try_clone()?, path: self.path.clone() };
        for name in names {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let fd = rustix::fs::openat(&dir.fd, checked(name)?, flags, Mode::empty())?;
            dir = Dir { fd, path: dir.path.join(OsStr::new(name)) };
        }
        Ok(dir)
    }

    /// Opens a folder some levels below.
    pub(crate) fn below(&self, names: &[String]) -> io::Result<Self> {
        let mut dir = Dir { fd: self.fd.try_clone()?, path: self.path.clone() };
        for name in names {
            dir = dir.sub(name)?;
        }
        Ok(dir)
    }

    /// Its path, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a new file. One of that name that a killed run left is removed first: `part` names are ours.
    pub(crate) fn create_part(&self, part: &str) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = || rustix::fs::openat(&self.fd, checked(part)?, flags, Mode::from_raw_mode(0o666)).map_err(io::Error::from);
        let fd = match make() {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                self.remove(part)?;
                make()?
            }
            other => other?,
        };
        Ok(File::from(fd))
    }

    /// Removes a file, never what a link leads to.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, checked(name)?, AtFlags::empty())?)
    }

    /// Does anything stand under this name?
    pub(crate) fn has(&self, name: &str) -> io::Result<bool> {
        match rustix::fs::statat(&self.fd, checked(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// A regular file of this folder for reading; `None` if what stands there is none.
    pub(crate) fn regular(&self, name: &str) -> io::Result<Option<File>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.fd, checked(name)?, flags, Mode::empty()) {
            Ok(fd) => {
                let file = File::from(fd);
                Ok(file.metadata()?.is_file().then_some(file))
            }
            Err(Errno::LOOP | Errno::NXIO) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Is there a regular file of these bytes under this name?
    pub(crate) fn holds(&self, name: &str, size: u64, sha256: Digest) -> io::Result<bool> {
        let Some(file) = self.regular(name)? else { return Ok(false) };
        Ok(file.metadata()?.len() == size && digest_of(file)? == sha256)
    }

    /// Gives the finished file `part` its final name in `to`, unless something stands there: then `part` is removed.
    pub(crate) fn settle(&self, part: &str, to: &Dir, name: &str) -> io::Result<Settled> {
        let settled = self.try_settle(part, to, name)?;
        if settled == Settled::Conflict {
            self.remove(part)?;
        }
        Ok(settled)
    }

    /// As [`Dir::settle`], but when something else stands there `part` stays.
    pub(crate) fn try_settle(&self, part: &str, to: &Dir, name: &str) -> io::Result<Settled> {
        match self.rename(part, to, name) {
            Ok(()) => return Ok(Settled::Placed),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
        let same = match (self.regular(part)?, to.regular(name)?) {
            (Some(new), Some(old)) => new.metadata()?.len() == old.metadata()?.len() && digest_of(new)? == digest_of(old)?,
            _ => false,
        };
        if !same {
            return Ok(Settled::Conflict);
        }
        self.remove(part)?;
        Ok(Settled::There)
    }

    fn rename(&self, part: &str, to: &Dir, name: &str) -> io::Result<()> {
        let (part, name) = (checked(part)?, checked(name)?);
        match rustix::fs::renameat_with(&self.fd, part, &to.fd, name, RenameFlags::NOREPLACE) {
            // File systems that cannot do it in one step.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                if to.has(name)? {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                Ok(rustix::fs::renameat(&self.fd, part, &to.fd, name)?)
            }
            other => Ok(other?),
        }
    }

    /// Gives the finished file `part` its final name, in the place of whatever file has it.
    pub(crate) fn replace(&self, part: &str, name: &str) -> io::Result<()> {
        rustix::fs::renameat(&self.fd, checked(part)?, &self.fd, checked(name)?)?;
        self.sync_names()
    }

    /// Makes the folder's names durable.
    pub(crate) fn sync_names(&self) -> io::Result<()> {
        match rustix::fs::fsync(&self.fd) {
            // File systems that know this of files only.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.sync(),
            other => Ok(other?),
        }
    }

    /// Bytes that may still be written to its file system, and those of the unit in which it gives them out. One that does not know
    /// is taken to have room until it says that it is full.
    pub(crate) fn room(&self) -> io::Result<(u64, u64)> {
        let of = rustix::fs::fstatvfs(&self.fd)?;
        if of.f_blocks == 0 {
            return Ok((u64::MAX, 1 << 15));
        }
        Ok((of.f_bavail.saturating_mul(of.f_frsize), of.f_frsize.max(1)))
    }

    /// What tells it from all other folders of this machine: its file system and its number in it.
    pub(crate) fn identity(&self) -> io::Result<(u64, u64)> {
        let of = rustix::fs::fstat(&self.fd)?;
        Ok((of.st_dev, of.st_ino))
    }

    /// Makes everything on the folder's file system durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.fd)?)
    }
}

/// The digest of what is left to read of a file.
pub(crate) fn digest_of(mut file: File) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..n]);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::symlink;

    use super::*;

    fn place(dir: &Dir, name: &str, bytes: &[u8]) -> io::Result<Settled> {
        dir.create_part(".part")?.write_all(bytes)?;
        dir.settle(".part", dir, name)
    }

    #[test]
    fn a_planted_link_is_neither_entered_nor_written_through() {
        let (out, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dir = Dir::open(out.path()).unwrap();
        symlink(elsewhere.path(), out.path().join("sub")).unwrap();
        symlink(elsewhere.path().join("target"), out.path().join("file")).unwrap();
        symlink(elsewhere.path().join("target"), out.path().join(".part")).unwrap();
        assert_eq!(dir.sub("sub").unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert_eq!(place(&dir, "file", b"x").unwrap(), Settled::Conflict);
        assert!(!dir.holds("file", 1, Digest::of(b"x")).unwrap());
        assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }

    #[test]
    fn nothing_is_overwritten_and_the_same_bytes_count_as_there() {
        let out = tempfile::tempdir().unwrap();
        let dir = Dir::open(out.path()).unwrap();
        assert_eq!(place(&dir, "a", b"one").unwrap(), Settled::Placed);
        assert_eq!(place(&dir, "a", b"one").unwrap(), Settled::There);
        assert_eq!(place(&dir, "a", b"two").unwrap(), Settled::Conflict);
        std::fs::create_dir(out.path().join("d")).unwrap();
        assert_eq!(place(&dir, "d", b"two").unwrap(), Settled::Conflict);
        assert_eq!(std::fs::read(out.path().join("a")).unwrap(), b"one");
        assert!(!out.path().join(".part").exists());
    }

    #[test]
    fn only_names_of_one_level_are_taken() {
        let out = tempfile::tempdir().unwrap();
        let dir = Dir::open(out.path()).unwrap();
        for name in ["", ".", "..", "a/b", "/tmp", "a\0"] {
            assert!(dir.sub(name).is_err() && dir.create_part(name).is_err() && dir.remove(name).is_err(), "{name:?}");
        }
    }
}
