//! The folders of a store: both layouts, told apart by what is on disk.
//!
//! Maildir++ keeps all folders side by side as `.Name.Sub`; LAYOUT=fs nests them as `Name/Sub`. Whatever the layout, every
//! folder with a `cur` or `new` is listed; the layout only says how its name is read. Links are never entered.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::names;
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionHead, CollectionKind, Outcome};
use crate::source::apart::Apart;
use crate::source::{Evidence, Format, disk};

/// Folders lie at most so deep; deeper ones are reported, not entered.
const MAX_DEPTH: usize = 64;
/// Entries of a folder that are looked at for evidence.
const EVIDENCE_ENTRIES: usize = 20_000;

/// Why a folder cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub outcome: Outcome,
    pub reason: &'static str,
    pub detail: String,
}

impl Trouble {
    pub(super) fn failed(reason: &'static str, error: &io::Error) -> Self {
        Trouble { outcome: Outcome::Failed, reason, detail: error.to_string() }
    }

    pub(super) fn skipped(reason: &'static str, detail: impl Into<String>) -> Self {
        Trouble { outcome: Outcome::Skipped, reason, detail: detail.into() }
    }
}

/// A folder of the store.
pub(super) struct Folder {
    pub head: CollectionHead,
    pub dir: PathBuf,
    /// Set when it cannot be read at all; it then counts as one thing found and not captured.
    pub trouble: Option<Trouble>,
}

struct Found {
    dir: PathBuf,
    parts: Vec<Vec<u8>>,
    trouble: Option<Trouble>,
}

/// A folder to be looked into.
struct Visit {
    dir: PathBuf,
    parts: Vec<Vec<u8>>,
    depth: usize,
    /// Hidden folders that are not mail folders are not entered.
    enter_always: bool,
}

/// Is there a folder of this name, and no link?
fn has_dir(path: &Path, name: &str) -> bool {
    fs::symlink_metadata(path.join(name)).is_ok_and(|m| m.is_dir())
}

/// Is the folder a Maildir: two of `cur`, `new`, `tmp`, or a `cur` with names that only a Maildir has?
///
/// Tools that copy only files leave out the empty ones of the three.
pub fn is_maildir(path: &Path) -> bool {
    let [cur, new, tmp] = ["cur", "new", "tmp"].map(|name| has_dir(path, name));
    (cur && (new || tmp)) || (new && tmp) || (cur && has_flagged_names(&path.join("cur")))
}

fn has_flagged_names(cur: &Path) -> bool {
    let marks = [b":2,", b";2,", b"!2,"];
    fs::read_dir(cur).is_ok_and(|entries| {
        entries.take(64).flatten().any(|e| {
            let name = e.file_name();
            marks.iter().any(|mark| memchr::memmem::find(name.as_bytes(), *mark).is_some())
        })
    })
}

/// What the top of a folder shows.
#[derive(Debug, Default)]
pub(super) struct Survey {
    root: bool,
    hidden: usize,
    first_hidden: String,
    markers: usize,
    nested: usize,
    first_nested: String,
    inbox_nested: bool,
    server_files: Vec<&'static str>,
}

/// Files that a server keeps at the top of one account's store and nowhere else.
const SERVER_FILES: [&str; 6] =
    ["subscriptions", "courierimapsubscribed", "dovecot-uidvalidity", "dovecot.list.index", "maildirsize", "dovecot.mailbox.log"];

