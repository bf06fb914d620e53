//! Plain files with path, time and mode: whatever lies in an account and is of no other format.
//!
//! A folder is one collection with everything below it; the files at the top of an account are another ([`open_loose`]).
//! Empty folders are not kept.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use walkdir::WalkDir;

use super::{Coding, Content, Evidence, FileStamp, Format, FoundItem, Grown, ItemSink, ItemState, Reader, disk};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionHead, CollectionKind, CollectionPath, DateRule, InternalDate, Outcome};

/// Says no: anything could be plain files, so a path is never taken for them unless the person says so.
///
/// # Errors
/// None; the signature is that of all formats.
pub fn detect(_: &Path) -> Result<Option<Evidence>> {
    Ok(None)
}

/// Opens the folder at `root`.
///
/// # Errors
/// `Kind::Source` when the path cannot be read.
pub fn open(root: &Path, format: Format) -> Result<Box<dyn Reader>> {
    let metadata = fs::metadata(root).map_err(|e| Error::io(Kind::Source, "cannot look at the path", root, e))?;
    if metadata.is_dir() {
        return Ok(Box::new(Files { root: root.to_owned(), base: root.to_owned(), format, loose: None }));
    }
    let (Some(dir), Some(name)) = (root.parent(), root.file_name()) else {
        return Err(Error::source("the path names no file").with("path", root.display()));
    };
    Ok(Box::new(Files { root: root.to_owned(), base: dir.to_owned(), format, loose: Some(vec![name.into()]) }))
}

/// Opens some files below a folder, named by their paths from there.
pub fn open_loose(dir: &Path, mut names: Vec<PathBuf>) -> Box<dyn Reader> {
    names.sort_unstable();
    Box::new(Files { root: dir.to_owned(), base: dir.to_owned(), format: Format::Files, loose: Some(names) })
}

struct Files {
    root: PathBuf,
    /// What places are relative to.
    base: PathBuf,
    format: Format,
    /// Only these files below `base`, sorted.
    loose: Option<Vec<PathBuf>>,
}

impl Files {
    /// Every path that is no folder, in a fixed order, or why there is none.
    fn each(&self, f: &mut dyn FnMut(PathBuf, std::io::Result<fs::Metadata>) -> Result<()>) -> Result<()> {
        if let Some(names) = &self.loose {
            for path in names.iter().map(|name| self.base.join(name)) {
                let metadata = fs::symlink_metadata(&path);
                f(path, metadata)?;
            }
            return Ok(());
        }
        for entry in WalkDir::new(&self.root).min_depth(1).sort_by_file_name() {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => {}
                Ok(entry) => {
                    let metadata = fs::symlink_metadata(entry.path());
                    f(entry.into_path(), metadata)?;
                }
                Err(e) => {
                    let path = e.path().unwrap_or(&self.root).to_owned();
                    f(path, Err(e.into()))?;
                }
            }
        }
        Ok(())
    }
}

impl Reader for Files {
    fn format(&self) -> Format {
        self.format
    }

    fn root(&self) -> &Path {
        &self.root
    }

    fn collections(&self) -> Result<Vec<CollectionHead>> {
        let path = CollectionPath::new([super::name_of(&self.base)]);
        Ok(vec![CollectionHead::new(path, CollectionKind::Files, ".")])
    }

    fn stamps(&self, _: &CollectionHead) -> Result<Vec<(String, FileStamp)>> {
        let mut stamps = Vec::new();
        self.each(&mut |path, metadata| {
            let name = disk::stamp_name(path.strip_prefix(&self.base).unwrap_or(&path).as_os_str());
            stamps.push((name, metadata.as_ref().map(FileStamp::of).unwrap_or_default()));
            Ok(())
        })?;
        stamps.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(stamps)
    }

    fn count(&self, _: &CollectionHead) -> Result<u64> {
        if let Some(names) = &self.loose {
            return Ok(names.len() as u64);
        }
        let mut found = 0u64;
        let mut dirs = vec![self.root.clone()];
        while let Some(dir) = dirs.pop() {
            let Ok(entries) = fs::read_dir(&dir) else {
                found += 1;
                continue;
            };
            for entry in entries {
                match entry {
                    Ok(entry) if entry.file_type().is_ok_and(|t| t.is_dir()) => dirs.push(entry.path()),
                    _ => found += 1,
                }
            }
        }
        Ok(found)
    }

    fn read(&self, _: &CollectionHead, _: Option<Grown>, sink: &mut dyn ItemSink) -> Result<()> {
        self.each(&mut |path, metadata| {
            let place = disk::place_of(&self.base, &path);
            match metadata {
                Err(e) => sink.exception(place, Outcome::Failed, "cannot be read", e.to_string()),
                Ok(m) if m.is_symlink() => {
                    let to = fs::read_link(&path).map(|to| crate::model::printable(&to.to_string_lossy())).unwrap_or_default();
                    sink.exception(place, Outcome::Skipped, "link, not followed", format!("leads to {to}"))
                }
                Ok(m) if !m.is_file() => sink.exception(place, Outcome::Skipped, "not a regular file", String::new()),
                Ok(m) => {
                    let stamp = FileStamp::of(&m);
                    let at = Timestamp::from_second(stamp.mtime_s()).ok();
                    let date = at.map(|at| InternalDate { at, rule: DateRule::Mtime });
                    let state = ItemState { date, mode: Some(m.permissions().mode() & 0o7777), ..ItemState::default() };
                    sink.item(FoundItem { place, content: Content::File { path, stamp }, coding: Coding::Plain, state })
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::sinks::{read_all, tree_of};
    use super::*;

    #[test]
    fn every_file_is_kept_with_its_mode_and_links_are_not_followed() {
        let dir = tree_of(&["b", "a/c", ".hidden", "empty/"]);
        std::os::unix::fs::symlink("/", dir.path().join("a/root")).unwrap();
        fs::set_permissions(dir.path().join("b"), fs::Permissions::from_mode(0o640)).unwrap();
        let reader = open(dir.path(), Format::Files).unwrap();
        let (heads, kept) = read_all(reader.as_ref());
        assert_eq!(heads, [dir.path().file_name().unwrap().to_str().unwrap()]);
        assert_eq!(kept.places(), [".hidden", "a/c", "b"]);
        assert_eq!(kept.reasons(), ["link, not followed"]);
        assert_eq!(kept.items[2].state.mode, Some(0o640));
        assert_eq!(reader.stamps(&reader.collections().unwrap()[0]).unwrap().len(), 4);
    }

    #[test]
    fn loose_files_leave_the_rest_alone() {
        let dir = tree_of(&["b", "a", "sub/c"]);
        let (_, kept) = read_all(open_loose(dir.path(), vec!["b".into(), "gone".into()]).as_ref());
        assert_eq!((kept.places(), kept.reasons()), (vec!["b".to_owned()], vec!["cannot be read".to_owned()]));
    }

    #[test]
    fn a_socket_is_not_a_file() {
        let dir = tree_of(&["a"]);
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).unwrap();
        let (_, kept) = read_all(open(dir.path(), Format::Files).unwrap().as_ref());
        assert_eq!((kept.places().len(), kept.reasons()), (1, vec!["not a regular file".to_owned()]));
    }
}
