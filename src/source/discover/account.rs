//! One account: all stores in its folder, and the rest as plain files, so that nothing in it is lost.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::class::{self, Class, Looker, Unclear};
use super::moved::Moved;
use super::{AccountSource, Leftover, is_hidden, leave, open};
use crate::error::{Error, Kind, Result};
use crate::source::{Format, Reader, eml, files, maildir, mbox, name_of, pim};

/// An account in a format that the person named.
pub(super) fn forced(
    look: &Looker,
    account: String,
    path: &Path,
    format: Format,
    leftovers: &mut Vec<Leftover>,
) -> Result<AccountSource> {
    if format == Format::Takeout && path.is_dir() {
        return mixed(look, account, path, path, leftovers);
    }
    let reader = match format {
        Format::Eml => eml::open_every(path)?,
        Format::Pim => pim::open_every(path)?,
        _ => open(path, format)?,
    };
    if reader.collections()?.is_empty() {
        return Err(Error::source(format!("nothing of the format {format} here")).with("path", path.display()));
    }
    let mut parts = Parts::of(look, path, path, leftovers);
    parts.readers.push(reader);
    parts.finish(account)
}

/// An account that the person named, in whatever format.
pub(super) fn named(look: &Looker, account: String, path: &Path, leftovers: &mut Vec<Leftover>) -> Result<AccountSource> {
    let found = match look.class(path)? {
        Class::Profile => return Err(Unclear::several(path).error()),
        // What looks like several accounts is one if the person says so.
        Class::Tree | Class::Unclear(_) | Class::Accounts => tree(look, account, path, path, leftovers)?,
        Class::Account | Class::Nothing => mixed(look, account, path, path, leftovers)?,
    };
    if found.readers.is_empty() {
        return Err(Error::source("there is nothing here").with("path", path.display()));
    }
    Ok(found)
}

/// An account of which it is known that it is only one, so stores side by side in it are its folders; leftovers are relative
/// to `given`.
pub(super) fn tree(
    look: &Looker,
    account: String,
    path: &Path,
    given: &Path,
    leftovers: &mut Vec<Leftover>,
) -> Result<AccountSource> {
    let mut parts = Parts::of(look, path, given, leftovers);
    for format in one_of_each_kind(look.formats_within(path)?, false) {
        parts.store(path, format);
    }
    parts.finish(account)
}

/// An account and everything in its folder; leftovers are relative to `given`.
pub(super) fn mixed(
    look: &Looker,
    account: String,
    path: &Path,
    given: &Path,
    leftovers: &mut Vec<Leftover>,
) -> Result<AccountSource> {
    let mut parts = Parts::of(look, path, given, leftovers);
    if path.is_file() {
        for evidence in look.stores(path)? {
            parts.store(path, evidence.format);
        }
        if parts.readers.is_empty() {
            parts.store(path, Format::Files);
        }
    } else {
        parts.folder(path, class::is_takeout_root(path))?;
    }
    parts.finish(account)
}

/// One server's folder in a profile of Thunderbird.
pub(super) fn thunderbird(
    look: &Looker,
    account: String,
    path: &Path,
    given: &Path,
    leftovers: &mut Vec<Leftover>,
) -> Result<AccountSource> {
    let mut parts = Parts::of(look, path, given, leftovers);
    parts.store(path, Format::Thunderbird);
    parts.finish(account)
}

struct Parts<'a> {
    look: &'a Looker,
    /// The account's folder, or its file.
    path: &'a Path,
    /// What leftovers are relative to.
    given: &'a Path,
    readers: Vec<Box<dyn Reader>>,
    leftovers: &'a mut Vec<Leftover>,
}

/// What no reader answers for.
#[derive(Default)]
struct Rest {
    /// Folders with nothing in them that a reader answers for.
    folders: Vec<PathBuf>,
    /// Files beside what readers answer for.
    files: Vec<PathBuf>,
}

impl<'a> Parts<'a> {
    fn of(look: &'a Looker, path: &'a Path, given: &'a Path, leftovers: &'a mut Vec<Leftover>) -> Self {
        Parts { look, path, given, readers: Vec::new(), leftovers }
    }

