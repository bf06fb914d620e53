//! Reads one folder of the target back over DAV and compares it: objects by UID and property by property, files by path and bytes.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{Difference, Folder, Verdict};
use crate::archive::Archive;
use crate::dav::{Client, Entry, Homes, last_name};
use crate::error::{Kind, Result};
use crate::model::{Digest, Hasher, Placement};
use crate::monitor::Monitor;
use crate::objects::{Likeness, PropertyChange, compare, fit, uid_of};
use crate::replay::groupware::{LARGEST_OBJECT, find, relative_path, resource_path};
use crate::replay::plan::{Cause, Part, legal_file_name};

/// The rule by which one object may stand for two items.
pub const ONE_OBJECT: &str = "the folder held the same object twice, and one UID has one object (RFC 4791 4.1)";
/// The rule by which a file's name may differ.
pub const LEGAL_NAME: &str = "characters of its name that servers do not take are replaced";
/// Folders in folders that are looked into.
const MAX_DEPTH: usize = 64;

/// An item and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// From the archive; none for what is there too often or is extra.
    pub item: Option<Placement>,
    /// Where it is on the target; none for what is missing.
    pub href: Option<String>,
    /// What became of it.
    pub verdict: Verdict,
}

/// Compares a part of a collection with the folder that should hold it. A folder that is not there is no error: everything is missing.
///
/// # Errors
/// Those of reading the archive, of the connection, and of `each`.
pub fn compare_folder(
    folder: Folder<'_>,
    client: &mut Client,
    homes: &Homes,
    monitor: &dyn Monitor,
    each: &mut dyn FnMut(Compared) -> Result<()>,
) -> Result<()> {
    let place = match find(client, homes, folder.part, folder.to) {
        Err(e) if e.kind() == Kind::Refused => None,
        place => place?,
    };
    let mut items = Vec::new();
    folder.placements(&mut |item, _| {
        items.push(item);
        Ok(())
    })?;
    let compared = match folder.part {
        Part::Files => files(client, folder, items, place.as_deref(), monitor)?,
        _ => objects(client, folder.archive, items, place.as_deref(), monitor)?,
    };
    // Of a sample nothing can be said about what is there besides.
    compared.into_iter().filter(|c| folder.sample.is_none() || c.item.is_some()).try_for_each(each)
}

fn missing(item: Placement) -> Compared {
    Compared { item: Some(item), href: None, verdict: Verdict::Missing }
}

fn besides(path: &str, verdict: Verdict) -> Compared {
    Compared { item: None, href: Some(path.to_owned()), verdict }
}

/// What is archived of one object.
struct Expected {
    item: Placement,
    uid: String,
}

fn objects(
    client: &mut Client,
    archive: &Archive,
    items: Vec<Placement>,
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
    let mut found: Vec<Option<(String, Verdict)>> = vec![None; expected.len()];
    let mut pairs: HashMap<String, (Digest, String)> = HashMap::new();
    let mut others = Vec::new();
    let entries = place.map_or_else(|| Ok(Vec::new()), |place| client.list(place))?;
    for entry in entries.iter().filter(|e| !e.is_collection) {
        let Some(object) = client.get(&entry.path, 2 * LARGEST_OBJECT)? else { continue };
        monitor.advance(1, object.bytes.len() as u64);
        let uid = uid_of(&object.bytes).unwrap_or_else(|| last_name(&entry.path));
        let Some(at) = by_uid.get_mut(uid.as_str()).and_then(VecDeque::pop_front) else {
            let verdict = if by_uid.contains_key(uid.as_str()) { Verdict::Duplicate } else { Verdict::Extra };
            others.push(besides(&entry.path, verdict));
            continue;
        };
        let item = &expected[at].item;
        let verdict = verdict(compare(&archive.read(item.sha256, LARGEST_OBJECT)?, &object.bytes));
        pairs.insert(uid, (item.sha256, entry.path.clone()));
        found[at] = Some((entry.path.clone(), verdict));
    }
    let compared = expected.into_iter().zip(found).map(|(Expected { item, uid }, found)| match found {
        Some((href, verdict)) => Compared { item: Some(item), href: Some(href), verdict },
        None => match pairs.get(&uid) {
            Some((same, href)) if *same == item.sha256 => {
                Compared { item: Some(item), href: Some(href.clone()), verdict: Verdict::Equivalent(ONE_OBJECT.to_owned()) }
            }
            _ => missing(item),
        },
    });
    Ok(compared.chain(others).collect())
}

