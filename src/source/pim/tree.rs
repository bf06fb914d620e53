//! Which files of a tree are calendars and address books, and which of them make up one collection.
//!
//! A folder is a store if more of its files are called like calendars and cards than like anything else. In it each file is a
//! collection of its own if one of them holds several objects, or if they give themselves different names; else each is an
//! object, and the folder is the collection, as in a vdir and with CalDAV servers.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::about::{About, SIDE_FILES, radicale_kind};
use super::{calendar, cards};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionHead, CollectionKind, CollectionPath};
use crate::source::disk;

/// Folders lie at most so deep.
const MAX_DEPTH: usize = 64;
/// Files of a folder that are looked at to see whether they are collections, and bytes of each.
const GLANCE_FILES: usize = 1000;
const GLANCE_BYTES: u64 = 64 << 10;
/// Files that often lie beside cards and do not speak against a store.
const PICTURES: [&str; 4] = ["jpg", "jpeg", "png", "gif"];

/// What a file is by its name.
pub(super) fn kind_of(name: &OsStr) -> Option<CollectionKind> {
    let extension = Path::new(name).extension()?.to_str()?.to_ascii_lowercase();
    match extension.as_str() {
        "ics" | "ical" | "icalendar" | "ifb" | "vcs" => Some(CollectionKind::Calendar),
        "vcf" | "vcard" => Some(CollectionKind::AddressBook),
        _ => None,
    }
}

/// The files of a folder by what they are.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub calendars: Vec<OsString>,
    pub cards: Vec<OsString>,
    /// Files beside the objects that describe the collection.
    pub sides: Vec<OsString>,
    others: usize,
}

impl Listing {
    /// Lists a folder; links and whatever is no file belong to no store.
    pub fn of(dir: &Path) -> std::io::Result<Self> {
        let mut listing = Listing::default();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if !entry.file_type()?.is_file() {
                continue;
            }
            let hidden = name.as_encoded_bytes().starts_with(b".");
            match kind_of(&name) {
                _ if SIDE_FILES.iter().any(|side| name == *side) => listing.sides.push(name),
                _ if hidden => {}
                Some(CollectionKind::Calendar) => listing.calendars.push(name),
                Some(_) => listing.cards.push(name),
                None if is_picture(&name) => {}
                None => listing.others += 1,
            }
        }
        listing.calendars.sort_unstable();
        listing.cards.sort_unstable();
        Ok(listing)
    }

    /// Are most of its files of a kind that is read here?
    pub fn is_store(&self) -> bool {
        let known = self.calendars.len() + self.cards.len();
        known > 0 && known >= self.others
    }

    fn of_kind(&self, kind: CollectionKind) -> &[OsString] {
        if kind == CollectionKind::Calendar { &self.calendars } else { &self.cards }
    }
}

fn is_picture(name: &OsStr) -> bool {
    Path::new(name).extension().is_some_and(|e| PICTURES.iter().any(|p| e.eq_ignore_ascii_case(p)))
}

/// Is the folder by the files in it a collection, and not what is around collections?
pub(crate) fn is_collection(dir: &Path) -> bool {
    radicale_kind(dir).is_some() || dir.join("displayname").is_file() && Listing::of(dir).is_ok_and(|l| l.is_store())
}

/// A collection and where it lies.
#[derive(Debug)]
pub(super) struct Book {
    pub head: CollectionHead,
    pub dir: PathBuf,
    /// The only file of the folder that belongs to it; else all of its kind do.
    pub only: Option<OsString>,
}

impl Book {
    /// Is a file one of the collection's, or one of those beside its objects?
    pub fn covers(&self, path: &Path) -> bool {
        let Some(name) = path.file_name().filter(|_| path.parent() == Some(self.dir.as_path())) else { return false };
        let of_kind = || kind_of(name) == Some(self.head.kind) && !is_hidden(Path::new(name));
        let named = match &self.only {
            Some(only) => name == only,
            None => SIDE_FILES.iter().any(|side| name == *side) || of_kind(),
        };
        named && fs::symlink_metadata(path).is_ok_and(|m| m.is_file())
    }
}

/// The collections of a store.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub books: Vec<Book>,
    taken: HashSet<(CollectionKind, CollectionPath)>,
}

impl Tree {
    /// A single file.
    pub fn of_file(file: &Path) -> Self {
        let (mut tree, dir) = (Tree::default(), file.parent().unwrap_or(file));
        let name = file.file_name().unwrap_or(file.as_os_str());
        let kind = kind_of(name).unwrap_or(CollectionKind::Calendar);
        tree.file(dir, dir, name, kind, Vec::new());
        tree
    }

