//! From paths on the command line to accounts and their readers.
//!
//! A path is an account (a store, or a folder of stores such as `Maildir`, `calendars` and `contacts`) or a folder of
//! accounts, in which folders named like domains may come first. Which of these is judged in `class` by what lies there;
//! where it could be two things, nothing is guessed. Links are never followed, so loops cannot occur.

mod account;
mod class;
mod moved;

#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use self::class::{Class, Looker};
use super::{Format, Reader, disk, eml, files, maildir, mbox, name_of, notes, pim};
use crate::error::{Error, Kind, Result};
use crate::model::{Exception, Outcome, Place};

/// Files of one folder that are named one by one when they belong to no account; more are summed up.
const MAX_LEFTOVERS: usize = 10_000;
/// Folders of accounts lie at most so deep.
const MAX_DEPTH: usize = 5;

/// One account and the stores that hold its data.
pub struct AccountSource {
    /// Its name: an address where the tree shows one, else the folder's name.
    pub account: String,
    /// Folder (or file) that all places of this account are relative to.
    pub root: PathBuf,
    /// Its stores in a fixed order.
    pub readers: Vec<Box<dyn Reader>>,
}

/// Something under the given paths that belongs to no account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Where it lies, relative to the path that was given.
    pub place: Place,
    /// Left out, or a store that could not be read.
    pub outcome: Outcome,
    /// Why it was left, in a few fixed words.
    pub reason: String,
    /// More about this one.
    pub detail: String,
}

impl Leftover {
    /// A store that could not be read; the others go on.
    fn failed(given: &Path, path: &Path, reason: &str, error: &Error) -> Self {
        let (place, reason) = (disk::place_of(given, path), reason.to_owned());
        Leftover { place, outcome: Outcome::Failed, reason, detail: error.to_string() }
    }

    /// As what was not captured, and belongs to nobody.
    pub fn exception(&self) -> Exception {
        Exception {
            account: String::new(),
            collection: String::new(),
            source: self.place.clone(),
            outcome: self.outcome,
            reason: self.reason.clone(),
            detail: self.detail.clone(),
        }
    }
}

/// What was found under the given paths.
pub struct Discovery {
    /// Accounts sorted by name.
    pub accounts: Vec<AccountSource>,
    /// Files that belong to no account.
    pub leftovers: Vec<Leftover>,
}

/// Finds accounts and their stores under `paths`, and those that `named` gives a name (`--account NAME=PATH`).
///
/// A named path that lies under one of `paths` is that account, whatever it looks like.
///
/// # Errors
/// `Kind::Source` when a path cannot be read or is nothing that floe knows, `Kind::Usage` when a path could be two things
/// and `format` does not say which, or when two accounts would have one name.
pub fn discover(paths: &[PathBuf], named: &[(String, PathBuf)], format: Option<Format>) -> Result<Discovery> {
    let mut search = Search { look: Looker::new(), accounts: Vec::new(), leftovers: Vec::new(), given: PathBuf::new() };
    for (name, path) in named {
        let real = real(path)?;
        let account = match format {
            Some(format) => account::forced(&search.look, name.clone(), path, format, &mut search.leftovers)?,
            None => account::named(&search.look, name.clone(), path, &mut search.leftovers)?,
        };
        search.accounts.push(account);
        search.look.named.insert(real, name.clone());
    }
    for path in paths {
        if search.look.named.contains_key(&real(path)?) {
            continue;
        }
        search.given.clone_from(path);
        match format {
            Some(format) => {
                let account = account::forced(&search.look, name_of_store(path), path, format, &mut search.leftovers)?;
                search.accounts.push(account);
            }
            None => search.path(path)?,
        }
    }
    let Search { mut accounts, leftovers, .. } = search;
    accounts.sort_by(|a, b| (&a.account, &a.root).cmp(&(&b.account, &b.root)));
    for pair in accounts.windows(2) {
        if let [a, b] = pair
            && a.account == b.account
        {
            return Err(Error::usage(format!("two accounts would be called {}", crate::model::printable(&a.account)))
                .with("first", a.root.display())
                .with("second", b.root.display())
                .hint("give them names of their own with --account NAME=PATH"));
        }
    }
    Ok(Discovery { accounts, leftovers })
}

