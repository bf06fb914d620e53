//! What two snapshots of an archive hold differently: items new, gone, moved between collections, and changed in their state.
//!
//! A collection whose listings have the same digests in both is not read, so the cost is that of what changed.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::archive::{AccountEntry, Archive, CollectionEntry, Snapshot};
use crate::error::Result;
use crate::model::{CollectionKind, CollectionPath, Digest, Flag, InternalDate, Placement};

/// An item, as far as a person needs to know it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ItemNote {
    /// Its digest.
    pub sha256: Digest,
    /// Its bytes.
    pub size: u64,
    /// Message-ID, UID or path: the first that there is.
    pub name: String,
}

/// An item that lies elsewhere now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// The item.
    #[serde(flatten)]
    pub item: ItemNote,
    /// The collection that it was in.
    pub from: String,
}

/// An item whose state is another now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// The item.
    #[serde(flatten)]
    pub item: ItemNote,
    /// What changed, in words such as `+\Seen`, `-keyword`, `date 2024-01-01T00:00:00Z`.
    pub what: Vec<String>,
}

/// What is different in one collection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CollectionDifference {
    /// Its account.
    pub account: String,
    /// Its name.
    pub collection: String,
    /// What it holds.
    pub kind: CollectionKind,
    /// Is it in the first snapshot?
    pub was_there: bool,
    /// Is it in the second?
    pub is_there: bool,
    /// Items that no collection of the account had.
    pub new: Vec<ItemNote>,
    /// Items that no collection of the account has any more.
    pub gone: Vec<ItemNote>,
    /// Items that came from another collection of the account.
    pub moved: Vec<Moved>,
    /// Items whose flags, keywords, labels or date changed.
    pub changed: Vec<Changed>,
}

impl CollectionDifference {
    fn is_empty(&self) -> bool {
        self.was_there == self.is_there
            && self.new.is_empty()
            && self.gone.is_empty()
            && self.moved.is_empty()
            && self.changed.is_empty()
    }
}

/// What is different in two snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Name of the first snapshot.
    pub from: String,
    /// Name of the second.
    pub to: String,
    /// Items new.
    pub new: u64,
    /// Items gone.
    pub gone: u64,
    /// Items moved.
    pub moved: u64,
    /// Items changed.
    pub changed: u64,
    /// Collections in which anything is different.
    pub collections: Vec<CollectionDifference>,
}

/// Compares two snapshots.
///
/// # Errors
/// `Kind::Damage` when a listing that has to be read is damaged.
pub fn diff(archive: &Archive, from: &Snapshot, to: &Snapshot) -> Result<Difference> {
    let mut found = Difference { from: from.id.clone(), to: to.id.clone(), ..Difference::default() };
    let mut accounts: BTreeMap<&str, (Option<&AccountEntry>, Option<&AccountEntry>)> = BTreeMap::new();
    for account in &from.root.accounts {
        accounts.entry(&account.account).or_default().0 = Some(account);
    }
    for account in &to.root.accounts {
        accounts.entry(&account.account).or_default().1 = Some(account);
    }
    for (name, (old, new)) in accounts {
        if old.map(|a| a.listing) != new.map(|a| a.listing) {
            found.collections.extend(account(archive, name, old, new)?);
        }
    }
    for c in &found.collections {
        found.new += c.new.len() as u64;
        found.gone += c.gone.len() as u64;
        found.moved += c.moved.len() as u64;
        found.changed += c.changed.len() as u64;
    }
    Ok(found)
}

/// Collections of one name: a source may have several, and they are compared as one.
type Named = BTreeMap<(CollectionPath, CollectionKind), (Vec<CollectionEntry>, Vec<CollectionEntry>)>;

fn account(
    archive: &Archive,
    name: &str,
    old: Option<&AccountEntry>,
    new: Option<&AccountEntry>,
) -> Result<Vec<CollectionDifference>> {
    let mut named = Named::new();
    for entry in old.map(|a| archive.collections(a)).transpose()?.unwrap_or_default() {
        named.entry((entry.head.path.clone(), entry.head.kind)).or_default().0.push(entry);
    }
    for entry in new.map(|a| archive.collections(a)).transpose()?.unwrap_or_default() {
        named.entry((entry.head.path.clone(), entry.head.kind)).or_default().1.push(entry);
    }
    let mut differences = Vec::new();
    for ((path, kind), (old, new)) in named {
        let mut difference = CollectionDifference {
            account: name.to_owned(),
            collection: path.to_string(),
            kind,
            was_there: !old.is_empty(),
            is_there: !new.is_empty(),
            new: Vec::new(),
            gone: Vec::new(),
            moved: Vec::new(),
            changed: Vec::new(),
        };
        if !old.iter().map(|c| c.listing).eq(new.iter().map(|c| c.listing)) {
            compare(archive, &old, &new, &mut difference)?;
        }
        differences.push(difference);
    }
    find_moves(&mut differences);
    differences.retain(|d| !d.is_empty());
    Ok(differences)
}

/// State of a placement that a person would call a change.
#[derive(PartialEq, Eq)]
struct State {
    flags: Vec<Flag>,
    keywords: Vec<String>,
    labels: Vec<String>,
    date: Option<InternalDate>,
}

impl State {
    fn of(placement: &Placement) -> Self {
        let sorted = |texts: &[String]| {
            let mut texts = texts.to_vec();
            texts.sort_unstable();
            texts
        };
        let (keywords, labels) = (sorted(&placement.keywords), sorted(&placement.labels));
        State { flags: placement.flags.clone(), keywords, labels, date: placement.date }
    }

