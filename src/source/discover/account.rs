//! One account: all stores in its folder, and the rest as plain files, so that nothing in it is lost.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use super::class::{self, Class, Looker, Unclear};
use super::moved::Moved;
use super::{AccountSource, Leftover, is_hidden, leave, open};
use crate::error::{Error, Kind, Result};
use crate::source::{Format, Reader, eml, files, maildir, name_of, pim};

/// An account in a format that the person named.
pub(super) fn forced(look: &Looker, account: String, path: &Path, format: Format) -> Result<AccountSource> {
    if format == Format::Takeout && path.is_dir() {
        return mixed(look, account, path, path, &mut Vec::new());
    }
    if format == Format::Pim && path.is_dir() {
        let readers = pim_and_files(path, pim::Reach::Every)?;
        return Ok(AccountSource { account, root: path.to_owned(), readers });
    }
    let reader = if format == Format::Eml { eml::open_every(path)? } else { open(path, format)? };
    if reader.collections()?.is_empty() {
        return Err(Error::source(format!("nothing of the format {format} here")).with("path", path.display()));
    }
    let is_file = path.is_file();
    let root = if is_file { path.parent().unwrap_or(path) } else { path };
    Ok(AccountSource { account, root: root.to_owned(), readers: vec![reader] })
}

/// An account that the person named, in whatever format.
pub(super) fn named(look: &Looker, account: String, path: &Path, leftovers: &mut Vec<Leftover>) -> Result<AccountSource> {
    match look.class(path)? {
        Class::Accounts | Class::Profile => Err(Unclear::several(path).error()),
        Class::Account => mixed(look, account, path, path, leftovers),
        Class::Unclear(_) => one(look, account, path),
        Class::Nothing => Err(Error::source("nothing here is of a format that floe knows")
            .with("path", path.display())
            .hint("name the format with --as, for example --as eml or --as files")),
    }
}

/// An account of which it is known that it is only one, so stores side by side in it are its folders.
pub(super) fn one(look: &Looker, account: String, path: &Path) -> Result<AccountSource> {
    let mut readers = Vec::new();
    for format in one_of_each_kind(look.formats_within(path)?, false) {
        readers.push(open(path, format)?);
    }
    Ok(AccountSource { account, root: path.to_owned(), readers })
}

/// An account and everything in its folder; leftovers are relative to `given`.
pub(super) fn mixed(
    look: &Looker,
    account: String,
    path: &Path,
    given: &Path,
    leftovers: &mut Vec<Leftover>,
) -> Result<AccountSource> {
    let metadata = fs::metadata(path).map_err(|e| Error::io(Kind::Source, "cannot look at the path", path, e))?;
    if metadata.is_file() {
        let mut readers = Vec::new();
        for evidence in look.stores(path)? {
            readers.push(open(path, evidence.format)?);
        }
        let root = path.parent().unwrap_or(path).to_owned();
        return Ok(AccountSource { account, root, readers });
    }
    let mut parts = Parts { look, root: path, given, readers: Vec::new(), leftovers };
    parts.folder(path, class::is_takeout_root(path))?;
    let readers = parts.finish()?;
    Ok(AccountSource { account, root: path.to_owned(), readers })
}

/// Calendars and address books in a folder, and its other files as such.
fn pim_and_files(path: &Path, reach: pim::Reach) -> Result<Vec<Box<dyn Reader>>> {
    let (reader, rest) = pim::open_apart(path, reach)?;
    let files = (!rest.is_empty()).then(|| files::open_loose(path, rest));
    Ok([reader].into_iter().chain(files).collect())
}

struct Parts<'a> {
    look: &'a Looker,
    root: &'a Path,
    /// What leftovers are relative to.
    given: &'a Path,
    readers: Vec<Box<dyn Reader>>,
    leftovers: &'a mut Vec<Leftover>,
}