/// The path without links; an error if there is nothing.
fn real(path: &Path) -> Result<PathBuf> {
    fs::canonicalize(path).map_err(|e| Error::io(Kind::Source, "cannot find the path", path, e))
}

/// A store's name for an account: the folder's, or if that is only `Maildir` or the like, that of the folder around it; of
/// a file its own without the suffix.
fn name_of_store(path: &Path) -> String {
    if path.is_file() {
        path.file_stem().map_or_else(|| name_of(path), |stem| stem.to_string_lossy().into_owned())
    } else if class::is_of_an_account(std::ffi::OsStr::new(&name_of(path))) {
        // Everybody's is called so; the folder that it lies in is called after its owner.
        fs::canonicalize(path).ok().and_then(|p| p.parent().map(name_of)).unwrap_or_else(|| name_of(path))
    } else {
        name_of(path)
    }
}

/// A search under the given paths.
struct Search {
    look: Looker,
    accounts: Vec<AccountSource>,
    leftovers: Vec<Leftover>,
    /// The path that is searched; leftovers are relative to it.
    given: PathBuf,
}

impl Search {
    /// A path as given: a store, an account, or a folder of accounts.
    fn path(&mut self, path: &Path) -> Result<()> {
        match self.look.class(path)? {
            Class::Account => {
                let account = account::mixed(&self.look, name_of_store(path), path, &self.given, &mut self.leftovers)?;
                self.accounts.push(account);
                Ok(())
            }
            Class::Tree => {
                let account = account::tree(&self.look, name_of_store(path), path, &self.given, &mut self.leftovers)?;
                self.accounts.push(account);
                Ok(())
            }
            Class::Profile => self.profile(path),
            Class::Accounts => self.accounts_in(path, 0),
            Class::Unclear(unclear) => Err(unclear.error()),
            Class::Nothing => Err(Error::source("nothing here is of a format that floe knows")
                .with("path", path.display())
                .hint("name the format with --as, for example --as eml or --as files")),
        }
    }

    /// A folder of accounts, or of folders of accounts.
    fn accounts_in(&mut self, dir: &Path, depth: usize) -> Result<()> {
        let entries = class::entries(dir).map_err(|e| Error::io(Kind::Source, "cannot list the folder", dir, e))?;
        let domain = self.domain_of(dir, &entries);
        let is_account = |path: &Path| matches!(self.look.class(path), Ok(Class::Account)) || self.look.is_named(path);
        let accounts_here = entries.iter().any(|(name, kind)| kind.is_dir() && !is_hidden(name) && is_account(&dir.join(name)));
        let address = |path: &Path| {
            let user = name_of_store(path);
            let address = domain.as_ref().filter(|_| !user.contains('@')).map(|domain| format!("{user}@{domain}"));
            address.unwrap_or(user)
        };
        for (name, kind) in entries {
            let path = dir.join(&name);
            if kind.is_symlink() {
                self.leave(&path, "link, not followed");
                continue;
            }
            if !kind.is_dir() {
                self.leave(&path, "belongs to no account");
                continue;
            }
            if self.look.is_named(&path) {
                continue;
            }
            // Such as the snapshots of a file server, which hold everything once more.
            if is_hidden(&name) {
                self.leave(&path, "hidden folder");
                continue;
            }
            // One folder that cannot be looked at must not keep the others back.
            let class = match self.look.class(&path) {
                Ok(class) => class,
                Err(e) => {
                    self.leftovers.push(Leftover::failed(&self.given, &path, "cannot be looked at", &e));
                    continue;
                }
            };
            match class {
                Class::Account => match account::mixed(&self.look, address(&path), &path, &self.given, &mut self.leftovers) {
                    Ok(account) => self.accounts.push(account),
                    Err(e) if e.kind() == Kind::Usage => return Err(e),
                    Err(e) => self.leftovers.push(Leftover::failed(&self.given, &path, "cannot be looked at", &e)),
                },
                Class::Profile => self.profile(&path)?,
                Class::Accounts if depth < MAX_DEPTH => self.accounts_in(&path, depth + 1)?,
                Class::Accounts => self.leave(&path, "accounts nested too deeply"),
                Class::Unclear(unclear) if !accounts_here => return Err(unclear.error()),
                // Beside accounts, and not beside folders of accounts, what is unclear is an account.
                Class::Tree | Class::Unclear(_) => {
                    match account::tree(&self.look, address(&path), &path, &self.given, &mut self.leftovers) {
                        Ok(account) => self.accounts.push(account),
                        Err(e) => self.leftovers.push(Leftover::failed(&self.given, &path, "cannot be looked at", &e)),
                    }
                }
                Class::Nothing => self.leave_all(&path),
            }
        }
        Ok(())
    }

