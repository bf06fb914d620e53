//! A store in a local folder. Commits go through the folder `pending` (docs/format.md section 9).

use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tempfile::NamedTempFile;

use super::{Store, StoredFile, Upload};
use crate::error::{Error, Kind, Result};

const PENDING: &str = "pending";
/// Is there while disks of a shipment are being received and not all is here (docs/format.md, Disks).
pub const RECEIVING: &str = "receiving";
const PENDING_TMP: &str = "pending.tmp";
/// Files being written lie here until they get their name; the folder is part of the cache.
const UPLOADS: &str = "index/tmp";

/// Bytes after which the disk is told to take what was written.
const SYNC_BYTES: u64 = 32 << 20;
/// Files that are kept open for reading ranges of them.
const OPEN_FILES: usize = 64;

/// An archive's folder.
pub struct LocalStore {
    root: PathBuf,
    /// The files last read from, the latest last. Such files never change under their name.
    open: Mutex<Vec<(String, Arc<File>)>>,
}

/// Held by the one process that writes; given back when dropped or when the process ends in any way.
pub struct WriterLock {
    _file: File,
}

fn storage(what: &str, path: &Path, cause: io::Error) -> Error {
    Error::io(Kind::Storage, what, path, cause)
}

fn sync_folder(path: &Path) -> Result<()> {
    File::open(path).and_then(|f| f.sync_all()).map_err(|e| storage("cannot make the folder durable", path, e))
}

impl LocalStore {
    /// The store in the folder `root`, which need not be there yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        LocalStore { root: root.into(), open: Mutex::new(Vec::new()) }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Becomes the one writer: makes the folder where it is missing, finishes an interrupted commit and clears away files that a
    /// killed writer left half written.
    ///
    /// # Errors
    /// `Kind::Locked` when another process writes or disks are being received, `Kind::Storage` when the folder cannot be made or
    /// written.
    pub fn lock(&self) -> Result<WriterLock> {
        let lock = self.lock_to_receive()?;
        if self.is_being_received() {
            return Err(Error::new(Kind::Locked, "this archive is being received: not all of the shipment is here")
                .with("archive", self.root.display())
                .hint("finish it with 'floe receive MOUNT --archive DIR'; nothing may be written before"));
        }
        Ok(lock)
    }

    /// Are disks of a shipment being received into it?
    pub fn is_being_received(&self) -> bool {
        self.root.join(RECEIVING).exists()
    }

