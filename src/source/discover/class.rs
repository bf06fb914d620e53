//! What a folder is, judged by what lies in it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::{self, FileType};
use std::io;
use std::path::{Path, PathBuf};

use super::is_hidden;
use crate::error::{Error, Result};
use crate::source::{Evidence, Format, eml, maildir, mbox, notes, pim};

/// Levels below a path that are looked at.
const MAX_DEPTH: usize = 6;
/// Subfolders of a folder that are looked at; those of one kind are alike.
const MAX_CHILDREN: usize = 100;

/// Folders with these names belong to an account, and what holds one of them is one.
const OF_AN_ACCOUNT: [&str; 15] = [
    "maildir",
    ".maildir",
    "mail",
    "mbox",
    "mboxes",
    "eml",
    "calendars",
    "calendar",
    "contacts",
    "addressbook",
    "addressbooks",
    "sieve",
    "takeout",
    "notes",
    "keep",
];

/// Folders with these names hold accounts.
const OF_ACCOUNTS: [&str; 6] = ["users", "accounts", "home", "mailboxes", "vmail", "postoffices"];

/// What a folder is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Nothing that is known.
    Nothing,
    /// One account: a store, or a folder of stores of several kinds.
    Account,
    /// Files of one message each in folders below, or a single store somewhere below: one account, or a folder of one.
    Tree,
    /// A profile of Thunderbird or SeaMonkey, with an account a server.
    Profile,
    /// Accounts, or folders of accounts.
    Accounts,
    /// It could be two things.
    Unclear(Unclear),
}

/// A folder that could be two things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unclear {
    path: PathBuf,
    between: String,
    formats: BTreeSet<Format>,
}

impl Unclear {
    /// One account was named, but there seem to be several.
    pub(super) fn several(path: &Path) -> Self {
        let between = "the one account that was named, or several accounts".to_owned();
        Unclear { path: path.to_owned(), between, formats: BTreeSet::new() }
    }

    pub(super) fn error(self) -> Error {
        let formats: Vec<String> = self.formats.iter().map(Format::to_string).collect();
        let format = if formats.is_empty() { "FORMAT".to_owned() } else { formats.join(" or ") };
        Error::usage(format!("it is not clear what this is: {}", self.between))
            .with("path", self.path.display())
            .hint(format!("say --as {format} if it is one account, or give each account with --account NAME=PATH"))
    }
}

/// Looks at folders and remembers what they are: the same one is asked for at several levels.
pub(super) struct Looker {
    /// Real paths that were given a name: they are accounts, whatever they look like.
    pub(super) named: BTreeMap<PathBuf, String>,
    stores: RefCell<HashMap<PathBuf, Vec<Evidence>>>,
}

/// Entries of a folder by name.
pub(super) fn entries(dir: &Path) -> io::Result<Vec<(OsString, FileType)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        entries.push((entry.file_name(), entry.file_type()?));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(entries)
}

/// Is it the top of a Google Takeout?
pub(super) fn is_takeout_root(path: &Path) -> bool {
    path.is_dir() && (path.join("archive_browser.html").is_file() || path.file_name().is_some_and(|n| n == "Takeout"))
}

/// Is it a profile of Thunderbird or SeaMonkey?
pub(super) fn is_profile(path: &Path) -> bool {
    path.join("prefs.js").is_file() && ["Mail", "ImapMail"].iter().any(|name| path.join(name).is_dir())
}

/// Does the name look like a domain?
pub(super) fn is_domain(name: &str) -> bool {
    let mut labels = name.split('.');
    let last = labels.next_back().unwrap_or_default();
    let label =
        |l: &str| !l.is_empty() && !l.starts_with('-') && !l.ends_with('-') && l.chars().all(|c| c.is_alphanumeric() || c == '-');
    let others: Vec<&str> = labels.collect();
    let top = last.starts_with("xn--") || last.chars().count() >= 2 && last.chars().all(char::is_alphabetic);
    !others.is_empty() && top && label(last) && others.into_iter().all(label)
}

