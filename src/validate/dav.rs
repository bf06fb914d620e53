//! Reads one folder of the target back over DAV and compares it: objects by UID and property by property, files by path and bytes.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::archive::{Archive, CollectionEntry};
use crate::dav::{Client, Entry, Homes, last_name};
use crate::error::{Kind, Result};
use crate::model::{Digest, Hasher, Placement};
use crate::monitor::Monitor;
use crate::objects::{Likeness, compare, fit, uid_of};
use crate::replay::groupware::{LARGEST_OBJECT, find, relative_path, resource_path};
use crate::replay::plan::{Part, legal_file_name, part_of};
use crate::validate::mail::{Difference, Verdict};

/// The rule by which one object may stand for two items.
pub const ONE_OBJECT: &str = "the folder held the same object twice, and one UID has one object (RFC 4791 4.1)";
/// The rule by which a file's name may differ.
pub const LEGAL_NAME: &str = "characters of its name that servers do not take are replaced";
/// Folders in folders that are looked into.
const MAX_DEPTH: usize = 64;

/// An item and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The item; none for what is there too often or is extra.
    pub item: Option<Digest>,
    /// Where it lies in the source.
    pub source: Option<String>,
    /// UID of the object, or the file's path.
    pub name: String,
    /// Where it is on the target.
    pub href: Option<String>,
    /// What became of it.
    pub verdict: Verdict,
}

/// Compares a part of a collection with the folder that should hold it. A folder that is not there is no error: everything is missing.
///
/// # Errors
/// Those of reading the archive and of the connection.
pub fn compare_folder(
    client: &mut Client,
    homes: &Homes,
    archive: &Archive,
    collection: &CollectionEntry,
    part: Part,
    to: &[String],
    monitor: &dyn Monitor,
) -> Result<Vec<Compared>> {
    let place = match find(client, homes, part, to) {
        Err(e) if e.kind() == Kind::Refused => None,
        place => place?,
    };
    let mut items = Vec::new();
    archive.placements(collection, &mut |item| {
        if part_of(collection.head.kind, item.component.as_deref()) == part {
            items.push(item);
        }
        Ok(())
    })?;
    let place = place.as_deref();
    match part {
        Part::Files => files(client, collection, items, place, monitor),
        _ => objects(client, archive, &items, place, monitor),
    }
}

fn missing(item: &Placement, name: String) -> Compared {
    let (item, source) = (Some(item.sha256), Some(item.source.to_string()));
    Compared { item, source, name, href: None, verdict: Verdict::Missing }
}

/// What is archived of one object.
struct Expected<'a> {
    item: &'a Placement,
    uid: String,
}

fn objects(
    client: &mut Client,
    archive: &Archive,
    items: &[Placement],
    place: Option<&str>,
    monitor: &dyn Monitor,
) -> Result<Vec<Compared>> {
    let mut expected = Vec::new();
    for item in items {
        // What is too large to be compared was too large to be sent.
        let fitted = if item.size <= LARGEST_OBJECT { fit(&archive.read(item.sha256, LARGEST_OBJECT)?) } else { None };
        let uid = fitted.map(|f| f.uid).or_else(|| item.uid.clone()).unwrap_or_else(|| item.sha256.to_string());
        expected.push(Expected { item, uid });
    }
    let mut by_uid: HashMap<&str, VecDeque<usize>> = HashMap::new();
    expected.iter().enumerate().for_each(|(at, e)| by_uid.entry(&e.uid).or_default().push_back(at));
    let mut found: Vec<Option<Compared>> = vec![None; expected.len()];
    let mut pairs: HashMap<String, (Digest, String)> = HashMap::new();
    let mut others = Vec::new();
    let entries = place.map_or_else(|| Ok(Vec::new()), |place| client.list(place))?;
    for entry in entries.iter().filter(|e| !e.is_collection) {
        let Some(object) = client.get(&entry.path, 2 * LARGEST_OBJECT)? else { continue };
        monitor.advance(1, object.bytes.len() as u64);
        let uid = uid_of(&object.bytes).unwrap_or_else(|| last_name(&entry.path));
        let href = Some(entry.path.clone());
        let Some(at) = by_uid.get_mut(uid.as_str()).and_then(VecDeque::pop_front) else {
            let verdict = if by_uid.contains_key(uid.as_str()) { Verdict::Duplicate } else { Verdict::Extra };
            others.push(Compared { item: None, source: None, name: uid, href, verdict });
            continue;
        };
        let item = expected[at].item;
        let verdict = verdict(compare(&archive.read(item.sha256, LARGEST_OBJECT)?, &object.bytes));
        pairs.insert(uid.clone(), (item.sha256, entry.path.clone()));
        found[at] = Some(Compared { item: Some(item.sha256), source: Some(item.source.to_string()), name: uid, href, verdict });
    }
    let compared = expected.into_iter().zip(found).map(|(expected, found)| {
        found.unwrap_or_else(|| match pairs.get(&expected.uid) {
            Some((same, href)) if *same == expected.item.sha256 => {
                let (href, verdict) = (Some(href.clone()), Verdict::Equivalent(ONE_OBJECT));
                Compared { href, verdict, ..missing(expected.item, expected.uid) }
            }
            _ => missing(expected.item, expected.uid),
        })
    });
    Ok(compared.chain(others).collect())
}

