//! Trees of mbox files: which files are mail folders and what the folders are called.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::scan::{Limits, Opening, Splitter};
use super::state;
use super::window::{cr_as_lf, read_full_at};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionHead, CollectionKind, CollectionPath};
use crate::source::mail_file::{self, MailFile};
use crate::source::{Format, disk, mutf7};

/// Deeper than any mail program nests folders.
const MAX_DEPTH: usize = 64;
/// Bytes of a file that are looked at to know it, and to find UIDVALIDITY in its first header.
pub(super) const SNIFF_BYTES: usize = 16 << 10;

/// A mail folder in one file.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    /// Its description.
    pub head: CollectionHead,
    /// The file.
    pub file: PathBuf,
}

/// What the beginning of a file shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sniff {
    /// It begins with a message.
    pub mail: bool,
    /// It holds nothing.
    pub empty: bool,
    /// Its first message has Gmail labels.
    pub gmail: bool,
    /// Its first message has Thunderbird's state, or a From_ line as Thunderbird writes it.
    pub mozilla: bool,
    /// UIDVALIDITY and last UID.
    pub base: Option<state::ImapBase>,
    /// The bytes looked at.
    pub first: Vec<u8>,
}

/// Looks at the beginning of a file.
pub(super) fn sniff(path: &Path, max_bytes: usize) -> Result<Sniff> {
    let (file, stamp) = disk::open_regular(path)?;
    let io_error = |e| Error::io(Kind::Source, "cannot read the file", path, e);
    let length = usize::try_from(stamp.size).unwrap_or(usize::MAX).min(max_bytes);
    let mut first = vec![0; length];
    read_full_at(&file, &mut first, 0, stamp.size).map_err(io_error)?;
    let mut sniff = Sniff { empty: stamp.size == 0, ..Sniff::default() };
    if memchr::memchr(b'\n', &first).is_none() {
        cr_as_lf(&mut first);
    }
    let mut splitter = Splitter::new(first.as_slice(), 0, first.len() as u64, Limits::READ, None);
    if let Some(piece) = splitter.next().map_err(io_error)?
        && piece.opening != Opening::Nothing
    {
        let state = state::read(&piece.bytes);
        sniff.mail = true;
        sniff.gmail = state.gmail_labels.is_some();
        let netscape = matches!(&piece.opening, Opening::From(from) if from.netscape);
        sniff.mozilla = state.mozilla.is_some() || netscape;
        sniff.base = state.base;
    }
    sniff.first = first;
    Ok(sniff)
}

/// The folders under `root`, sorted by path.
pub(super) fn folders(root: &Path, format: Format, taken: &dyn Fn(&Path) -> bool) -> Result<Vec<Folder>> {
    let metadata = std::fs::metadata(root).map_err(|e| Error::io(Kind::Source, "cannot look at the path", root, e))?;
    let mut folders = Vec::new();
    let mut messages_in = HashMap::new();
    if metadata.is_file() {
        let name = root.file_name().unwrap_or(OsStr::new("mail"));
        let path = CollectionPath(vec![file_title(name)]);
        folders.push(folder(root.parent().unwrap_or(root), root, inbox_at_top(path)));
    } else {
        for entry in WalkDir::new(root)
            .min_depth(1)
            .max_depth(MAX_DEPTH)
            .sort_by_file_name()
            .into_iter()
            .filter_entry(|e| is_visible(e) && !(e.file_type().is_dir() && taken(e.path())))
        {
            let path = match entry {
                Ok(entry) => {
                    let parent = entry.path().parent().unwrap_or(root);
                    let messages =
                        || *messages_in.entry(parent.to_owned()).or_insert_with(|| mail_file::from_are_messages(parent));
                    if !entry.file_type().is_file() || !is_folder_file(entry.path(), format, messages) {
                        continue;
                    }
                    entry.into_path()
                }
                // A subfolder that may not be entered would be missing without a word; it fails when it is read.
                Err(e) => match e.path() {
                    Some(path) if path != root => path.to_owned(),
                    _ => return Err(Error::io(Kind::Source, "cannot list the folder", root, e.into())),
                },
            };
            folders.push(folder(root, &path, inbox_at_top(name_of(root, &path, format))));
        }
        if format == Format::Mbox {
            as_imap_server_names(&mut folders);
        }
        tell_apart(&mut folders);
    }
    folders.sort_by(|a, b| a.head.path.cmp(&b.head.path));
    Ok(folders)
}

