//! The names in a folder, all at once: one arena for the bytes and a few numbers a message, for a folder may hold a million.

use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher as _;

use super::names;
use super::tree::Trouble;

/// Marks a GUID that is kept as a number. No GUID in a list begins with it: a line cannot have a line end in it.
const HEX: u8 = b'\n';
/// A folder that has not changed for so long is taken to be at rest.
const AT_REST: Duration = Duration::from_secs(2);

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sub {
    Cur,
    New,
    Tmp,
}

impl Sub {
    pub(super) fn name(self) -> &'static str {
        match self {
            Sub::Cur => "cur",
            Sub::New => "new",
            Sub::Tmp => "tmp",
        }
    }
}

/// One name. 32 bytes, and its bytes in the arena.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    at: usize,
    len: u16,
    base: u16,
    /// IMAP UID, `u32::MAX` for none.
    pub uid: u32,
    /// Places in `extras`, 0 for none.
    guid: u32,
    keywords: u32,
    pub sub: Sub,
}

/// All names of a folder.
#[derive(Default)]
pub(super) struct Listing {
    names: Vec<u8>,
    /// GUIDs and keyword numbers, each after its length.
    extras: Vec<u8>,
    entries: Vec<Entry>,
    /// Which of the three could not be listed, and why.
    pub troubles: Vec<(Sub, Trouble)>,
}

/// Hidden files and what servers keep beside mail.
fn is_metadata(name: &[u8]) -> bool {
    name.starts_with(b".")
        || [&b"dovecot-"[..], b"dovecot.", b"courierimap", b"maildirsize", b"maildirfolder"].iter().any(|p| name.starts_with(p))
}

impl Listing {
    /// Lists some of the three, sorted by base name.
    pub(super) fn of(dir: &Path, subs: &[Sub]) -> Self {
        let mut listing = Listing::default();
        for &sub in subs {
            if let Err(trouble) = listing.add(dir, sub) {
                listing.troubles.push((sub, trouble));
            }
        }
        let mut entries = std::mem::take(&mut listing.entries);
        entries.sort_unstable_by(|a, b| listing.order(a).cmp(&listing.order(b)));
        listing.entries = entries;
        listing
    }

    /// Lists `new` and `cur`, twice when something may have moved between them meanwhile: a message that goes from one to
    /// the other, or gets other flags, can be missing from a single pass.
    pub(super) fn of_mail(dir: &Path) -> Self {
        const MAIL: [Sub; 2] = [Sub::New, Sub::Cur];
        let changed = |dir: &Path| MAIL.map(|sub| fs::metadata(dir.join(sub.name())).and_then(|m| m.modified()).ok());
        let before = changed(dir);
        let first = Listing::of(dir, &MAIL);
        let after = changed(dir);
        let now = SystemTime::now();
        // A time in the future says nothing.
        let rests = |t: &SystemTime| now.duration_since(*t).is_ok_and(|age| age > AT_REST);
        if before == after && after.iter().flatten().all(rests) {
            return first;
        }
        let mut second = Listing::of(dir, &MAIL);
        let gone: Vec<Entry> = first.entries.iter().filter(|e| second.find(first.base(e)).is_empty()).copied().collect();
        for entry in gone {
            second.push(first.name(&entry), entry.sub);
        }
        let mut entries = std::mem::take(&mut second.entries);
        entries.sort_unstable_by(|a, b| second.order(a).cmp(&second.order(b)));
        second.entries = entries;
        second
    }

    fn add(&mut self, dir: &Path, sub: Sub) -> Result<(), Trouble> {
        let path = dir.join(sub.name());
        let cannot = |e: &io::Error| Trouble::failed("the folder cannot be listed", e);
        match fs::symlink_metadata(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(cannot(&e)),
            Ok(m) if m.is_symlink() => return Err(Trouble::skipped("link in the place of a mail folder", "")),
            Ok(m) if !m.is_dir() => return Err(Trouble::skipped("not a folder", "")),
            Ok(_) => {}
        }
        for entry in fs::read_dir(&path).map_err(|e| cannot(&e))? {
            let name = entry.map_err(|e| cannot(&e))?.file_name().into_vec();
            if !is_metadata(&name) {
                self.push(&name, sub);
            }
        }
        Ok(())
    }

    fn push(&mut self, name: &[u8], sub: Sub) {
        // No file system has names that long; the file could not be opened by the cut name and would be reported.
        let len = u16::try_from(name.len()).unwrap_or(u16::MAX);
        let name = name.get(..usize::from(len)).unwrap_or(name);
        let base = u16::try_from(names::base_len(name)).unwrap_or(len);
        self.entries.push(Entry { at: self.names.len(), len, base, uid: u32::MAX, guid: 0, keywords: 0, sub });
        self.names.extend_from_slice(name);
    }

