//! The mail of one account: a folder on disk for each mail folder, a file for each message, a journal of what happened.
//!
//! The journal (`journal.jsonl`) gets one line for each change, and an APPEND of many messages is one change: a line that a kill cut
//! off counts for nothing, and message files that no line names are removed when the folder is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::Language;
use super::directory::names_in;
use super::place::{broken, folder, replace, segment};
use crate::error::Result;

const JOURNAL: &str = "journal.jsonl";
const SUBSCRIPTIONS: &str = "subscriptions.json";

/// Which special folder a folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Special {
    Inbox,
    Drafts,
    Sent,
    Spam,
    Trash,
}

/// The folders of a fresh account.
pub(super) fn default_folders(language: Language) -> [(&'static str, Special); 5] {
    let [drafts, sent, trash] = match language {
        Language::English => ["Drafts", "Sent", "Trash"],
        Language::Czech => ["Koncepty", "Odeslané", "Koš"],
        Language::German => ["Entwürfe", "Gesendet", "Papierkorb"],
    };
    [
        ("INBOX", Special::Inbox),
        (drafts, Special::Drafts),
        (sent, Special::Sent),
        ("Spam", Special::Spam),
        (trash, Special::Trash),
    ]
}

/// A message's place in the journal and in memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) uid: u32,
    pub(super) flags: Vec<String>,
    /// Seconds since 1970.
    pub(super) date: i64,
    /// Of the zone that the date was given in, seconds east.
    pub(super) zone: i32,
    pub(super) size: u64,
}

/// One line of a journal.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Change {
    Made { validity: u32 },
    Added(Vec<Message>),
    Flags(Vec<(u32, Vec<String>)>),
    Gone(Vec<u32>),
}

/// A message on its way in: its bytes lie in a file that has no place yet.
pub(super) struct Incoming {
    pub(super) file: PathBuf,
    pub(super) flags: Vec<String>,
    pub(super) date: i64,
    pub(super) zone: i32,
    pub(super) size: u64,
}

/// A mail folder.
pub(super) struct Folder {
    dir: PathBuf,
    journal: File,
    pub(super) validity: u32,
    pub(super) next: u32,
    pub(super) messages: BTreeMap<u32, Message>,
}

impl Folder {
    fn make(dir: &Path, validity: u32) -> Result<Self> {
        folder(dir)?;
        let mut line = serde_json::to_vec(&Change::Made { validity }).map_err(|e| broken(dir, e.into()))?;
        line.push(b'\n');
        replace(&dir.join(JOURNAL), &line).map_err(|e| broken(dir, e))?;
        Self::open(dir)
    }

    fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(JOURNAL);
        let text = std::fs::read(&path).map_err(|e| broken(&path, e))?;
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let journal = OpenOptions::new().append(true).open(&path).map_err(|e| broken(&path, e))?;
        journal.set_len(whole as u64).map_err(|e| broken(&path, e))?;
        let mut folder = Folder { dir: dir.to_owned(), journal, validity: 0, next: 1, messages: BTreeMap::new() };
        for line in text[..whole].split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            folder.apply(serde_json::from_slice(line).map_err(|e| broken(&path, e.into()))?);
        }
        folder.sweep()?;
        Ok(folder)
    }

    /// Removes message files that the journal does not name.
    fn sweep(&self) -> Result<()> {
        for entry in std::fs::read_dir(&self.dir).map_err(|e| broken(&self.dir, e))? {
            let path = entry.map_err(|e| broken(&self.dir, e))?.path();
            let uid = || path.file_stem()?.to_str()?.parse::<u32>().ok();
            if path.extension().is_some_and(|e| e == "eml") && uid().is_none_or(|uid| !self.messages.contains_key(&uid)) {
                std::fs::remove_file(&path).map_err(|e| broken(&path, e))?;
            }
        }
        Ok(())
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Made { validity } => self.validity = validity,
            Change::Added(messages) => {
                for message in messages {
                    self.next = self.next.max(message.uid.saturating_add(1));
                    self.messages.insert(message.uid, message);
                }
            }
            Change::Flags(changed) => {
                for (uid, flags) in changed {
                    if let Some(message) = self.messages.get_mut(&uid) {
                        message.flags = flags;
                    }
                }
            }
            Change::Gone(uids) => uids.iter().for_each(|uid| drop(self.messages.remove(uid))),
        }
    }

    /// Writes the change down, then makes it: what is answered for survives a kill.
    fn change(&mut self, change: Change) -> Result<()> {
        let mut line = serde_json::to_vec(&change).map_err(|e| broken(&self.dir, e.into()))?;
        line.push(b'\n');
        self.journal.write_all(&line).map_err(|e| broken(&self.dir, e))?;
        self.apply(change);
        Ok(())
    }

    /// The file of a message.
    pub(super) fn file(&self, uid: u32) -> PathBuf {
        self.dir.join(format!("{uid:08}.eml"))
    }

    /// Takes all of them or none; gives their UIDs.
    pub(super) fn add(&mut self, incoming: &[Incoming]) -> Result<Vec<u32>> {
        let mut added = Vec::with_capacity(incoming.len());
        for (uid, message) in (self.next..).zip(incoming) {
            std::fs::rename(&message.file, self.file(uid)).map_err(|e| broken(&message.file, e))?;
            added.push(Message { uid, flags: message.flags.clone(), date: message.date, zone: message.zone, size: message.size });
        }
        let uids = added.iter().map(|message| message.uid).collect();
        if !added.is_empty() {
            self.change(Change::Added(added))?;
        }
        Ok(uids)
    }

    pub(super) fn set_flags(&mut self, changed: Vec<(u32, Vec<String>)>) -> Result<()> {
        if changed.is_empty() { Ok(()) } else { self.change(Change::Flags(changed)) }
    }

    pub(super) fn remove(&mut self, uids: Vec<u32>) -> Result<()> {
        if uids.is_empty() {
            return Ok(());
        }
        let files: Vec<PathBuf> = uids.iter().map(|&uid| self.file(uid)).collect();
        self.change(Change::Gone(uids))?;
        for file in files {
            std::fs::remove_file(&file).map_err(|e| broken(&file, e))?;
        }
        Ok(())
    }

    fn size(&self) -> u64 {
        self.messages.values().map(|message| message.size).sum()
    }
}

/// Why a folder cannot be made, renamed or deleted.
#[derive(Debug)]
pub(super) enum Refused {
    Exists,
    NoParent,
    BadName,
    Missing,
    Default,
    HasChildren,
    Broken(crate::Error),
}

impl From<crate::Error> for Refused {
    fn from(e: crate::Error) -> Self {
        Refused::Broken(e)
    }
}