    /// A folder of the account: what it is itself, then the stores in it.
    fn folder(&mut self, dir: &Path, takeout: bool) -> Result<()> {
        let mut here: BTreeSet<Format> = BTreeSet::new();
        if !takeout {
            here.extend(self.look.stores(dir)?.into_iter().map(|e| e.format));
        }
        let mut of_maildir = HashSet::new();
        for &format in &here {
            self.store(dir, format);
            if kind_of(format) == Format::MaildirFs
                && let Some(reader) = self.readers.last()
            {
                of_maildir = maildir_names(reader.as_ref())?;
            }
        }
        let entries = class::entries(dir).map_err(|e| Error::io(Kind::Source, "cannot list the folder", dir, e))?;
        for (name, kind) in entries {
            if kind.is_dir() && !of_maildir.contains(name.to_string_lossy().as_ref()) {
                self.subfolder(&dir.join(&name), &name, takeout, &here)?;
            }
        }
        Ok(())
    }

    /// Opens a store that is part of the account; if that fails the others go on.
    fn store(&mut self, path: &Path, format: Format) {
        let taken = |dir: &Path| self.covers(dir);
        let opened = match format {
            Format::Eml => eml::open_beside(path, format, &taken),
            Format::Mbox | Format::Thunderbird | Format::Takeout => mbox::open_beside(path, format, &taken),
            _ => open(path, format),
        };
        match opened {
            Ok(reader) => self.readers.push(reader),
            Err(e) => self.leftovers.push(Leftover::failed(self.given, path, "the store cannot be opened", &e)),
        }
    }

    fn subfolder(&mut self, child: &Path, name: &OsStr, takeout: bool, here: &BTreeSet<Format>) -> Result<()> {
        if class::is_takeout_root(child) {
            return self.folder(child, true);
        }
        if is_hidden(name) && !name.eq_ignore_ascii_case(".maildir") {
            return Ok(());
        }
        if self.look.stores(child).unwrap_or_default().is_empty() && holds_accounts_store(child) {
            // A whole store of its own further down, not folders of one.
            return self.folder(child, false);
        }
        // These readers go through the whole tree.
        let whole_tree = |f: &Format| matches!(f, Format::Mbox | Format::Thunderbird | Format::Eml | Format::Pim);
        let of_tree = |f: &Format| here.iter().any(|h| whole_tree(h) && kind_of(*h) == kind_of(*f));
        for format in one_of_each_kind(self.look.formats_within(child)?, takeout).into_iter().filter(|f| !of_tree(f)) {
            self.store(child, format);
        }
        Ok(())
    }

    fn covers(&self, path: &Path) -> bool {
        self.readers.iter().any(|reader| reader.covers(path))
    }

    /// Finds what no reader answers for; says whether a reader answers for anything here, and whether there are files.
    fn uncovered(&self, dir: &Path, rest: &mut Rest) -> (bool, bool) {
        let before = (rest.folders.len(), rest.files.len());
        let (mut covered, mut files) = (false, false);
        // A folder that cannot be listed is reported by the reader of plain files.
        let entries = class::entries(dir).inspect_err(|_| files = true).unwrap_or_default();
        for (name, kind) in entries {
            let child = dir.join(name);
            if self.covers(&child) {
                covered = true;
            } else if kind.is_dir() {
                let below = self.uncovered(&child, rest);
                covered |= below.0;
                files |= below.1;
            } else {
                files = true;
                rest.files.push(child);
            }
        }
        if files && !covered && dir != self.path {
            rest.folders.truncate(before.0);
            rest.files.truncate(before.1);
            rest.folders.push(dir.to_owned());
        }
        (covered, files)
    }

