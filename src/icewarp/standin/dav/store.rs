//! The collections of one account: folders on disk, each item a file, each collection with a journal of its ETags.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::super::Language;
use super::super::directory::names_in;
use super::super::place::{broken, folder, replace, segment};
use crate::error::Result;

const ABOUT: &str = ".collection.json";
const JOURNAL: &str = ".items.jsonl";

/// The one type of item that a collection holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) enum Kind {
    Events,
    Tasks,
    Journal,
    Notes,
    Contacts,
    Files,
}

impl Kind {
    /// The kind whose collections hold a component of that name.
    pub(in super::super) fn of_component(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "VEVENT" => Kind::Events,
            "VTODO" => Kind::Tasks,
            "VJOURNAL" => Kind::Journal,
            "VNOTE" => Kind::Notes,
            _ => return None,
        })
    }

    /// The component that its items are made of; files and contacts are none of iCalendar's.
    pub(in super::super) fn component(self) -> Option<&'static str> {
        Some(match self {
            Kind::Events => "VEVENT",
            Kind::Tasks => "VTODO",
            Kind::Journal => "VJOURNAL",
            Kind::Notes => "VNOTE",
            Kind::Contacts | Kind::Files => return None,
        })
    }

    /// The letter of the XML API.
    pub(in super::super) fn letter(self) -> &'static str {
        match self {
            Kind::Events => "E",
            Kind::Tasks => "T",
            Kind::Journal => "J",
            Kind::Notes => "N",
            Kind::Contacts => "C",
            Kind::Files => "F",
        }
    }
}

/// The collections of a fresh account.
fn default_collections(language: Language) -> [(&'static str, Kind); 6] {
    let names = match language {
        Language::English => ["Calendar", "Tasks", "Journal", "Notes", "Contacts", "Documents"],
        Language::Czech => ["Kalendář", "Úkoly", "Deník", "Poznámky", "Kontakty", "Dokumenty"],
        Language::German => ["Kalender", "Aufgaben", "Journal", "Notizen", "Kontakte", "Dokumente"],
    };
    let [events, tasks, journal, notes, contacts, files] = names;
    [
        (events, Kind::Events),
        (tasks, Kind::Tasks),
        (journal, Kind::Journal),
        (notes, Kind::Notes),
        (contacts, Kind::Contacts),
        (files, Kind::Files),
    ]
}

/// What a collection says of itself.
#[derive(Clone, Serialize, Deserialize)]
pub(in super::super) struct About {
    pub(in super::super) kind: Kind,
    /// Properties that were set: `displayname` and the like.
    #[serde(default)]
    pub(in super::super) properties: BTreeMap<String, String>,
}

/// One item, as the journal has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in super::super) struct Item {
    pub(in super::super) name: String,
    /// Of the ETag `"id:counter"`.
    pub(in super::super) id: u64,
    counter: u64,
    pub(in super::super) mime: String,
    pub(in super::super) size: u64,
    /// Seconds since 1970.
    pub(in super::super) modified: i64,
}

impl Item {
    pub(in super::super) fn etag(&self) -> String {
        format!("\"{:x}:{}\"", self.id, self.counter)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Change {
    Put(Item),
    Gone(String),
}

/// A collection.
pub(in super::super) struct Collection {
    dir: PathBuf,
    pub(in super::super) about: About,
    pub(in super::super) items: BTreeMap<String, Item>,
    ids_given: u64,
}

impl Collection {
    fn make(dir: &Path, about: About) -> Result<Self> {
        folder(dir)?;
        let collection = Collection { dir: dir.to_owned(), about, items: BTreeMap::new(), ids_given: 0 };
        collection.save_about()?;
        Ok(collection)
    }

    fn open(dir: &Path) -> Result<Option<Self>> {
        let Ok(about) = std::fs::read(dir.join(ABOUT)) else { return Ok(None) };
        let about = serde_json::from_slice(&about).map_err(|e| broken(dir, e.into()))?;
        let mut collection = Collection { dir: dir.to_owned(), about, items: BTreeMap::new(), ids_given: 0 };
        let path = dir.join(JOURNAL);
        let text = std::fs::read(&path).unwrap_or_default();
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        if whole < text.len() {
            let journal = OpenOptions::new().write(true).open(&path).map_err(|e| broken(&path, e))?;
            journal.set_len(whole as u64).map_err(|e| broken(&path, e))?;
        }
        for line in text[..whole].split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            collection.apply(serde_json::from_slice(line).map_err(|e| broken(&path, e.into()))?);
        }
        Ok(Some(collection))
    }

    pub(in super::super) fn save_about(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(&self.about).map_err(|e| broken(&self.dir, e.into()))?;
        replace(&self.dir.join(ABOUT), &text).map_err(|e| broken(&self.dir, e))
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Put(item) => {
                self.ids_given = self.ids_given.max(item.id);
                self.items.insert(item.name.clone(), item);
            }
            Change::Gone(name) => drop(self.items.remove(&name)),
        }
    }