fn folder(base: &Path, file: &Path, path: CollectionPath) -> Folder {
    let mut head = CollectionHead::new(path, CollectionKind::Mail, disk::place_of(base, file).path);
    // A file that cannot be read shows when it is read; here it only lacks its numbers.
    if let Ok(sniff) = sniff(file, SNIFF_BYTES)
        && let Some(base) = sniff.base
    {
        head.uid_validity = Some(base.uid_validity);
        head.uid_next = base.last_uid.and_then(|uid| uid.checked_add(1));
    }
    Folder { head, file: file.to_owned() }
}

/// Neither hidden nor a Maildir.
fn is_visible(entry: &walkdir::DirEntry) -> bool {
    let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
    let maildir = entry.file_type().is_dir() && is_maildir(entry.path());
    !hidden && !maildir
}

/// Does the folder hold a Maildir's three?
pub(super) fn is_maildir(path: &Path) -> bool {
    ["cur", "new"].iter().all(|name| path.join(name).is_dir())
}

/// Is it a file that holds a mail folder? `messages` says whether files with a From_ line are single messages there.
fn is_folder_file(path: &Path, format: Format, messages: impl FnOnce() -> bool) -> bool {
    match mail_file::by_name(path.file_name().unwrap_or_default()) {
        Some(known) => known == MailFile::Mbox,
        None if format == Format::Takeout => false,
        // An empty folder, or one that cannot be read, is known by the index beside it.
        None if has_twin(path) => sniff(path, SNIFF_BYTES).map_or(true, |s| s.mail || s.empty && format == Format::Thunderbird),
        None => mail_file::of(path, messages()) == MailFile::Mbox,
    }
}

/// Thunderbird's index beside a folder.
pub(super) fn has_twin(path: &Path) -> bool {
    let mut twin = path.as_os_str().to_owned();
    twin.push(".msf");
    Path::new(&twin).is_file()
}

/// A file's name without `.mbox`.
fn file_title(name: &OsStr) -> String {
    let name = name.to_string_lossy();
    match name.char_indices().rev().nth(4) {
        Some((at, _)) if at > 0 && name.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(".mbox")) => name[..at].to_owned(),
        _ => name.into_owned(),
    }
}

fn name_of(root: &Path, file: &Path, format: Format) -> CollectionPath {
    let title = file_title(file.file_name().unwrap_or_default());
    if format == Format::Takeout {
        return CollectionPath(vec![title]);
    }
    let relative = file.strip_prefix(root).unwrap_or(file);
    let parents = relative.parent().into_iter().flat_map(Path::iter);
    let mut segments: Vec<String> = parents
        .map(|part| match part.to_string_lossy() {
            part if format == Format::Thunderbird => part.strip_suffix(".sbd").unwrap_or(&part).to_owned(),
            part => part.into_owned(),
        })
        .collect();
    // Apple Mail exports a folder `Name.mbox` with a file `mbox` in it.
    if title == "mbox"
        && let Some(last) = segments.last_mut()
        && file_title(OsStr::new(last)) != *last
    {
        *last = file_title(OsStr::new(last));
    } else {
        segments.push(title);
    }
    // A whole profile: `Mail/SERVER/...` and `ImapMail/SERVER/...`.
    if format == Format::Thunderbird
        && segments.len() > 1
        && matches!(segments.first().map(String::as_str), Some("Mail" | "ImapMail"))
    {
        segments.remove(0);
    }
    CollectionPath(segments)
}

fn inbox_at_top(mut path: CollectionPath) -> CollectionPath {
    if let [only] = path.0.as_mut_slice()
        && only.eq_ignore_ascii_case("inbox")
    {
        *only = "INBOX".to_owned();
    }
    path
}