    /// What makes `new` of this one.
    fn changes(&self, new: &State) -> Vec<String> {
        let mut what = Vec::new();
        let mut lists = |old: &[String], new: &[String]| {
            what.extend(new.iter().filter(|x| !old.contains(x)).map(|x| format!("+{x}")));
            what.extend(old.iter().filter(|x| !new.contains(x)).map(|x| format!("-{x}")));
        };
        let flags = |state: &State| state.flags.iter().map(|f| format!("\\{f:?}")).collect::<Vec<String>>();
        lists(&flags(self), &flags(new));
        lists(&self.keywords, &new.keywords);
        lists(&self.labels, &new.labels);
        if self.date != new.date {
            what.push(new.date.map_or("no date".to_owned(), |d| format!("date {}", d.at)));
        }
        what
    }
}

fn note_of(placement: &Placement) -> ItemNote {
    let name = placement.message_id.as_ref().or(placement.uid.as_ref()).unwrap_or(&placement.source.path);
    ItemNote { sha256: placement.sha256, size: placement.size, name: name.clone() }
}

fn compare(archive: &Archive, old: &[CollectionEntry], new: &[CollectionEntry], found: &mut CollectionDifference) -> Result<()> {
    // In the order of the listing, so that the answer does not depend on a hash.
    let mut before: HashMap<Digest, Vec<(u64, State, ItemNote)>> = HashMap::new();
    let mut number = 0;
    for entry in old {
        archive.placements(entry, &mut |p| {
            number += 1;
            before.entry(p.sha256).or_default().push((number, State::of(&p), note_of(&p)));
            Ok(())
        })?;
    }
    let mut unmatched: Vec<(Digest, State, ItemNote)> = Vec::new();
    for entry in new {
        archive.placements(entry, &mut |p| {
            let state = State::of(&p);
            let same = before.get_mut(&p.sha256).and_then(|olds| {
                let at = olds.iter().position(|(_, old, _)| *old == state)?;
                Some(olds.remove(at))
            });
            if same.is_none() {
                unmatched.push((p.sha256, state, note_of(&p)));
            }
            Ok(())
        })?;
    }
    for (digest, state, item) in unmatched {
        match before.get_mut(&digest).filter(|olds| !olds.is_empty()).map(|olds| olds.remove(0)) {
            Some((_, old, _)) => found.changed.push(Changed { item, what: old.changes(&state) }),
            None => found.new.push(item),
        }
    }
    let mut gone: Vec<(u64, ItemNote)> = before.into_values().flatten().map(|(number, _, item)| (number, item)).collect();
    gone.sort_unstable_by_key(|(number, _)| *number);
    found.gone = gone.into_iter().map(|(_, item)| item).collect();
    Ok(())
}

/// Pairs items that are gone in one collection with the same that are new in another.
fn find_moves(differences: &mut [CollectionDifference]) {
    let mut gone: HashMap<Digest, Vec<usize>> = HashMap::new();
    for (at, difference) in differences.iter().enumerate() {
        for item in &difference.gone {
            gone.entry(item.sha256).or_default().push(at);
        }
    }
    let mut taken: HashMap<(usize, Digest), usize> = HashMap::new();
    for at in 0..differences.len() {
        let mut stay = Vec::new();
        for item in std::mem::take(&mut differences[at].new) {
            match gone.get_mut(&item.sha256).and_then(Vec::pop) {
                Some(source) => {
                    *taken.entry((source, item.sha256)).or_default() += 1;
                    let from = differences[source].collection.clone();
                    differences[at].moved.push(Moved { item, from });
                }
                None => stay.push(item),
            }
        }
        differences[at].new = stay;
    }
    for (at, difference) in differences.iter_mut().enumerate() {
        difference.gone.retain(|item| match taken.get_mut(&(at, item.sha256)) {
            Some(n) if *n > 0 => {
                *n -= 1;
                false
            }
            _ => true,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_named_by_what_came_and_what_went() {
        let state = |flags: &[Flag], keywords: &[&str]| State {
            flags: flags.to_vec(),
            keywords: keywords.iter().map(|k| (*k).to_owned()).collect(),
            labels: Vec::new(),
            date: None,
        };
        let what = state(&[Flag::Seen], &["a"]).changes(&state(&[Flag::Flagged, Flag::Seen], &["b"]));
        assert_eq!(what, ["+\\Flagged", "+b", "-a"]);
    }

    #[test]
    fn an_item_moves_once_for_every_time_it_is_gone() {
        let item = |n: u8| ItemNote { sha256: Digest::of(&[n]), size: 1, name: n.to_string() };
        let collection = |name: &str, new: &[u8], gone: &[u8]| CollectionDifference {
            account: "anna".into(),
            collection: name.into(),
            kind: CollectionKind::Mail,
            was_there: true,
            is_there: true,
            new: new.iter().map(|n| item(*n)).collect(),
            gone: gone.iter().map(|n| item(*n)).collect(),
            moved: Vec::new(),
            changed: Vec::new(),
        };
        let mut all = [collection("A", &[2], &[1, 1, 3]), collection("B", &[1, 1, 1], &[2])];
        find_moves(&mut all);
        assert_eq!((all[1].moved.len(), all[1].new.len(), all[0].moved.len()), (2, 1, 1));
        assert_eq!((all[0].gone.clone(), all[1].gone.len()), (vec![item(3)], 0));
        assert_eq!(all[0].moved[0].from, "B");
    }
}