    /// The domain that the folder is named for: it must look like one and hold nothing but accounts.
    fn domain_of(&self, dir: &Path, entries: &[(std::ffi::OsString, fs::FileType)]) -> Option<String> {
        let name = name_of(dir);
        let all_accounts = || {
            entries.iter().filter(|(_, kind)| kind.is_dir()).all(|(child, _)| {
                let path = dir.join(child);
                self.look.is_named(&path)
                    || matches!(self.look.class(&path), Ok(Class::Account | Class::Tree | Class::Unclear(_)))
            })
        };
        (class::is_domain(&name) && all_accounts()).then(|| name.to_lowercase())
    }

    /// A profile of Thunderbird: each server's folder is an account.
    fn profile(&mut self, profile: &Path) -> Result<()> {
        let failed = |e| Error::io(Kind::Source, "cannot list the profile", profile, e);
        let mut taken = std::collections::HashSet::new();
        for (name, kind) in class::entries(profile).map_err(failed)? {
            let path = profile.join(&name);
            if !kind.is_dir() || !matches!(name.to_str(), Some("Mail" | "ImapMail")) {
                self.leave(&path, "part of a mail program's profile, no mail");
                continue;
            }
            for (server, kind) in class::entries(&path).map_err(failed)? {
                let root = path.join(&server);
                if !kind.is_dir() {
                    self.leave(&root, "part of a mail program's profile, no mail");
                    continue;
                }
                let mut account = name_of(&root);
                if !taken.insert(account.clone()) {
                    account = format!("{account} ({})", name.to_string_lossy());
                }
                self.accounts.push(account::thunderbird(&self.look, account, &root, &self.given, &mut self.leftovers)?);
            }
        }
        Ok(())
    }

    fn leave(&mut self, path: &Path, reason: &str) {
        leave(&mut self.leftovers, &self.given, path, reason);
    }

    /// Leaves everything in a folder that has to do with no account.
    fn leave_all(&mut self, dir: &Path) {
        let mut left = 0;
        for entry in WalkDir::new(dir).min_depth(1).sort_by_file_name().into_iter() {
            match entry {
                Ok(entry) if entry.file_type().is_dir() => continue,
                Ok(entry) if left < MAX_LEFTOVERS => self.leave(entry.path(), "belongs to no account"),
                Err(e) => {
                    let path = e.path().unwrap_or(dir).to_owned();
                    let error = Error::io(Kind::Source, "cannot look at the path", &path, e.into());
                    self.leftovers.push(Leftover::failed(&self.given, &path, "cannot be looked at", &error));
                }
                Ok(_) => {
                    self.leave(dir, "more files that belong to no account");
                    return;
                }
            }
            left += 1;
        }
        if left == 0 {
            self.leave(dir, "empty folder");
        }
    }
}

fn leave(leftovers: &mut Vec<Leftover>, given: &Path, path: &Path, reason: &str) {
    let (place, reason) = (disk::place_of(given, path), reason.to_owned());
    leftovers.push(Leftover { place, outcome: Outcome::Skipped, reason, detail: String::new() });
}

/// Opens a store by its format.
fn open(root: &Path, format: Format) -> Result<Box<dyn Reader>> {
    match format {
        Format::MaildirPlusPlus | Format::MaildirFs => maildir::open(root, format),
        Format::Mbox | Format::Thunderbird | Format::Takeout => mbox::open(root, format),
        Format::Eml => eml::open(root, format),
        Format::Pim => pim::open(root, format),
        Format::Notes => notes::open(root),
        Format::Files => files::open(root, format),
    }
}

/// Is the name hidden?
fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}