/// IMAP servers (Dovecot, UW) write names in modified UTF-7, and may keep all folders but the INBOX in one called `mail`.
fn as_imap_server_names(folders: &mut [Folder]) {
    let decoded = |name: &String| mutf7::decode(name).filter(|text| text != name);
    let not_ascii = |name: &String| decoded(name).is_some_and(|text| !text.is_ascii());
    // `&-` alone is no proof.
    if folders.iter().flat_map(|f| &f.head.path.0).any(not_ascii) {
        for name in folders.iter_mut().flat_map(|f| &mut f.head.path.0) {
            if let Some(text) = decoded(name) {
                *name = text;
            }
        }
    }
    let inbox = |f: &&Folder| f.head.path.0 == ["INBOX"];
    let in_mail = |f: &&Folder| f.head.path.0.len() > 1 && f.head.path.0.first().is_some_and(|n| n.eq_ignore_ascii_case("mail"));
    let (inboxes, others) = (folders.iter().filter(inbox).count(), folders.iter().filter(in_mail).count());
    if inboxes == 1 && others > 0 && inboxes + others == folders.len() {
        for folder in folders.iter_mut().filter(|f| f.head.path.0.len() > 1) {
            folder.head.path.0.remove(0);
        }
    }
}

/// Gives folders that would share a name (`Sent` and `Sent.mbox`) names of their own.
fn tell_apart(folders: &mut [Folder]) {
    let mut taken = HashSet::new();
    for folder in folders {
        let full = folder.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut tries = 1u32;
        while !taken.insert(folder.head.path.clone()) {
            if let Some(last) = folder.head.path.0.last_mut() {
                *last = if tries == 1 { full.clone() } else { format!("{full} ({tries})") };
            }
            tries += 1;
        }
    }
}

/// Opens a folder's file.
pub(super) fn open(folder: &Folder) -> Result<(File, disk::FileStamp)> {
    disk::open_regular(&folder.file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &str = "From a@b Mon Jan  1 00:00:00 2024\nX-IMAPbase: 17 3 kw\nA: b\n\nc\n";

    fn names(files: &[(&str, &str)], format: Format) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folders(dir.path(), format, &|_| false).unwrap().iter().map(|f| f.head.path.to_string()).collect()
    }

    #[test]
    fn nested_folders_become_path_segments() {
        let files = [
            ("Inbox.mbox", MAIL),
            ("Projects/ÄÖÜ & 日本語.mbox", ""),
            ("sub/INBOX", MAIL),
            ("notes.txt", "hello"),
            ("Apple.mbox/mbox", MAIL),
            ("Apple.mbox/table_of_contents", "x"),
            ("one.eml", MAIL),
            ("m/cur/1", MAIL),
            ("m/new/2", MAIL),
            (".hidden", MAIL),
        ];
        assert_eq!(names(&files, Format::Mbox), ["Apple", "INBOX", "Projects/ÄÖÜ & 日本語", "sub/INBOX"]);
    }

    #[test]
    fn thunderbird_subfolders_lie_in_sbd_and_indexes_are_no_mail() {
        let files = [
            ("Inbox", MAIL),
            ("Inbox.msf", "// mork"),
            ("Inbox.sbd/Work", ""),
            ("Inbox.sbd/Work.msf", ""),
            ("Inbox.sbd/Work.sbd/Deep", MAIL),
            ("Trash", ""),
            ("popstate.dat", MAIL),
        ];
        assert_eq!(names(&files, Format::Thunderbird), ["INBOX", "Inbox/Work", "Inbox/Work/Deep"]);
    }

    #[test]
    fn folders_of_an_imap_server_have_its_names() {
        let files = [("inbox", MAIL), ("mail/Sent", MAIL), ("mail/&AMQA1gDc- &- x/R&-D", MAIL)];
        assert_eq!(names(&files, Format::Mbox), ["INBOX", "Sent", "ÄÖÜ & x/R&D"]);
        assert_eq!(names(&[("mail/Sent", MAIL), ("R&-D", MAIL)], Format::Mbox), ["R&-D", "mail/Sent"]);
    }

    #[test]
    fn folders_never_share_a_name() {
        assert_eq!(names(&[("Sent", MAIL), ("Sent.mbox", MAIL)], Format::Mbox), ["Sent", "Sent.mbox"]);
        assert_eq!(names(&[("x/Mail/A.mbox", MAIL), ("y/Mail/A.mbox", MAIL)], Format::Takeout), ["A", "A.mbox"]);
    }

    #[test]
    fn uid_validity_comes_from_the_first_message() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("inbox");
        std::fs::write(&path, MAIL).unwrap();
        let folders = folders(&path, Format::Mbox, &|_| false).unwrap();
        assert_eq!((folders[0].head.uid_validity, folders[0].head.uid_next), (Some(17), Some(4)));
        assert_eq!((folders[0].head.path.to_string(), folders[0].head.source_path.as_str()), ("INBOX".into(), "inbox"));
    }
}