fn verdict(likeness: Likeness) -> Verdict {
    match likeness {
        Likeness::Identical => Verdict::Identical,
        Likeness::Equivalent(rule) => Verdict::Equivalent(rule.words().to_owned()),
        Likeness::Changed(changes) => Verdict::Changed(changes.iter().map(difference).collect()),
    }
}

fn difference(change: &PropertyChange) -> Difference {
    let what = format!("property {}", if change.name.is_empty() { "(all)" } else { &change.name });
    let word = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
    let detail = format!("{} archived, {} found", word(&change.expected), word(&change.found));
    Difference { cause: change.expected.is_some().then_some(Cause::PropertyLost), what, detail }
}

/// Takes the cause off properties that the forecast does not name: that others are lost does not excuse these. Of one that it names, what has
/// come in its place is foreseen as well.
pub fn only_named(verdict: &mut Verdict, foreseen: &[(Cause, String)]) {
    let Verdict::Changed(differences) = verdict else { return };
    let named: HashSet<&str> =
        foreseen.iter().filter(|(cause, _)| *cause == Cause::PropertyLost).flat_map(|(_, names)| names.split(' ')).collect();
    for difference in differences.iter_mut().filter(|d| d.cause == Some(Cause::PropertyLost) || d.what.starts_with("property ")) {
        let name = difference.what.rsplit(['/', ' ']).next().unwrap_or_default();
        difference.cause = named.contains(name).then_some(Cause::PropertyLost);
    }
}

fn files(
    client: &mut Client,
    folder: Folder<'_>,
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
        let names = relative_path(&folder.collection.head, &item);
        let key = place.map(|place| plain(&resource_path(place, &names))).unwrap_or_default();
        let as_named = names.iter().all(|name| legal_file_name(name) == *name);
        let verdict = match there.get(&key) {
            Some(entry) => file(client, &item, entry, as_named, monitor)?,
            None => Verdict::Missing,
        };
        let href = there.get(&key).filter(|_| verdict != Verdict::Missing).map(|entry| entry.path.clone());
        compared.push(Compared { item: Some(item), href, verdict });
        seen.insert(key);
    }
    let mut extras: Vec<&Entry> = there.iter().filter(|(key, _)| !seen.contains(*key)).map(|(_, entry)| entry).collect();
    extras.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    compared.extend(extras.into_iter().map(|entry| besides(&entry.path, Verdict::Extra)));
    Ok(compared)
}

fn file(client: &mut Client, item: &Placement, entry: &Entry, as_named: bool, monitor: &dyn Monitor) -> Result<Verdict> {
    let mut hasher = Hasher::default();
    let Some((size, _)) = client.get_to(&entry.path, &mut hasher)? else { return Ok(Verdict::Missing) };
    monitor.advance(1, size);
    let mut differences = Vec::new();
    if hasher.finish() != item.sha256 {
        let detail = format!("{} bytes archived, {size} found", item.size);
        differences.push(Difference { cause: Some(Cause::ContentChanged), what: "bytes".to_owned(), detail });
    }
    if let Some(at) = item.date.map(|d| d.at).filter(|at| entry.modified != Some(*at)) {
        let found = entry.modified.map_or("none".to_owned(), |at| at.to_string());
        let detail = format!("{at} archived, {found} found");
        differences.push(Difference { cause: Some(Cause::DateChanged), what: "modification time".to_owned(), detail });
    }
    Ok(match (differences.is_empty(), as_named) {
        (false, _) => Verdict::Changed(differences),
        (true, true) => Verdict::Identical,
        (true, false) => Verdict::Equivalent(LEGAL_NAME.to_owned()),
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_that_was_not_foreseen_is_not_excused_by_another() {
        let lost =
            |name: &str| difference(&PropertyChange { name: name.to_owned(), expected: Some("x".to_owned()), found: None });
        let mut verdict = Verdict::Changed(vec![lost("VCARD/KIND"), lost("VCARD/TEL")]);
        only_named(&mut verdict, &[(Cause::PropertyLost, "KIND GENDER".to_owned())]);
        let Verdict::Changed(differences) = verdict else { panic!("changed") };
        assert_eq!(differences.iter().map(|d| d.cause).collect::<Vec<_>>(), [Some(Cause::PropertyLost), None]);
    }
}