    fn change(&mut self, change: Change) -> Result<()> {
        let mut line = serde_json::to_vec(&change).map_err(|e| broken(&self.dir, e.into()))?;
        line.push(b'\n');
        let path = self.dir.join(JOURNAL);
        let journal = OpenOptions::new().append(true).create(true).open(&path);
        journal.and_then(|mut journal| journal.write_all(&line)).map_err(|e| broken(&path, e))?;
        self.apply(change);
        Ok(())
    }

    /// The file of an item; `None` if the name is too long.
    pub(in super::super) fn file(&self, name: &str) -> Option<PathBuf> {
        // An item carries an `=` in front, which no escaped name does: so it is never taken for a collection.
        Some(self.dir.join(format!("={}", segment(name).filter(|segment| segment.len() < 250)?)))
    }

    /// Stores an item, new or again.
    pub(in super::super) fn put(&mut self, name: &str, mime: &str, bytes: &[u8]) -> Result<()> {
        let Some(file) = self.file(name) else { return Ok(()) };
        replace(&file, bytes).map_err(|e| broken(&file, e))?;
        let (id, counter) = self.items.get(name).map_or((self.ids_given + 1, 1), |item| (item.id, item.counter + 1));
        let modified = jiff::Timestamp::now().as_second();
        let item = Item { name: name.to_owned(), id, counter, mime: mime.to_owned(), size: bytes.len() as u64, modified };
        self.change(Change::Put(item))
    }

    pub(in super::super) fn remove(&mut self, name: &str) -> Result<()> {
        self.change(Change::Gone(name.to_owned()))?;
        let Some(file) = self.file(name) else { return Ok(()) };
        std::fs::remove_file(&file).map_err(|e| broken(&file, e))
    }

    fn bytes(&self) -> u64 {
        self.items.values().map(|item| item.size).sum()
    }
}

/// All collections of an account, by their paths below the home.
pub(in super::super) struct Home {
    dir: PathBuf,
    defaults: [(&'static str, Kind); 6],
    pub(in super::super) collections: BTreeMap<String, Collection>,
    /// Bytes of all items.
    pub(in super::super) bytes: u64,
}

impl Home {
    /// Opens the account's items; the first time, its default collections are made.
    pub(in super::super) fn open(dir: &Path, language: Language) -> Result<Self> {
        folder(dir)?;
        let mut home =
            Home { dir: dir.to_owned(), defaults: default_collections(language), collections: BTreeMap::new(), bytes: 0 };
        home.find("")?;
        for (name, kind) in home.defaults {
            if !home.collections.contains_key(name) {
                home.make(name, About { kind, properties: BTreeMap::new() })?;
            }
        }
        home.recount();
        Ok(home)
    }

    fn find(&mut self, above: &str) -> Result<()> {
        for name in names_in(&self.dir_of(above).unwrap_or_default())? {
            let path = if above.is_empty() { name } else { format!("{above}/{name}") };
            let Some(dir) = self.dir_of(&path).filter(|dir| dir.is_dir()) else { continue };
            if let Some(collection) = Collection::open(&dir)? {
                self.collections.insert(path.clone(), collection);
                self.find(&path)?;
            }
        }
        Ok(())
    }

    pub(in super::super) fn recount(&mut self) {
        self.bytes = self.collections.values().map(Collection::bytes).sum();
    }

    fn dir_of(&self, path: &str) -> Option<PathBuf> {
        path.split('/').filter(|part| !part.is_empty()).try_fold(self.dir.clone(), |dir, part| Some(dir.join(segment(part)?)))
    }

    /// Makes a collection whose parent is there; `false` if the name cannot be a folder's.
    pub(in super::super) fn make(&mut self, path: &str, about: About) -> Result<bool> {
        let Some(dir) = self.dir_of(path) else { return Ok(false) };
        let collection = Collection::make(&dir, about)?;
        self.collections.insert(path.to_owned(), collection);
        Ok(true)
    }

    /// Removes a collection and those below it.
    pub(in super::super) fn remove(&mut self, path: &str) -> Result<()> {
        let Some(dir) = self.dir_of(path) else { return Ok(()) };
        std::fs::remove_dir_all(&dir).map_err(|e| broken(&dir, e))?;
        let below = format!("{path}/");
        self.collections.retain(|other, _| other != path && !other.starts_with(&below));
        self.recount();
        Ok(())
    }

    /// The default collection of a kind, under whatever name.
    pub(in super::super) fn default_of(&self, kind: Kind) -> &'static str {
        self.defaults.iter().find(|(_, other)| *other == kind).map_or("", |(name, _)| name)
    }

    /// Paths and kinds of all collections.
    pub(in super::super) fn collections(&self) -> Vec<(String, Kind)> {
        self.collections.iter().map(|(path, collection)| (path.clone(), collection.about.kind)).collect()
    }
}