    /// Becomes the one writer, as [`LocalStore::lock`] does, of an archive that may be half received.
    ///
    /// # Errors
    /// As [`LocalStore::lock`].
    pub(crate) fn lock_to_receive(&self) -> Result<WriterLock> {
        let index = self.root.join("index");
        fs::create_dir_all(&index).map_err(|e| storage("cannot make the archive's folder", &index, e))?;
        let path = index.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| storage("cannot open the archive's lock file", &path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(Error::new(Kind::Locked, "another floe is writing to this archive")
                    .with("archive", self.root.display())
                    .hint("wait until it has finished, then run the same command again"));
            }
            Err(fs::TryLockError::Error(e)) => return Err(storage("cannot lock the archive", &path, e)),
        }
        for leftover in [UPLOADS, PENDING_TMP] {
            let path = self.root.join(leftover);
            match fs::remove_dir_all(&path) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(storage("cannot clear away an interrupted run's files", &path, e)),
            }
        }
        let uploads = self.root.join(UPLOADS);
        fs::create_dir_all(&uploads).map_err(|e| storage("cannot make the folder", &uploads, e))?;
        self.finish_commit()?;
        Ok(WriterLock { _file: file })
    }

    /// The file to read for `name`: the one of an unfinished commit goes before the one in its place.
    fn path_of(&self, name: &str) -> PathBuf {
        let pending = self.root.join(PENDING).join(name);
        if pending.is_file() { pending } else { self.root.join(name) }
    }

    fn list_one(&self, folder: &Path, prefix: &str, files: &mut Vec<StoredFile>) -> Result<()> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
            Err(e) => return Err(storage("cannot list the folder", folder, e)),
        };
        for entry in entries {
            let entry = entry.map_err(|e| storage("cannot list the folder", folder, e))?;
            let metadata = entry.metadata().map_err(|e| storage("cannot read the file's state", &entry.path(), e))?;
            if metadata.is_file() {
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                files.push(StoredFile { name, size: metadata.len() });
            }
        }
        Ok(())
    }

    /// A file without a name, for the time of a run.
    ///
    /// # Errors
    /// `Kind::Storage` when the disk fails.
    pub fn scratch(&self) -> Result<File> {
        let folder = self.root.join(UPLOADS);
        tempfile::tempfile_in(&folder).map_err(|e| storage("cannot make a file for the time of the run", &folder, e))
    }

    /// The open file of that name.
    fn opened(&self, name: &str) -> Result<Arc<File>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(i) = open.iter().position(|(n, _)| n == name) {
            let last = open.len() - 1;
            open.swap(i, last);
            return Ok(Arc::clone(&open[last].1));
        }
        let path = self.root.join(name);
        let file = File::open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::damage("a file of the archive is missing").with("file", path.display()),
            _ => storage("cannot open the file", &path, e),
        })?;
        if open.len() >= OPEN_FILES {
            open.remove(0);
        }
        let file = Arc::new(file);
        open.push((name.to_owned(), Arc::clone(&file)));
        Ok(file)
    }

    /// Commits the files of a folder of this store, which are durable, as [`Store::commit`] does.
    ///
    /// # Errors
    /// `Kind::Storage` when the disk fails.
    pub(crate) fn commit_folder(&self, folder: &Path) -> Result<()> {
        fs::rename(folder, self.root.join(PENDING)).map_err(|e| storage("cannot write the commit", folder, e))?;
        sync_folder(&self.root)?;
        self.finish_commit()
    }

    /// Gives a file another name, in a folder that is made where it is missing. A file of the new name is replaced.
    ///
    /// # Errors
    /// `Kind::Storage` when it cannot be renamed.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (old, new) = (self.root.join(from), self.root.join(to));
        let folder = new.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(|e| storage("cannot make the folder", folder, e))?;
        fs::rename(&old, &new).map_err(|e| storage("cannot rename the file", &old, e).with("to", new.display()))?;
        // What was read under the old name is another file from now on.
        self.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|(name, _)| name != from && name != to);
        sync_folder(folder)?;
        sync_folder(old.parent().unwrap_or(&self.root))
    }

    /// Removes a folder if it is empty.
    ///
    /// # Errors
    /// `Kind::Storage` when it cannot be removed.
    pub fn remove_empty(&self, folder: &str) -> Result<()> {
        let path = self.root.join(folder);
        match fs::remove_dir(&path) {
            Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
                Err(storage("cannot remove the folder", &path, e))
            }
            _ => Ok(()),
        }
    }

    /// Moves the files of `pending` to their places. Can be repeated at any point.
    fn finish_commit(&self) -> Result<()> {
        let pending = self.root.join(PENDING);
        if !pending.is_dir() {
            return Ok(());
        }
        for entry in walkdir::WalkDir::new(&pending).sort_by_file_name() {
            let entry = entry.map_err(|e| storage("cannot read the unfinished commit", &pending, e.into()))?;
            if !entry.file_type().is_file() {
                continue;
            }
            let name = entry.path().strip_prefix(&pending).unwrap_or(entry.path());
            let place = self.root.join(name);
            let folder = place.parent().unwrap_or(&self.root);
            fs::create_dir_all(folder).map_err(|e| storage("cannot make the folder", folder, e))?;
            fs::rename(entry.path(), &place).map_err(|e| storage("cannot move the file to its place", &place, e))?;
            sync_folder(folder)?;
        }
        fs::remove_dir_all(&pending).map_err(|e| storage("cannot remove the finished commit's folder", &pending, e))?;
        sync_folder(&self.root)
    }
}

impl Store for LocalStore {
    fn list(&self, folder: &str) -> Result<Vec<StoredFile>> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut files = Vec::new();
        let pending = self.root.join(PENDING);
        if pending.is_dir() {
            self.list_one(&pending.join(folder), &prefix, &mut files)?;
        }
        self.list_one(&self.root.join(folder), &prefix, &mut files)?;
        // The sort is stable, so of two files of one name the pending one is kept.
        files.sort_by(|a, b| a.name.cmp(&b.name));
        files.dedup_by(|later, first| later.name == first.name);
        Ok(files)
    }

    fn read(&self, name: &str, max_bytes: u64) -> Result<Option<Vec<u8>>> {
        let path = self.path_of(name);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
            Err(e) => return Err(storage("cannot open the file", &path, e)),
        };
        let mut bytes = Vec::new();
        file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(|e| storage("cannot read the file", &path, e))?;
        if bytes.len() as u64 > max_bytes {
            return Err(Error::damage(format!("the file is larger than the {max_bytes} bytes that it may have"))
                .with("file", path.display()));
        }
        Ok(Some(bytes))
    }

    fn read_at(&self, name: &str, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.opened(name)?.read_exact_at(buffer, offset).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => Error::damage("a file of the archive is cut short")
                .with("file", self.root.join(name).display())
                .with("offset", offset),
            _ => storage("cannot read the file", &self.root.join(name), e).with("offset", offset),
        })
    }

    fn discard(&self, name: &str) -> Result<()> {
        let path = self.root.join(name);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(storage("cannot remove the file", &path, e)),
            _ => Ok(()),
        }
    }

    fn upload(&self) -> Result<Box<dyn Upload>> {
        let folder = self.root.join(UPLOADS);
        let file = NamedTempFile::with_prefix_in("upload-", &folder)
            .map_err(|e| storage("cannot begin a file of the archive", &folder, e))?;
        Ok(Box::new(LocalUpload { file, root: self.root.clone(), unsynced: 0, syncing: None }))
    }

    fn commit(&self, files: &[(String, Vec<u8>)]) -> Result<()> {
        let staging = self.root.join(PENDING_TMP);
        let failed = |path: &Path, e| storage("cannot write the commit", path, e);
        for (name, bytes) in files {
            let path = staging.join(name);
            let folder = path.parent().unwrap_or(&staging);
            fs::create_dir_all(folder).map_err(|e| failed(folder, e))?;
            let mut file = File::create(&path).map_err(|e| failed(&path, e))?;
            file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| failed(&path, e))?;
            sync_folder(folder)?;
        }
        sync_folder(&staging)?;
        fs::rename(&staging, self.root.join(PENDING)).map_err(|e| failed(&staging, e))?;
        sync_folder(&self.root)?;
        self.finish_commit()
    }
}

