//! mbox in all its dialects, Thunderbird folders and Google Takeout.
//!
//! An mbox is one file of many messages, parted by From_ lines; what the dialects make of a body line that looks like one
//! is in `dialect`. A store is one such file or a tree of them. State lies in header lines (see `state`), in Takeout
//! in labels. The source is read in one pass through a window, never mapped, so neither its size nor that of a message
//! matters, and a file that shrinks meanwhile is an exception and not a signal.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use walkdir::WalkDir;

use self::dialect::Survey;
use self::read::MboxFile;
use self::scan::{Limits, Splitter};
use self::tree::{Folder, Sniff};
use super::mail_file::{self, MailFile};
use super::{Evidence, FileStamp, Format, Grown, ItemSink, Reader, disk};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionHead, Outcome};

mod count;
mod dialect;
mod from_line;
mod labels;
mod quoting;
mod read;
mod scan;
mod state;
mod tree;
mod window;

#[cfg(test)]
mod tests;

/// Bytes of a file that are looked at for evidence.
const EVIDENCE_BYTES: usize = 1 << 20;

/// Looks at a path and says whether it is such a store, and why.
///
/// A folder is one if a mail folder lies in it directly (for Takeout: up to three levels down), so that a folder of
/// accounts is not taken for an account.
///
/// # Errors
/// `Kind::Source` when the path cannot be read.
pub fn detect(path: &Path) -> Result<Option<Evidence>> {
    let metadata = std::fs::symlink_metadata(path).map_err(|e| Error::io(Kind::Source, "cannot look at the path", path, e))?;
    if metadata.is_file() {
        if mail_file::of(path, false) != MailFile::Mbox {
            return Ok(None);
        }
        let sniff = tree::sniff(path, EVIDENCE_BYTES)?;
        let by_name = || Evidence { format: Format::Mbox, because: vec!["a file named .mbox".to_owned()] };
        return if sniff.mail { evidence_of(path, &sniff).map(Some) } else { Ok(Some(by_name())) };
    }
    if !metadata.is_dir() || tree::is_maildir(path) {
        return Ok(None);
    }
    let takeout = path.join("archive_browser.html").is_file() || path.file_name().is_some_and(|n| n == "Takeout");
    if path.join("prefs.js").is_file() && ["Mail", "ImapMail"].iter().any(|name| path.join(name).is_dir()) {
        let because = vec!["prefs.js beside Mail or ImapMail".to_owned()];
        return Ok(Some(Evidence { format: Format::Thunderbird, because }));
    }
    let mut best: Option<Evidence> = None;
    let mut messages_in = HashMap::new();
    for entry in WalkDir::new(path).min_depth(1).max_depth(if takeout { 3 } else { 1 }).sort_by_file_name() {
        let entry = entry.map_err(|e| Error::io(Kind::Source, "cannot list the folder", path, e.into()))?;
        let file = entry.path();
        if !entry.file_type().is_file() || entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let is_mbox = file.extension().is_some_and(|e| e.eq_ignore_ascii_case("mbox"));
        let by_name = mail_file::by_name(entry.file_name());
        if takeout && !is_mbox || by_name.is_some_and(|known| known != MailFile::Mbox) {
            continue;
        }
        // A short look first: the folder may hold many large files of other kinds.
        let mut sniff = tree::sniff(file, tree::SNIFF_BYTES).unwrap_or_default();
        if sniff.mail {
            let folder = file.parent().unwrap_or(path);
            let mut messages = || *messages_in.entry(folder.to_owned()).or_insert_with(|| mail_file::from_are_messages(folder));
            if by_name.is_none() && mail_file::of(file, messages()) != MailFile::Mbox {
                continue;
            }
            sniff = tree::sniff(file, EVIDENCE_BYTES)?;
        }
        let evidence = if sniff.mail {
            evidence_of(file, &sniff)?
        } else if tree::has_twin(file) && sniff.empty {
            Evidence { format: Format::Thunderbird, because: vec![format!("{} has an index .msf", shown(file))] }
        } else if is_mbox && sniff.empty {
            Evidence { format: Format::Mbox, because: vec![format!("{} is an empty mail folder by its name", shown(file))] }
        } else {
            continue;
        };
        let better = best.as_ref().is_none_or(|b| b.format == Format::Mbox && evidence.format != Format::Mbox);
        if better {
            best = Some(evidence);
        }
        if best.as_ref().is_some_and(|b| b.format != Format::Mbox) {
            break;
        }
    }
    Ok(best)
}

/// Does a file begin with a message and what parts it from others?
pub(super) fn begins_with_mail(path: &Path) -> bool {
    tree::sniff(path, tree::SNIFF_BYTES).is_ok_and(|sniff| sniff.mail)
}

/// How many messages the beginning of a file has, if it begins with one.
pub(super) fn messages_at_start(path: &Path) -> usize {
    // A short look first: most files are no mail.
    if !begins_with_mail(path) {
        return 0;
    }
    let Ok(sniff) = tree::sniff(path, EVIDENCE_BYTES) else { return 0 };
    let mut splitter = Splitter::new(sniff.first.as_slice(), 0, sniff.first.len() as u64, Limits::READ, None);
    std::iter::from_fn(|| splitter.next().ok().flatten()).count()
}