/// All mail of an account.
pub(super) struct Mailbox {
    dir: PathBuf,
    defaults: [(&'static str, Special); 5],
    pub(super) folders: BTreeMap<String, Folder>,
    pub(super) subscribed: BTreeSet<String>,
    /// Bytes of all messages.
    pub(super) bytes: u64,
    validity_last: u32,
    incoming: AtomicU64,
}

impl Mailbox {
    /// Opens the account's mail; the first time, its default folders are made.
    pub(super) fn open(dir: &Path, language: Language) -> Result<Self> {
        folder(&dir.join("incoming"))?;
        for left in std::fs::read_dir(dir.join("incoming")).map_err(|e| broken(dir, e))?.flatten() {
            std::fs::remove_file(left.path()).map_err(|e| broken(dir, e))?;
        }
        let folders_dir = dir.join("folders");
        folder(&folders_dir)?;
        let mut mailbox = Mailbox {
            dir: dir.to_owned(),
            defaults: default_folders(language),
            folders: BTreeMap::new(),
            subscribed: BTreeSet::new(),
            bytes: 0,
            validity_last: 0,
            incoming: AtomicU64::new(0),
        };
        for name in names_in(&folders_dir)? {
            let dir = mailbox.dir_of(&name).unwrap_or_default();
            if dir.join(JOURNAL).exists() {
                mailbox.folders.insert(name, Folder::open(&dir)?);
            }
        }
        mailbox.count();
        if let Ok(text) = std::fs::read(dir.join(SUBSCRIPTIONS)) {
            mailbox.subscribed = serde_json::from_slice(&text).map_err(|e| broken(dir, e.into()))?;
        }
        mailbox.make_defaults()?;
        Ok(mailbox)
    }

    fn count(&mut self) {
        self.bytes = self.folders.values().map(Folder::size).sum();
        self.validity_last = self.folders.values().map(|folder| folder.validity).max().unwrap_or(0);
    }

    fn make_defaults(&mut self) -> Result<()> {
        for (name, _) in self.defaults {
            if !self.folders.contains_key(name) {
                match self.create(name) {
                    Ok(()) => self.subscribe(name, true)?,
                    Err(Refused::Broken(e)) => return Err(e),
                    Err(_) => {}
                }
            }
        }
        Ok(())
    }

    pub(super) fn special(&self, name: &str) -> Option<Special> {
        self.defaults.iter().find(|(default, _)| *default == name).map(|(_, special)| *special)
    }

    fn dir_of(&self, name: &str) -> Option<PathBuf> {
        Some(self.dir.join("folders").join(segment(name)?))
    }

    /// A path for a message that comes in.
    pub(super) fn incoming_file(&self) -> PathBuf {
        self.dir.join("incoming").join(self.incoming.fetch_add(1, Ordering::Relaxed).to_string())
    }

    /// A UIDVALIDITY that no folder here had before, so that a name used again is seen to be another folder.
    fn validity(&mut self) -> u32 {
        let now = u32::try_from(jiff::Timestamp::now().as_second()).unwrap_or(1);
        self.validity_last = now.max(self.validity_last.saturating_add(1));
        self.validity_last
    }

    fn check_name(&self, name: &str) -> std::result::Result<PathBuf, Refused> {
        let parts_fine = name.split('/').all(|part| !part.trim().is_empty() && !part.chars().any(char::is_control));
        let reserved = name.starts_with('~') || name.split('/').next() == Some("Public Folders");
        match self.dir_of(name) {
            Some(dir) if parts_fine && !reserved => Ok(dir),
            _ => Err(Refused::BadName),
        }
    }

    fn check_new(&self, name: &str) -> std::result::Result<PathBuf, Refused> {
        let dir = self.check_name(name)?;
        if self.folders.contains_key(name) {
            return Err(Refused::Exists);
        }
        match name.rsplit_once('/') {
            Some((parent, _)) if !self.folders.contains_key(parent) => Err(Refused::NoParent),
            _ => Ok(dir),
        }
    }

    pub(super) fn create(&mut self, name: &str) -> std::result::Result<(), Refused> {
        let dir = self.check_new(name)?;
        let validity = self.validity();
        self.folders.insert(name.to_owned(), Folder::make(&dir, validity)?);
        Ok(())
    }

    pub(super) fn has_children(&self, name: &str) -> bool {
        let prefix = format!("{name}/");
        self.folders.range(prefix.clone()..).next().is_some_and(|(other, _)| other.starts_with(&prefix))
    }

    pub(super) fn delete(&mut self, name: &str) -> std::result::Result<(), Refused> {
        match () {
            () if !self.folders.contains_key(name) => return Err(Refused::Missing),
            () if self.special(name).is_some() => return Err(Refused::Default),
            () if self.has_children(name) => return Err(Refused::HasChildren),
            () => {}
        }
        let dir = self.dir_of(name).ok_or(Refused::BadName)?;
        std::fs::remove_dir_all(&dir).map_err(|e| broken(&dir, e))?;
        self.folders.remove(name);
        self.bytes = self.folders.values().map(Folder::size).sum();
        Ok(())
    }

    /// Renames a folder and those below it.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> std::result::Result<(), Refused> {
        if !self.folders.contains_key(from) {
            return Err(Refused::Missing);
        }
        if self.special(from).is_some() {
            return Err(Refused::Default);
        }
        if to.starts_with(&format!("{from}/")) {
            return Err(Refused::BadName);
        }
        self.check_new(to)?;
        let moved =
            |name: &str| (name == from || name.starts_with(&format!("{from}/"))).then(|| format!("{to}{}", &name[from.len()..]));
        let renames: Vec<(String, String)> = self.folders.keys().filter_map(|name| Some((name.clone(), moved(name)?))).collect();
        for (_, new) in &renames {
            self.check_name(new)?;
        }
        for (old, new) in renames {
            let (old_dir, new_dir) = (self.check_name(&old)?, self.check_name(&new)?);
            std::fs::rename(&old_dir, &new_dir).map_err(|e| broken(&old_dir, e))?;
            self.folders.remove(&old);
            self.folders.insert(new, Folder::open(&new_dir)?);
        }
        Ok(())
    }

    pub(super) fn subscribe(&mut self, name: &str, wanted: bool) -> Result<()> {
        if wanted {
            self.subscribed.insert(name.to_owned())
        } else {
            self.subscribed.remove(name)
        };
        let text = serde_json::to_vec(&self.subscribed).map_err(|e| broken(&self.dir, e.into()))?;
        replace(&self.dir.join(SUBSCRIPTIONS), &text).map_err(|e| broken(&self.dir, e))
    }
}