/// Is the folder named for holding accounts?
fn is_of_accounts(name: &OsStr) -> bool {
    OF_ACCOUNTS.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Is the folder named like a part of an account, and not after its owner?
pub(super) fn is_of_an_account(name: &OsStr) -> bool {
    OF_AN_ACCOUNT.iter().any(|known| name.eq_ignore_ascii_case(known))
}

impl Looker {
    pub(super) fn new() -> Self {
        Looker { named: BTreeMap::new(), stores: RefCell::default() }
    }

    /// Was the path given a name?
    pub(super) fn is_named(&self, path: &Path) -> bool {
        !self.named.is_empty() && fs::canonicalize(path).is_ok_and(|real| self.named.contains_key(&real))
    }

    /// The stores that a path is at its top. A Maildir is nothing else besides.
    pub(super) fn stores(&self, path: &Path) -> Result<Vec<Evidence>> {
        if let Some(known) = self.stores.borrow().get(path) {
            return Ok(known.clone());
        }
        let found = match maildir::detect(path)? {
            Some(evidence) => vec![evidence],
            None => [mbox::detect(path)?, eml::detect(path)?, pim::detect(path)?, notes::detect(path)?]
                .into_iter()
                .flatten()
                .collect(),
        };
        self.stores.borrow_mut().insert(path.to_owned(), found.clone());
        Ok(found)
    }

    /// The formats of stores at the top of a path or, if there are none, further below, where all of it is known to belong
    /// to one account.
    pub(super) fn formats_within(&self, path: &Path) -> Result<BTreeSet<Format>> {
        let here: BTreeSet<Format> = self.stores(path)?.into_iter().map(|e| e.format).collect();
        if here.is_empty() { self.below(path, 1) } else { Ok(here) }
    }

    fn below(&self, path: &Path, depth: usize) -> Result<BTreeSet<Format>> {
        let mut formats = BTreeSet::new();
        // A folder that cannot be listed is reported by the reader of plain files.
        for (name, kind) in entries(path).unwrap_or_default() {
            if !kind.is_dir() || is_hidden(&name) {
                continue;
            }
            let child = path.join(name);
            // Nor does one that cannot be looked at keep the others back.
            let here = self.stores(&child).unwrap_or_default();
            // Maildirs in a folder are one nested store, whatever is in them.
            formats.extend(here.iter().map(|e| if e.format == Format::MaildirPlusPlus { Format::MaildirFs } else { e.format }));
            if here.is_empty() && depth < MAX_DEPTH {
                formats.extend(self.below(&child, depth + 1)?);
            }
        }
        Ok(formats)
    }

    /// What the folder or file is.
    pub(super) fn class(&self, path: &Path) -> Result<Class> {
        self.class_at(path, 0)
    }

    fn class_at(&self, path: &Path, depth: usize) -> Result<Class> {
        if is_profile(path) {
            return Ok(Class::Profile);
        }
        if is_takeout_root(path) || !self.stores(path)?.is_empty() {
            return Ok(Class::Account);
        }
        let Ok(entries) = entries(path) else { return Ok(Class::Nothing) };
        let children: Vec<OsString> = entries.into_iter().filter(|(_, kind)| kind.is_dir()).map(|(name, _)| name).collect();
        for name in children.iter().filter(|name| is_of_an_account(name)) {
            if self.holds_account_data(&path.join(name), name)? {
                return Ok(Class::Account);
            }
        }
        // Calendars that say what they are lie in their owner's folder.
        if children.iter().take(MAX_CHILDREN).any(|name| !is_hidden(name) && pim::is_collection(&path.join(name))) {
            return Ok(Class::Account);
        }
        if depth >= MAX_DEPTH {
            return Ok(Class::Nothing);
        }
        let (mut stores, mut marked, mut groups) = (Vec::new(), 0, false);
        let mut only_messages = true;
        let mut unclear = None;
        for name in children.iter().filter(|name| !is_hidden(name)).take(MAX_CHILDREN) {
            let child = path.join(name);
            let is_named = self.is_named(&child);
            // What cannot be looked at says nothing about its neighbours.
            match if is_named { Class::Account } else { self.class_at(&child, depth + 1).unwrap_or(Class::Nothing) } {
                Class::Account => {
                    let formats: Vec<Format> = self.stores(&child).unwrap_or_default().into_iter().map(|e| e.format).collect();
                    marked += usize::from(is_named || is_marked(&child, name, &formats));
                    only_messages &= formats.contains(&Format::Eml);
                    stores.push(name.to_string_lossy().into_owned());
                }
                Class::Tree => stores.push(name.to_string_lossy().into_owned()),
                Class::Accounts | Class::Profile => groups = true,
                Class::Unclear(child) => unclear = unclear.or(Some(child)),
                Class::Nothing => {}
            }
        }
        let by_name = || path.file_name().is_some_and(|n| is_domain(&n.to_string_lossy()) || is_of_accounts(n));
        Ok(match unclear {
            // Beside accounts a folder is an account too.
            _ if groups || marked > 0 => Class::Accounts,
            Some(child) => Class::Unclear(child),
            None if stores.is_empty() => Class::Nothing,
            None if by_name() => Class::Accounts,
            // Servers keep accounts in folders of mail, not as bare messages. And with one store there is nothing to choose,
            // unless it is a Maildir: that is called after its owner.
            None if only_messages => Class::Tree,
            None if stores.len() == 1 && self.below(path, 1)?.iter().any(|f| *f == Format::MaildirFs) => Class::Accounts,
            None if stores.len() == 1 => Class::Tree,
            None => {
                let some: Vec<String> = stores.iter().take(3).map(|name| crate::model::printable(name)).collect();
                let more = if stores.len() > some.len() { ", ..." } else { "" };
                let some = some.join(", ");
                let between = format!("one account with the folders {some}{more}, or the accounts {some}{more}");
                Class::Unclear(Unclear { path: path.to_owned(), between, formats: self.formats_within(path)? })
            }
        })
    }

    /// Does a folder that is named like a part of an account hold such data?
    fn holds_account_data(&self, path: &Path, name: &OsStr) -> Result<bool> {
        if name.eq_ignore_ascii_case("takeout") && is_takeout_root(path) {
            return Ok(true);
        }
        if name.eq_ignore_ascii_case("sieve") {
            let sieve = |(n, _): &(OsString, FileType)| Path::new(n).extension().is_some_and(|e| e == "sieve");
            return Ok(entries(path).unwrap_or_default().iter().any(sieve));
        }
        Ok(!self.formats_within(path)?.is_empty())
    }
}

/// Is a store by all appearance a whole account, and not one folder of an account?
fn is_marked(path: &Path, name: &OsStr, formats: &[Format]) -> bool {
    let address = name.to_string_lossy().contains('@');
    let inbox = || {
        entries(path).unwrap_or_default().iter().any(|(entry, _)| {
            let stem = Path::new(entry).file_stem().unwrap_or(entry);
            stem.eq_ignore_ascii_case("inbox")
        })
    };
    formats.is_empty() || address || maildir::is_account(path).unwrap_or(false) || inbox()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_are_told_from_other_names_with_dots() {
        for name in ["firma.example", "a-b.co.uk", "müller.de", "x.xn--p1ai"] {
            assert!(is_domain(name), "{name}");
        }
        for name in ["users", "backup.2024", ".maildir", "a..de", "v1.0", "-a.de", "a_b.de", "", "."] {
            assert!(!is_domain(name), "{name}");
        }
    }
}