struct LocalUpload {
    file: NamedTempFile,
    root: PathBuf,
    /// Bytes written since the disk was last told to take them.
    unsynced: u64,
    /// Has the disk take what was written while more is coming, so that little is left to wait for at the end.
    syncing: Option<JoinHandle<io::Result<()>>>,
}

impl LocalUpload {
    fn sync_behind(&mut self) -> io::Result<()> {
        self.wait()?;
        let file = self.file.as_file().try_clone()?;
        self.syncing = Some(std::thread::spawn(move || file.sync_data()));
        self.unsynced = 0;
        Ok(())
    }

    fn wait(&mut self) -> io::Result<()> {
        match self.syncing.take() {
            Some(thread) => thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that syncs has failed"))),
            None => Ok(()),
        }
    }
}

impl Write for LocalUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.unsynced += n as u64;
        if self.unsynced >= SYNC_BYTES {
            self.sync_behind()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Upload for LocalUpload {
    fn finish(mut self: Box<Self>, name: &str) -> Result<()> {
        let path = self.root.join(name);
        let folder = path.parent().unwrap_or(&self.root).to_owned();
        let synced = self.wait().and_then(|()| self.file.as_file().sync_all());
        synced.map_err(|e| storage("cannot make the file durable", &path, e))?;
        fs::create_dir_all(&folder).map_err(|e| storage("cannot make the folder", &folder, e))?;
        self.file.persist(&path).map_err(|e| storage("cannot put the file in its place", &path, e.error))?;
        sync_folder(&folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, LocalStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::new(folder.path().join("a.floe"));
        (folder, store)
    }

    #[test]
    fn one_writer_at_a_time() {
        let (_folder, store) = store();
        let lock = store.lock().unwrap();
        assert_eq!(store.lock().err().map(|e| e.kind()), Some(Kind::Locked));
        drop(lock);
        store.lock().unwrap();
    }

    #[test]
    fn a_commit_cut_after_its_rename_is_read_at_once_and_finished_by_the_next_writer() {
        let (_folder, store) = store();
        let _lock = store.lock().unwrap();
        store.commit(&[("bag-info.txt".into(), b"old".to_vec())]).unwrap();
        fs::create_dir_all(store.root().join("pending/data/snapshots")).unwrap();
        fs::write(store.root().join("pending/bag-info.txt"), "new").unwrap();
        fs::write(store.root().join("pending/data/snapshots/x.json"), "{}").unwrap();
        assert_eq!(store.read("bag-info.txt", 100).unwrap().unwrap(), b"new");
        assert_eq!(store.list("data/snapshots").unwrap()[0].name, "data/snapshots/x.json");
        store.finish_commit().unwrap();
        assert_eq!(fs::read(store.root().join("bag-info.txt")).unwrap(), b"new");
        assert!(!store.root().join("pending").exists());
        assert_eq!(store.list("data/snapshots").unwrap().len(), 1);
    }

    #[test]
    fn an_upload_appears_only_when_finished() {
        let (_folder, store) = store();
        let _lock = store.lock().unwrap();
        let mut upload = store.upload().unwrap();
        upload.write_all(b"pack").unwrap();
        assert!(store.list("data/packs").unwrap().is_empty());
        upload.finish("data/packs/p").unwrap();
        assert_eq!(store.list("data/packs").unwrap(), [StoredFile { name: "data/packs/p".into(), size: 4 }]);
        assert!(fs::read_dir(store.root().join(UPLOADS)).unwrap().next().is_none());
    }
}