fn verdict(likeness: Likeness) -> Verdict {
    match likeness {
        Likeness::Identical => Verdict::Identical,
        Likeness::Equivalent(rule) => Verdict::Equivalent(rule.words()),
        Likeness::Changed(changes) => Verdict::Changed(changes.into_iter().map(Difference::Property).collect()),
    }
}

fn files(
    client: &mut Client,
    collection: &CollectionEntry,
    items: Vec<Placement>,
    place: Option<&str>,
    monitor: &dyn Monitor,
) -> Result<Vec<Compared>> {
    let mut there = HashMap::new();
    if let Some(place) = place {
        below(client, place, 0, &mut there)?;
    }
    let mut compared = Vec::new();
    let mut seen = HashSet::new();
    for item in items {
        let names = relative_path(&collection.head, &item);
        let name = names.join("/");
        let key = place.map(|place| plain(&resource_path(place, &names))).unwrap_or_default();
        let Some(entry) = there.get(&key) else {
            compared.push(missing(&item, name));
            continue;
        };
        let mut hasher = Hasher::default();
        let Some((size, _)) = client.get_to(&entry.path, &mut hasher)? else {
            compared.push(missing(&item, name));
            continue;
        };
        monitor.advance(1, size);
        let mut differences = Vec::new();
        if hasher.finish() != item.sha256 {
            differences.push(Difference::Bytes { expected: item.size, found: size });
        }
        if let Some(expected) = item.date.map(|d| d.at).filter(|at| entry.modified != Some(*at)) {
            differences.push(Difference::Date { expected, found: entry.modified });
        }
        let verdict = match (differences.is_empty(), names.iter().all(|name| legal_file_name(name) == *name)) {
            (false, _) => Verdict::Changed(differences),
            (true, true) => Verdict::Identical,
            (true, false) => Verdict::Equivalent(LEGAL_NAME),
        };
        let (href, source) = (Some(entry.path.clone()), Some(item.source.to_string()));
        compared.push(Compared { item: Some(item.sha256), source, name, href, verdict });
        seen.insert(key);
    }
    let mut extras: Vec<&Entry> = there.iter().filter(|(key, _)| !seen.contains(*key)).map(|(_, entry)| entry).collect();
    extras.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    compared.extend(extras.into_iter().map(|entry| Compared {
        item: None,
        source: None,
        name: last_name(&entry.path),
        href: Some(entry.path.clone()),
        verdict: Verdict::Extra,
    }));
    Ok(compared)
}

/// A path decoded, name by name, for looking it up whatever its encoding.
fn plain(path: &str) -> String {
    path.split('/').map(last_name).collect::<Vec<_>>().join("/")
}

/// All files below a folder, by their decoded paths.
fn below(client: &mut Client, folder: &str, depth: usize, all: &mut HashMap<String, Entry>) -> Result<()> {
    for entry in client.list(folder)? {
        if entry.is_collection && depth < MAX_DEPTH {
            below(client, &entry.path, depth + 1, all)?;
        } else if !entry.is_collection {
            all.insert(plain(&entry.path), entry);
        }
    }
    Ok(())
}