/// Looks at a folder and one level below.
pub(super) fn survey(path: &Path) -> io::Result<Survey> {
    let mut survey = Survey { root: is_maildir(path), ..Survey::default() };
    let mut names: Vec<_> = Vec::new();
    for entry in fs::read_dir(path)?.take(EVIDENCE_ENTRIES) {
        let entry = entry?;
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            names.push(entry.file_name());
        }
    }
    names.sort();
    for name in names {
        let child = path.join(&name);
        let hidden = name.as_bytes().starts_with(b".");
        let marker = hidden && fs::symlink_metadata(child.join("maildirfolder")).is_ok_and(|m| m.is_file());
        // Copies may lack the empty ones of the three; under a hidden name one is enough.
        let is_folder = if hidden { marker || has_dir(&child, "cur") || has_dir(&child, "new") } else { is_maildir(&child) };
        if matches!(name.as_bytes(), b"cur" | b"new" | b"tmp") || !is_folder {
            continue;
        }
        let shown = || crate::model::printable(&name.to_string_lossy());
        if hidden {
            survey.hidden += 1;
            survey.markers += usize::from(marker);
            if survey.first_hidden.is_empty() {
                survey.first_hidden = shown();
            }
        } else {
            survey.nested += 1;
            survey.inbox_nested |= name.as_bytes().eq_ignore_ascii_case(b"inbox");
            if survey.first_nested.is_empty() {
                survey.first_nested = shown();
            }
        }
    }
    survey.server_files =
        SERVER_FILES.into_iter().filter(|n| fs::symlink_metadata(path.join(n)).is_ok_and(|m| m.is_file())).collect();
    Ok(survey)
}

impl Survey {
    /// Is it the top of one account's store? Maildirs side by side with nothing else could as well be many accounts.
    pub(super) fn is_store(&self) -> bool {
        self.root || self.hidden > 0 || (self.nested > 0 && (self.inbox_nested || !self.server_files.is_empty()))
    }

    /// Does it have what only the top of an account has?
    pub(super) fn is_account(&self) -> bool {
        self.hidden > 0 || self.inbox_nested || (self.root || self.nested > 0) && !self.server_files.is_empty()
    }

    /// The layout and the reasons for it.
    pub(super) fn evidence(&self, path: &Path) -> Evidence {
        let mut because = Vec::new();
        if self.root {
            because.push("cur, new and tmp at the top".to_owned());
        }
        if self.hidden > 0 {
            because.push(format!(
                "{} folders named like {} ({} with a maildirfolder file)",
                self.hidden, self.first_hidden, self.markers
            ));
        }
        if self.nested > 0 {
            because.push(format!("{} folders nested like {}", self.nested, self.first_nested));
        }
        if let Some(header) = super::uidlist::header(path) {
            because.push(header.describe());
        }
        because.extend(self.server_files.iter().map(|name| format!("a file {name}")));
        // LAYOUT=fs never makes hidden folders, so one of them is enough.
        let format = if self.hidden > 0 { Format::MaildirPlusPlus } else { Format::MaildirFs };
        Evidence { format, because }
    }
}

/// The levels of a folder's name on disk.
fn parts_of(name: &[u8], format: Format) -> Vec<Vec<u8>> {
    if format == Format::MaildirPlusPlus
        && let Some(rest) = name.strip_prefix(b".")
        && !rest.split(|&b| b == b'.').any(<[u8]>::is_empty)
    {
        return rest.split(|&b| b == b'.').map(<[u8]>::to_vec).collect();
    }
    vec![name.to_vec()]
}

/// The folders of the store, sorted by path.
///
/// # Errors
/// `Kind::Source` when the top cannot be listed; what cannot be listed below it is a folder in trouble.
pub(super) fn folders(root: &Path, format: Format) -> Result<Vec<Folder>> {
    let mut found = Vec::new();
    let mut stack = vec![Visit { dir: root.to_owned(), parts: Vec::new(), depth: 0, enter_always: true }];
    while let Some(visit) = stack.pop() {
        match look_into(root, &visit, format, &mut stack) {
            Ok((is_folder, links)) => {
                found.extend(links);
                if is_folder {
                    found.push(Found { dir: visit.dir, parts: visit.parts, trouble: None });
                }
            }
            Err(e) if visit.depth == 0 => return Err(Error::io(Kind::Source, "cannot list the store", root, e)),
            Err(e) => {
                let trouble = Some(Trouble::failed("the folder cannot be listed", &e));
                found.push(Found { dir: visit.dir, parts: visit.parts, trouble });
            }
        }
    }
    Ok(named(root, found))
}