impl Parts<'_> {
    /// A folder of the account: what it is itself, then what lies in it.
    fn folder(&mut self, dir: &Path, takeout: bool) -> Result<()> {
        let mut here: BTreeSet<Format> = BTreeSet::new();
        if !takeout {
            here.extend(self.look.stores(dir)?.into_iter().map(|e| e.format));
        }
        let mut claimed = HashSet::new();
        let mut not_pim: Option<HashSet<OsString>> = None;
        for &format in &here {
            if format == Format::Pim {
                let (reader, rest) = pim::open_apart(dir, pim::Reach::Top)?;
                not_pim = Some(rest.into_iter().collect());
                self.readers.push(reader);
                continue;
            }
            let reader = open(dir, format)?;
            if matches!(format, Format::MaildirPlusPlus | Format::MaildirFs) {
                claimed = maildir_names(reader.as_ref())?;
            }
            self.readers.push(reader);
        }
        let maildir = here.iter().any(|f| matches!(f, Format::MaildirPlusPlus | Format::MaildirFs));
        // These readers go through the whole tree and answer for everything in it.
        let whole_tree = here.iter().any(|f| matches!(f, Format::Mbox | Format::Thunderbird | Format::Eml));
        let entries = class::entries(dir).map_err(|e| Error::io(Kind::Source, "cannot list the folder", dir, e))?;
        let mut loose = Vec::new();
        for (name, kind) in entries {
            let child = dir.join(&name);
            if claimed.contains(name.to_string_lossy().as_ref()) || maildir && is_server_data(&name) {
                continue;
            }
            if kind.is_dir() {
                self.subfolder(&child, &name, takeout, &here, whole_tree)?;
            } else if kind.is_symlink() && !maildir {
                leave(self.leftovers, self.given, &child, "link, not followed");
            } else if !whole_tree && not_pim.as_ref().is_none_or(|rest| rest.contains(&name)) {
                loose.push(name);
            }
        }
        if !loose.is_empty() {
            self.readers.push(files::open_loose(dir, loose));
        }
        Ok(())
    }

    /// Opens a store that is part of the account; if that fails the others go on.
    fn store(&mut self, path: &Path, format: Format) {
        match open(path, format) {
            Ok(reader) => self.readers.push(reader),
            Err(_) => leave(self.leftovers, self.given, path, "the store cannot be opened"),
        }
    }

    fn subfolder(&mut self, child: &Path, name: &OsStr, takeout: bool, here: &BTreeSet<Format>, whole_tree: bool) -> Result<()> {
        if class::is_takeout_root(child) {
            return self.folder(child, true);
        }
        let known = if is_hidden(name) && !name.eq_ignore_ascii_case(".maildir") {
            BTreeSet::new()
        } else if self.look.stores(child)?.is_empty() && holds_accounts_store(child) {
            // A whole store of its own further down, not folders of one.
            return self.folder(child, false);
        } else {
            one_of_each_kind(self.look.formats_within(child)?, takeout)
        };
        if known.contains(&Format::Pim) {
            return self.with_pim(child, &known);
        }
        let of_tree = |f: &Format| whole_tree && here.iter().any(|h| kind_of(*h) == kind_of(*f));
        for &format in known.iter().filter(|f| !of_tree(f)) {
            self.store(child, format);
        }
        if known.is_empty() && !whole_tree && holds_files(child) {
            self.store(child, Format::Files);
        }
        Ok(())
    }

    /// A folder with calendars or address books: all below it if there is nothing else, else one folder after the other.
    fn with_pim(&mut self, dir: &Path, known: &BTreeSet<Format>) -> Result<()> {
        if known.len() > 1 || self.look.stores(dir)?.iter().any(|e| e.format == Format::Pim) {
            return self.folder(dir, false);
        }
        self.readers.extend(pim_and_files(dir, pim::Reach::Below)?);
        Ok(())
    }

    /// Makes all places relative to the account, and the names of all collections of a kind different.
    fn finish(self) -> Result<Vec<Box<dyn Reader>>> {
        let mut taken = HashSet::new();
        let mut readers: Vec<Box<dyn Reader>> = Vec::with_capacity(self.readers.len());
        for reader in self.readers {
            let heads = reader.collections()?;
            let mut under: Option<String> = None;
            let mut tries = 1u32;
            while heads.iter().any(|head| taken.contains(&Moved::path_under(head, under.as_deref()))) {
                let name = name_of(reader.root());
                under = Some(if tries == 1 { name } else { format!("{name} ({tries})") });
                tries = tries.saturating_add(1);
            }
            taken.extend(heads.iter().map(|head| Moved::path_under(head, under.as_deref())));
            let base = if reader.root().is_file() { reader.root().parent() } else { Some(reader.root()) };
            let prefix = base.and_then(|b| b.strip_prefix(self.root).ok()).map(PathBuf::from).unwrap_or_default();
            readers.push(if under.is_none() && prefix.as_os_str().is_empty() {
                reader
            } else {
                Box::new(Moved::new(reader, prefix, under)?)
            });
        }
        Ok(readers)
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

/// What mail servers keep at the top of a Maildir for themselves.
fn is_server_data(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let exact = ["subscriptions", "maildirsize", "maildirfolder", "maildirfilter", "courierpop3dsizelist"];
    exact.contains(&name.as_ref())
        || name.starts_with("dovecot-")
        || name.starts_with("dovecot.")
        || name.starts_with("courierimap")
        || name.starts_with(".dovecot.lda-dupes")
        || name.starts_with(".temp.")
        || name.starts_with(".nfs")
}

/// Is there anything but folders below?
fn holds_files(dir: &Path) -> bool {
    walkdir::WalkDir::new(dir).min_depth(1).into_iter().any(|entry| entry.map_or(true, |e| !e.file_type().is_dir()))
}