    /// Keeps as plain files what no other reader answers for.
    fn rest(&mut self) {
        let mut rest = Rest::default();
        self.uncovered(self.path, &mut rest);
        for folder in rest.folders {
            self.store(&folder, Format::Files);
        }
        let is_link = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink());
        let (links, files): (Vec<PathBuf>, Vec<PathBuf>) = rest.files.into_iter().partition(is_link);
        for link in links {
            leave(self.leftovers, self.given, &link, "link, not followed");
        }
        // They are called after the folder that holds all of them.
        let mut base = files.first().and_then(|file| file.parent()).unwrap_or(self.path).to_owned();
        while !files.iter().all(|file| file.starts_with(&base)) && base.pop() {}
        let names: Vec<PathBuf> = files.iter().filter_map(|f| f.strip_prefix(&base).ok().map(PathBuf::from)).collect();
        if !names.is_empty() {
            self.readers.push(files::open_loose(&base, names));
        }
    }

    /// Makes all places relative to the account, and the names of all collections of a kind different.
    fn finish(mut self, account: String) -> Result<AccountSource> {
        let is_file = self.path.is_file();
        if !is_file {
            self.rest();
        }
        let root = if is_file { self.path.parent().unwrap_or(self.path) } else { self.path };
        let mut taken = HashSet::new();
        let mut readers: Vec<Box<dyn Reader>> = Vec::with_capacity(self.readers.len());
        for reader in self.readers {
            let heads = match reader.collections() {
                Ok(heads) => heads,
                Err(e) => {
                    self.leftovers.push(Leftover::failed(self.given, reader.root(), "the store's folders cannot be listed", &e));
                    continue;
                }
            };
            let mut under: Option<String> = None;
            let mut tries = 1u32;
            while heads.iter().any(|head| taken.contains(&Moved::path_under(head, under.as_deref()))) {
                let name = name_of(reader.root());
                under = Some(if tries == 1 { name } else { format!("{name} ({tries})") });
                tries = tries.saturating_add(1);
            }
            taken.extend(heads.iter().map(|head| Moved::path_under(head, under.as_deref())));
            let base = if reader.root().is_file() { reader.root().parent() } else { Some(reader.root()) };
            let prefix = base.and_then(|b| b.strip_prefix(root).ok()).map(PathBuf::from).unwrap_or_default();
            readers.push(if under.is_none() && prefix.as_os_str().is_empty() {
                reader
            } else {
                Box::new(Moved::new(reader, prefix, under)?)
            });
        }
        Ok(AccountSource { account, root: root.to_owned(), readers })
    }
}

/// What lies at the top of a Maildir and belongs to its reader, as text.
fn maildir_names(reader: &dyn Reader) -> Result<HashSet<String>> {
    let mut names: HashSet<String> = ["cur", "new", "tmp"].into_iter().map(str::to_owned).collect();
    for head in reader.collections()? {
        names.extend(head.source_path.split('/').next().map(str::to_owned));
    }
    Ok(names)
}

/// Formats that one reader reads.
fn kind_of(format: Format) -> Format {
    match format {
        Format::Thunderbird | Format::Takeout => Format::Mbox,
        Format::MaildirPlusPlus => Format::MaildirFs,
        other => other,
    }
}

/// One format for each kind of reader, or the same files would be read twice; the one that says most.
fn one_of_each_kind(found: BTreeSet<Format>, takeout: bool) -> BTreeSet<Format> {
    let mut formats = found.clone();
    for (better, plain) in
        [(Format::Takeout, Format::Thunderbird), (Format::Thunderbird, Format::Mbox), (Format::Takeout, Format::Mbox)]
    {
        if found.contains(&better) {
            formats.remove(&plain);
        }
    }
    // In a Takeout every mbox has labels, also one whose first message has none.
    if takeout && (formats.remove(&Format::Mbox) || formats.remove(&Format::Thunderbird)) {
        formats.insert(Format::Takeout);
    }
    formats
}

/// Is a Maildir in the folder by all appearance the whole store of an account?
fn holds_accounts_store(dir: &Path) -> bool {
    let entries = class::entries(dir).unwrap_or_default();
    entries.iter().any(|(name, kind)| kind.is_dir() && maildir::is_account(&dir.join(name)).unwrap_or(false))
}
