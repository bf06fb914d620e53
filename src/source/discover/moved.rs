//! A reader seen from the account's folder: places start there, and collections may lie under another name.

use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::error::{Error, Kind, Result};
use crate::model::{CollectionHead, CollectionKind, CollectionPath, Outcome, Place};
use crate::source::{FileStamp, Format, FoundItem, Grown, ItemSink, Reader, disk};

/// A reader whose places are given a prefix, and its collections' paths too where they would clash with others.
pub(super) struct Moved {
    inner: Box<dyn Reader>,
    prefix: PathBuf,
    /// Heads as seen from outside and as the reader knows them.
    heads: Vec<(CollectionHead, CollectionHead)>,
}

impl Moved {
    pub(super) fn new(inner: Box<dyn Reader>, prefix: PathBuf, under: Option<String>) -> Result<Self> {
        let shown = disk::place_of(Path::new(""), &prefix).path;
        let outside = |head: CollectionHead| {
            let mut moved = head.clone();
            moved.path = Self::path_under(&head, under.as_deref()).1;
            moved.source_path = match head.source_path.as_str() {
                path if shown.is_empty() => path.to_owned(),
                "" | "." => shown.clone(),
                path => format!("{shown}/{path}"),
            };
            (moved, head)
        };
        let heads = inner.collections()?.into_iter().map(outside).collect();
        Ok(Moved { inner, prefix, heads })
    }

    /// What must be different for any two collections of an account.
    pub(super) fn path_under(head: &CollectionHead, under: Option<&str>) -> (CollectionKind, CollectionPath) {
        let segments = under.map(str::to_owned).into_iter().chain(head.path.0.iter().cloned());
        (head.kind, CollectionPath(segments.collect()))
    }

    fn head(&self, head: &CollectionHead) -> Result<&CollectionHead> {
        let known = self.heads.iter().find(|(outside, _)| outside.path == head.path && outside.kind == head.kind);
        known
            .map(|(_, inside)| inside)
            .ok_or_else(|| Error::new(Kind::Internal, "no such collection in this store").with("collection", &head.path))
    }
}

/// The place with a prefix, lossless also when it is not UTF-8.
fn moved(prefix: &Path, place: Place) -> Place {
    let bytes = match &place.path_bytes {
        Some(base64) => STANDARD.decode(base64).unwrap_or_else(|_| place.path.clone().into_bytes()),
        None => place.path.clone().into_bytes(),
    };
    let mut whole = prefix.as_os_str().as_bytes().to_vec();
    if !whole.is_empty() && !bytes.is_empty() {
        whole.push(b'/');
    }
    whole.extend_from_slice(&bytes);
    let whole = PathBuf::from(std::ffi::OsString::from_vec(whole));
    let Place { path, path_bytes, .. } = disk::place_of(Path::new(""), &whole);
    Place { path, path_bytes, ..place }
}

impl Reader for Moved {
    fn format(&self) -> Format {
        self.inner.format()
    }

    fn root(&self) -> &Path {
        self.inner.root()
    }

    fn covers(&self, path: &Path) -> bool {
        self.inner.covers(path)
    }

    fn collections(&self) -> Result<Vec<CollectionHead>> {
        Ok(self.heads.iter().map(|(outside, _)| outside.clone()).collect())
    }

    fn stamps(&self, head: &CollectionHead) -> Result<Vec<(String, FileStamp)>> {
        self.inner.stamps(self.head(head)?)
    }

    fn count(&self, head: &CollectionHead) -> Result<u64> {
        self.inner.count(self.head(head)?)
    }

    fn read(&self, head: &CollectionHead, grown: Option<Grown>, sink: &mut dyn ItemSink) -> Result<()> {
        self.inner.read(self.head(head)?, grown, &mut Prefixing { prefix: &self.prefix, sink })
    }
}

struct Prefixing<'a> {
    prefix: &'a Path,
    sink: &'a mut dyn ItemSink,
}

impl ItemSink for Prefixing<'_> {
    fn item(&mut self, mut item: FoundItem) -> Result<()> {
        item.place = moved(self.prefix, item.place);
        self.sink.item(item)
    }

    fn exception(&mut self, place: Place, outcome: Outcome, reason: &str, detail: String) -> Result<()> {
        self.sink.exception(moved(self.prefix, place), outcome, reason, detail)
    }

    fn original(&mut self, place: Place, path: PathBuf) -> Result<()> {
        self.sink.original(moved(self.prefix, place), path)
    }

    fn read_up_to(&mut self, offset: u64, xxh3: u128) {
        self.sink.read_up_to(offset, xxh3);
    }

    fn resumed(&mut self) -> Result<()> {
        self.sink.resumed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_place_keeps_its_bytes_and_numbers() {
        let place = Place { uid: Some(7), ..disk::place_of(Path::new("r"), Path::new("r/cur/a")) };
        assert_eq!(moved(Path::new("Maildir"), place.clone()), Place { path: "Maildir/cur/a".into(), ..place });
        assert_eq!(moved(Path::new("x"), Place::file("")), Place::file("x"));
        assert_eq!(moved(Path::new(""), Place::file("y")), Place::file("y"));
        let odd = std::ffi::OsString::from_vec(b"caf\xe9".to_vec());
        let place = moved(Path::new("d"), disk::place_of(Path::new(""), Path::new(&odd)));
        assert_eq!((place.path.as_str(), place.path_bytes), ("d/caf\u{fffd}", Some(STANDARD.encode(b"d/caf\xe9"))));
        let place = moved(Path::new(&odd), Place::file("a"));
        assert_eq!(place.path_bytes, Some(STANDARD.encode(b"caf\xe9/a")));
    }
}