fn shown(path: &Path) -> String {
    crate::model::printable(&path.file_name().unwrap_or_default().to_string_lossy())
}

fn evidence_of(path: &Path, sniff: &Sniff) -> Result<Evidence> {
    let name = shown(path);
    let describe = dialect::describe(&sniff.first).map_err(|e| Error::io(Kind::Source, "cannot read the file", path, e))?;
    let mut because: Vec<String> = describe.into_iter().map(|words| format!("{name}: {words}")).collect();
    let format = if sniff.gmail {
        because.push(format!("{name}: X-Gmail-Labels in the first message"));
        Format::Takeout
    } else if tree::has_twin(path) || sniff.mozilla {
        because.push(format!("{name}: an index .msf beside it, or Thunderbird's state in the first message"));
        Format::Thunderbird
    } else {
        Format::Mbox
    };
    Ok(Evidence { format, because })
}

/// Opens the store at `root`.
///
/// # Errors
/// `Kind::Source` when the path cannot be read.
pub fn open(root: &Path, format: Format) -> Result<Box<dyn Reader>> {
    open_beside(root, format, &|_| false)
}

/// Opens the store at `root` without the folders that another reader answers for.
///
/// # Errors
/// `Kind::Source` when the path cannot be read.
pub fn open_beside(root: &Path, format: Format, taken: &dyn Fn(&Path) -> bool) -> Result<Box<dyn Reader>> {
    let folders = tree::folders(root, format, taken)?;
    // Places are relative to the folder that holds the file, or they would be empty.
    let base = if root.is_file() { root.parent().unwrap_or(root) } else { root };
    Ok(Box::new(MboxStore {
        root: root.to_owned(),
        base: base.to_owned(),
        format,
        folders,
        survey: OnceLock::new(),
        counted: Mutex::default(),
    }))
}

/// A file of mail, or a tree of them.
struct MboxStore {
    root: PathBuf,
    base: PathBuf,
    format: Format,
    folders: Vec<Folder>,
    /// What all files show of the program that wrote them. Found out at most once.
    survey: OnceLock<Survey>,
    /// Sizes of the files when they were counted: what comes in after that is left for the next run, or count and reading
    /// would not agree.
    counted: Mutex<HashMap<PathBuf, u64>>,
}

impl MboxStore {
    fn folder(&self, head: &CollectionHead) -> Result<&Folder> {
        self.folders
            .iter()
            .find(|f| f.head.path == head.path)
            .ok_or_else(|| Error::new(Kind::Internal, "no such collection in this store").with("collection", &head.path))
    }

    fn survey(&self) -> Survey {
        *self.survey.get_or_init(|| self.folders.iter().map(|f| read::survey(&f.file)).fold(Survey::default(), Survey::plus))
    }
}

impl Reader for MboxStore {
    fn format(&self) -> Format {
        self.format
    }

    fn root(&self) -> &Path {
        &self.root
    }

    fn covers(&self, path: &Path) -> bool {
        let is_folder = |path: &Path| self.folders.iter().any(|f| f.file == path);
        // Thunderbird's index of a folder says nothing that the folder does not.
        // Nor do Dovecot's, which have folders of their own.
        if path.file_name().is_some_and(|name| name == ".imap") {
            return path.is_dir() && path.starts_with(&self.root);
        }
        let index = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("msf"));
        is_folder(path) || index && is_folder(&path.with_extension(""))
    }

    fn collections(&self) -> Result<Vec<CollectionHead>> {
        Ok(self.folders.iter().map(|f| f.head.clone()).collect())
    }

    fn stamps(&self, head: &CollectionHead) -> Result<Vec<(String, FileStamp)>> {
        let (_, stamp) = tree::open(self.folder(head)?)?;
        Ok(vec![(head.source_path.clone(), stamp)])
    }

    fn count(&self, head: &CollectionHead) -> Result<u64> {
        let folder = self.folder(head)?;
        // What cannot be opened is one exception when it is read.
        let Ok((file, stamp)) = tree::open(folder) else { return Ok(1) };
        self.counted.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.file.clone(), stamp.size);
        count::count(&file, stamp.size).map_err(|e| Error::io(Kind::Source, "cannot count the messages", &folder.file, e))
    }

    fn read(&self, head: &CollectionHead, grown: Option<Grown>, sink: &mut dyn ItemSink) -> Result<()> {
        let folder = self.folder(head)?;
        let place = disk::place_of(&self.base, &folder.file);
        let (file, mut stamp) = match tree::open(folder) {
            Ok(opened) => opened,
            Err(e) => return sink.exception(place, Outcome::Failed, "file could not be opened", e.to_string()),
        };
        if let Some(counted) = self.counted.lock().unwrap_or_else(PoisonError::into_inner).remove(&folder.file) {
            stamp.size = stamp.size.min(counted);
        }
        MboxFile { path: &folder.file, place, file, stamp, format: self.format, store_survey: &|| self.survey() }
            .read(grown, sink)
    }
}