    /// A folder and all below it; `every` file called so is taken, also among many others.
    pub fn of_folder(root: &Path, every: bool) -> Result<Self> {
        fs::read_dir(root).map_err(|e| Error::io(Kind::Source, "cannot list the folder", root, e))?;
        let mut tree = Tree::default();
        let visible = |e: &walkdir::DirEntry| e.depth() == 0 || e.file_type().is_dir() && !is_hidden(Path::new(e.file_name()));
        // A folder that cannot be listed holds nothing that is known here, and is left to others.
        for dir in WalkDir::new(root).max_depth(MAX_DEPTH).sort_by_file_name().into_iter().filter_entry(visible).flatten() {
            tree.folder(root, dir.path(), every);
        }
        tree.books.sort_by(|a, b| (&a.head.path, a.head.kind).cmp(&(&b.head.path, b.head.kind)));
        Ok(tree)
    }

    /// Takes what belongs to it from a folder.
    fn folder(&mut self, root: &Path, dir: &Path, every: bool) {
        let listing = Listing::of(dir).unwrap_or_default();
        let empty = radicale_kind(dir);
        if !(listing.is_store() || every && listing.calendars.len() + listing.cards.len() > 0 || empty.is_some()) {
            return;
        }
        let relative = dir.strip_prefix(root).unwrap_or(dir);
        let segments: Vec<String> = relative.iter().map(|s| s.to_string_lossy().into_owned()).collect();
        for kind in [CollectionKind::Calendar, CollectionKind::AddressBook] {
            let names = listing.of_kind(kind);
            if are_collections(dir, names, kind, &listing, segments.is_empty()) {
                for name in names {
                    // As Google names them: a folder and in it a file of the same name.
                    let repeats = names.len() == 1 && segments.last().is_some_and(|s| *s == stem_of(name));
                    let above = if repeats { segments.split_last().map_or(&[][..], |s| s.1) } else { &segments[..] };
                    self.file(root, dir, name, kind, above.to_vec());
                }
            } else if !names.is_empty() || empty == Some(kind) {
                let path = if segments.is_empty() { vec![crate::source::name_of(dir)] } else { segments.clone() };
                let place = disk::place_of(root, dir).path;
                let mut head = self.head(path, kind, None, if place.is_empty() { "." } else { &place });
                About::of_folder(dir).tell(&mut head);
                self.books.push(Book { head, dir: dir.to_owned(), only: None });
            }
        }
    }

    fn file(&mut self, root: &Path, dir: &Path, name: &OsStr, kind: CollectionKind, mut above: Vec<String>) {
        above.push(stem_of(name));
        let path = dir.join(name);
        let mut head = self.head(above, kind, Some(name), &disk::place_of(root, &path).path);
        if kind == CollectionKind::Calendar {
            About::of_file(&path).tell(&mut head);
        }
        self.books.push(Book { head, dir: dir.to_owned(), only: Some(name.to_owned()) });
    }

    /// A collection under a path that no other of its kind has.
    fn head(&mut self, path: Vec<String>, kind: CollectionKind, name: Option<&OsStr>, place: &str) -> CollectionHead {
        let mut path = CollectionPath(path);
        let last = name.map_or_else(|| path.0.last().cloned().unwrap_or_default(), |n| n.to_string_lossy().into_owned());
        let mut tries = 1u32;
        while !self.taken.insert((kind, path.clone())) {
            if let Some(segment) = path.0.last_mut() {
                *segment = if tries == 1 { last.clone() } else { format!("{last} ({tries})") };
            }
            tries = tries.saturating_add(1);
        }
        CollectionHead::new(path, kind, place)
    }
}

fn is_hidden(path: &Path) -> bool {
    path.iter().any(|segment| segment.as_encoded_bytes().starts_with(b"."))
}

fn stem_of(name: &OsStr) -> String {
    Path::new(name).file_stem().unwrap_or(name).to_string_lossy().into_owned()
}

/// Is each of these files a collection, and not an object of one?
fn are_collections(dir: &Path, names: &[OsString], kind: CollectionKind, listing: &Listing, at_root: bool) -> bool {
    if !listing.sides.is_empty() || names.is_empty() {
        return false;
    }
    let mut titles = BTreeSet::new();
    for name in names.iter().take(GLANCE_FILES) {
        let path = dir.join(name);
        if holds_several(&path, kind) {
            return true;
        }
        if kind == CollectionKind::Calendar {
            titles.extend(About::of_file(&path).name);
        }
    }
    titles.len() > 1 || names.len() == 1 && (at_root || !titles.is_empty())
}

/// Does the start of a file show several objects?
fn holds_several(path: &Path, kind: CollectionKind) -> bool {
    let Ok((file, _)) = disk::open_regular(path) else { return false };
    let start = file.take(GLANCE_BYTES);
    if kind == CollectionKind::Calendar {
        let index = calendar::Index::of(start).unwrap_or_default();
        let objects = || index.calendars.iter().flat_map(|c| &c.objects);
        let uids: HashSet<_> = objects().filter_map(|o| o.uid.as_ref()).collect();
        // The last one may only be cut.
        uids.len() + objects().filter(|o| o.uid.is_none() && o.is_closed()).count() > 1
    } else {
        cards::Index::of(start).unwrap_or_default().cards.len() > 1
    }
}