    /// Of names with the same base the one in `cur` comes first, then the one that says most.
    fn order<'a>(&'a self, entry: &Entry) -> (&'a [u8], Sub, std::cmp::Reverse<u16>, &'a [u8]) {
        (self.base(entry), entry.sub, std::cmp::Reverse(entry.len), self.name(entry))
    }

    pub(super) fn name(&self, entry: &Entry) -> &[u8] {
        self.names.get(entry.at..entry.at.saturating_add(usize::from(entry.len))).unwrap_or_default()
    }

    pub(super) fn base(&self, entry: &Entry) -> &[u8] {
        self.names.get(entry.at..entry.at.saturating_add(usize::from(entry.base))).unwrap_or_default()
    }

    pub(super) fn path(&self, dir: &Path, entry: &Entry) -> PathBuf {
        dir.join(entry.sub.name()).join(std::ffi::OsStr::from_bytes(self.name(entry)))
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries of a base name, while the listing is sorted by base name.
    pub(super) fn find(&self, base: &[u8]) -> &[Entry] {
        let start = self.entries.partition_point(|e| self.base(e) < base);
        let rest = self.entries.get(start..).unwrap_or_default();
        let count = rest.iter().take_while(|e| self.base(e) == base).count();
        rest.get(..count).unwrap_or_default()
    }

    fn extra(&self, at: u32) -> &[u8] {
        let Ok(at) = usize::try_from(at) else { return &[] };
        let Some((&len, rest)) = self.extras.get(at..).and_then(<[u8]>::split_first) else { return &[] };
        rest.get(..usize::from(len)).unwrap_or_default()
    }

    fn add_extra(&mut self, bytes: &[u8]) -> u32 {
        if self.extras.is_empty() {
            self.extras.push(0); // place 0 means none
        }
        match (u32::try_from(self.extras.len()), u8::try_from(bytes.len())) {
            (Ok(at), Ok(len)) if len > 0 => {
                self.extras.push(len);
                self.extras.extend_from_slice(bytes);
                at
            }
            _ => 0,
        }
    }

    /// Keeps a GUID; the usual 32 hex digits as the 16 bytes that they stand for, after a mark.
    fn add_guid(&mut self, guid: &[u8]) -> u32 {
        let text = std::str::from_utf8(guid).unwrap_or_default();
        match u128::from_str_radix(text, 16) {
            Ok(number) if format!("{number:032x}") == text => {
                let mut bytes = [HEX; 17];
                if let Some(rest) = bytes.get_mut(1..) {
                    rest.copy_from_slice(&number.to_be_bytes());
                }
                self.add_extra(&bytes)
            }
            _ => self.add_extra(guid),
        }
    }

    pub(super) fn guid(&self, entry: &Entry) -> Option<String> {
        let bytes = self.extra(entry.guid);
        match bytes.split_first() {
            _ if entry.guid == 0 => None,
            Some((&HEX, rest)) if rest.len() == 16 => {
                let number = rest.iter().fold(0u128, |n, b| n << 8 | u128::from(*b));
                Some(format!("{number:032x}"))
            }
            _ => Some(String::from_utf8_lossy(bytes).into_owned()),
        }
    }

    pub(super) fn courier_keywords(&self, entry: &Entry) -> &[u8] {
        if entry.keywords > 0 { self.extra(entry.keywords) } else { &[] }
    }

    /// Finds entries by base name while `f` runs and gives them UIDs, GUIDs and keywords.
    pub(super) fn assign(&mut self, f: impl FnOnce(&mut Assign<'_>)) {
        let hasher = DefaultHashBuilder::default();
        let mut table: HashTable<u32> = HashTable::with_capacity(self.entries.len());
        let mut last: Option<&[u8]> = None;
        // More than four billion names would not fit into memory anyway.
        for (i, entry) in (0u32..).zip(&self.entries) {
            let base = self.base(entry);
            if last != Some(base) {
                let hash = |at: &u32| self.entries.get(*at as usize).map_or(0, |e| hasher.hash_one(self.base(e)));
                table.insert_unique(hasher.hash_one(base), i, hash);
            }
            last = Some(base);
        }
        f(&mut Assign { listing: self, table, hasher });
    }

    /// Puts the entries in the order in which they are handed on: by UID, those without last, then by base name.
    pub(super) fn sort_by_uid(&mut self) {
        let mut entries = std::mem::take(&mut self.entries);
        entries.sort_unstable_by(|a, b| a.uid.cmp(&b.uid).then_with(|| self.order(a).cmp(&self.order(b))));
        self.entries = entries;
    }
}

/// See [`Listing::assign`].
pub(super) struct Assign<'a> {
    listing: &'a mut Listing,
    /// First of the entries of each base name.
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Assign<'_> {
    /// Calls `f` with all entries of the message that is called `name`, with or without flags.
    fn each(&mut self, name: &[u8], f: impl Fn(&mut Entry)) {
        let base = name.get(..names::base_len(name)).unwrap_or(name);
        let listing = &mut *self.listing;
        let same = |i: &u32| listing.entries.get(*i as usize).is_some_and(|e| listing.base(e) == base);
        let Some(&start) = self.table.find(self.hasher.hash_one(base), same) else { return };
        let start = start as usize;
        let count = listing.entries.get(start..).unwrap_or_default().iter().take_while(|e| listing.base(e) == base).count();
        for entry in listing.entries.iter_mut().skip(start).take(count) {
            f(entry);
        }
    }

    fn knows(&self, name: &[u8]) -> bool {
        let base = name.get(..names::base_len(name)).unwrap_or(name);
        let same = |i: &u32| self.listing.entries.get(*i as usize).is_some_and(|e| self.listing.base(e) == base);
        self.table.find(self.hasher.hash_one(base), same).is_some()
    }

    /// A UID, and perhaps a GUID. A name that is listed twice keeps the higher UID, which a server gave it last.
    pub(super) fn uid(&mut self, name: &[u8], uid: u32, guid: Option<&[u8]>) {
        let guid = guid.filter(|_| self.knows(name)).map_or(0, |g| self.listing.add_guid(g));
        self.each(name, |entry| {
            if entry.uid == u32::MAX || uid > entry.uid {
                (entry.uid, entry.guid) = (uid, guid);
            }
        });
    }

    /// Courier's keyword numbers.
    pub(super) fn keywords(&mut self, name: &[u8], numbers: &[u8]) {
        let at = if self.knows(name) { self.listing.add_extra(numbers) } else { 0 };
        self.each(name, |entry| entry.keywords = at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maildir(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        dir
    }

    #[test]
    fn names_cost_a_few_bytes_each() {
        assert!(size_of::<Entry>() <= 32);
    }

    #[test]
    fn messages_come_by_uid_and_those_without_last() {
        let dir = maildir(&["cur/c:2,S", "cur/a:2,", "new/b", "cur/.hidden", "cur/dovecot-uidlist.lock", "new/d"]);
        let mut listing = Listing::of_mail(dir.path());
        listing.assign(|by_name| {
            by_name.uid(b"c", 1, Some(b"guid"));
            by_name.uid(b"b:2,S", 7, None);
            by_name.uid(b"b", 2, None);
            by_name.uid(b"unknown", 3, Some(b"x"));
            by_name.keywords(b"b", &[4]);
        });
        listing.sort_by_uid();
        let got: Vec<_> = listing.entries().iter().map(|e| (listing.name(e), e.uid)).collect();
        assert_eq!(got, [(&b"c:2,S"[..], 1), (b"b", 7), (b"a:2,", u32::MAX), (b"d", u32::MAX)]);
        assert_eq!(listing.guid(&listing.entries()[0]).as_deref(), Some("guid"));
        for guid in
            ["00ff5c1d28365036b8321000083ecc37", "FF5c1d28365036b8321000083ecc3700", "+0ff5c1d28365036b8321000083ecc37", "é"]
        {
            listing.assign(|by_name| by_name.uid(b"c", 9, Some(guid.as_bytes())));
            listing.entries[0].uid = 1;
            assert_eq!(listing.guid(&listing.entries()[0]).as_deref(), Some(guid));
        }
        assert_eq!(listing.courier_keywords(&listing.entries()[1]), [4]);
    }

    #[test]
    fn a_base_name_finds_all_its_files() {
        let dir = maildir(&["cur/a:2,", "cur/a:2,S", "new/a", "cur/ab:2,"]);
        let listing = Listing::of(dir.path(), &[Sub::New, Sub::Cur]);
        let found: Vec<_> = listing.find(b"a").iter().map(|e| (e.sub, listing.name(e))).collect();
        assert_eq!(found, [(Sub::Cur, &b"a:2,S"[..]), (Sub::Cur, b"a:2,"), (Sub::New, b"a")]);
        assert!(listing.find(b"b").is_empty());
    }
}