/// Looks into one folder: is it a mail folder, which links to mail folders lie in it, what is to be visited next?
fn look_into(root: &Path, visit: &Visit, format: Format, next: &mut Vec<Visit>) -> io::Result<(bool, Vec<Found>)> {
    let (mut is_folder, mut subdirs, mut links) = (false, Vec::new(), Vec::new());
    for entry in fs::read_dir(&visit.dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let kind = entry.file_type()?;
        match name.as_bytes() {
            b"cur" | b"new" if !kind.is_file() => is_folder = true,
            b"maildirfolder" if kind.is_file() => is_folder = true,
            _ => {}
        }
        if kind.is_dir() {
            subdirs.push(name);
        } else if kind.is_symlink() && !matches!(name.as_bytes(), b"cur" | b"new" | b"tmp") {
            links.push(name);
        }
    }
    let child = |name: &OsStr| {
        let mut parts = visit.parts.clone();
        parts.extend(parts_of(name.as_bytes(), format));
        (visit.dir.join(name), parts)
    };
    let mut found = Vec::new();
    if is_folder || visit.enter_always {
        for name in subdirs {
            let (dir, mut parts) = child(&name);
            // A mail folder may be called `new`, but only looking for a `cur` in it is affordable: it may hold a million files.
            if matches!(name.as_bytes(), b"cur" | b"new" | b"tmp") && !has_dir(&dir, "cur") {
                continue;
            }
            let hidden = name.as_bytes().starts_with(b".");
            // KMail keeps the subfolders of `X` in `.X.directory`.
            let container =
                name.as_bytes().strip_prefix(b".").and_then(|n| n.strip_suffix(b".directory")).filter(|n| !n.is_empty());
            if let Some(name) = container {
                parts.truncate(visit.parts.len());
                parts.push(name.to_vec());
            }
            if visit.depth >= MAX_DEPTH {
                let trouble =
                    Some(Trouble { outcome: Outcome::Failed, reason: "folders nested too deeply", detail: String::new() });
                found.push(Found { dir, parts, trouble });
                continue;
            }
            next.push(Visit { dir, parts, depth: visit.depth + 1, enter_always: !hidden || container.is_some() });
        }
    }
    for name in links {
        let (dir, parts) = child(&name);
        // Only asks whether the link leads to a mail folder; nothing behind it is read.
        if ["cur", "new"].iter().any(|n| fs::metadata(dir.join(n)).is_ok_and(|m| m.is_dir())) {
            let inside = matches!((fs::canonicalize(&dir), fs::canonicalize(root)), (Ok(to), Ok(root)) if to.starts_with(&root));
            let reason = if inside { "link to another folder of the store" } else { "link out of the store" };
            found.push(Found { dir, parts, trouble: Some(Trouble::skipped(reason, "")) });
        }
    }
    Ok((is_folder, found))
}

/// Gives every folder its name; no two get the same.
fn named(root: &Path, mut found: Vec<Found>) -> Vec<Folder> {
    found.sort_by(|a, b| (a.parts.as_slice(), &a.dir).cmp(&(b.parts.as_slice(), &b.dir)));
    let not_ascii = |part: &Vec<u8>| !part.is_ascii() && std::str::from_utf8(part).is_ok();
    let utf8_store = found.iter().flat_map(|f| &f.parts).any(not_ascii);
    let mut apart = Apart::default();
    let mut folders = Vec::with_capacity(found.len());
    for Found { dir, parts, trouble } in found {
        let mut segments: Vec<String> = parts.iter().map(|part| names::folder_text(part, utf8_store)).collect();
        if segments.is_empty() {
            segments.push("INBOX".to_owned());
        }
        let path = apart.path(segments, dir.file_name());
        let place = disk::place_of(root, &dir).path;
        let source_path = if place.is_empty() { ".".to_owned() } else { place };
        folders.push(Folder { head: CollectionHead::new(path, CollectionKind::Mail, source_path), dir, trouble });
    }
    folders.sort_by(|a, b| a.head.path.cmp(&b.head.path));
    folders
}
