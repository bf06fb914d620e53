//! The Merkle trees of a snapshot (RFC 6962, docs/format.md section 5): by them one item is shown to belong to a root, and no other item.
//!
//! Each collection has a tree over the lines of its listing, and one tree over all collections has its root in the snapshot's root.
//! So a collection that did not change keeps its tree, and a proof reads one listing only. Every leaf is blinded by a nonce that
//! comes from a secret in the archive: without it the neighbours in a proof could be guessed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;

use hmac::{Hmac, KeyInit as _, Mac as _};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::listing::{ListingWriter, line};
use super::pack::{ObjectForm, Sort};
use super::{AccountEntry, Archive, CollectionEntry, Findings, Root, Snapshot, Tool, Writer};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionKind, CollectionPath, Digest, Hasher};
use crate::vault::{self, ROOT_MAX_BYTES, SUFFIX};

/// The sort of tree that this code makes and reads.
const TREE: &str = "rfc6962-sha256";
/// Bytes of the secret.
const KEY_BYTES: usize = 32;

/// What a root says of its trees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merkle {
    /// Always `rfc6962-sha256`.
    pub tree: String,
    /// Collections: leaves of the upper tree.
    pub size: u64,
    /// Root of the upper tree.
    pub root: Digest,
    /// The object that is the secret behind the nonces.
    pub key: Digest,
    /// The listing of the collections' trees, in the order of the upper tree.
    pub collections: Digest,
}

/// What an encrypted root says of itself where only the item is to be shown: the header of its file commits to the leaf, which tells nothing
/// without the line and the nonce, and signatures are over the file.
#[derive(Clone, Debug)]
pub struct Statement {
    /// JSON.
    pub line: String,
    /// Blinds it.
    pub nonce: Digest,
    /// The hash of both.
    pub leaf: Digest,
}

/// The line of a statement: JSON in this order of members.
#[derive(Serialize)]
struct StatementLine<'a> {
    format: &'static str,
    version: u32,
    created: jiff::Timestamp,
    tool: &'a Tool,
    merkle: Trees<'a>,
}

#[derive(Serialize)]
struct Trees<'a> {
    tree: &'a str,
    size: u64,
    root: Digest,
}

/// The statement of a root; a root without trees has none.
///
/// # Errors
/// `Kind::Damage` when the secret behind the nonces is missing or damaged.
pub fn statement(archive: &Archive, root: &Root) -> Result<Option<Statement>> {
    let Some(merkle) = &root.merkle else { return Ok(None) };
    let blinding = Blinding::of(archive, merkle)?;
    let trees = Trees { tree: &merkle.tree, size: merkle.size, root: merkle.root };
    let said = StatementLine { format: "floe statement", version: 1, created: root.created, tool: &root.tool, merkle: trees };
    let failed = |e| Error::new(Kind::Internal, "cannot write the statement of a root").because(e);
    let line = serde_json::to_string(&said).map_err(failed)?;
    let (nonce, leaf) = blinding.leaf(Level::Statement, line.as_bytes());
    Ok(Some(Statement { line, nonce, leaf }))
}

/// What is known of one collection's tree: a line of the listing that [`Merkle::collections`] names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    /// Blinds the collection's leaf in the upper tree.
    pub nonce: Digest,
    /// Root of the collection's own tree.
    pub merkle: Digest,
    /// Hash of the collection's leaf in the upper tree.
    pub leaf: Digest,
}

/// The leaf of a collection in the upper tree, before it is hashed: JSON in this order of members.
#[derive(Serialize)]
struct CollectionLeaf<'a> {
    account: &'a str,
    path: &'a CollectionPath,
    kind: CollectionKind,
    items: u64,
    merkle: Digest,
}

/// The bytes of a collection's leaf in the upper tree.
///
/// # Errors
/// `Kind::Internal` if it cannot be written as JSON.
pub fn collection_leaf(account: &str, entry: &CollectionEntry, merkle: Digest) -> Result<Vec<u8>> {
    let (path, kind, items) = (&entry.head.path, entry.head.kind, entry.items);
    let mut bytes = line(&CollectionLeaf { account, path, kind, items, merkle })?;
    bytes.pop();
    Ok(bytes)
}

/// The hash of an inner node.
fn node_of(left: &Digest, right: &Digest) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(&[1]);
    hasher.update(left.as_bytes());
    hasher.update(right.as_bytes());
    hasher.finish()
}

/// A tree that gets leaf by leaf and keeps only the roots of its whole subtrees, the largest first.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    whole: Vec<Digest>,
    size: u64,
}

impl Tree {
    /// Adds the hash of a leaf.
    pub fn push(&mut self, leaf: Digest) {
        let (mut node, mut pairs) = (leaf, self.size);
        while pairs & 1 == 1 {
            if let Some(left) = self.whole.pop() {
                node = node_of(&left, &node);
            }
            pairs >>= 1;
        }
        self.whole.push(node);
        self.size += 1;
    }

    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hash of the whole tree.
    pub fn root(&self) -> Digest {
        let mut parts = self.whole.iter().rev();
        let Some(last) = parts.next() else { return Digest::of(b"") };
        parts.fold(*last, |right, left| node_of(left, &right))
    }
}

/// An inclusion proof that forms while the leaves of a tree of known size go by.
#[derive(Debug)]
pub struct Path {
    index: u64,
    /// The subtrees beside the way from the leaf to the root: first leaf, number of leaves, place in the proof.
    beside: Vec<(u64, u64, usize)>,
    hashes: Vec<Digest>,
    next: usize,
    at: u64,
    tree: Tree,
}

impl Path {
    /// The proof for the leaf `index` of a tree of `size` leaves.
    pub fn new(index: u64, size: u64) -> Self {
        let (mut beside, mut first, mut count) = (Vec::new(), 0, size);
        while count > 1 {
            // RFC 6962 2.1: the left part is the largest power of two smaller than the whole.
            let left = 1u64 << (63 - (count - 1).leading_zeros());
            if index - first < left {
                beside.push((first + left, count - left));
                count = left;
            } else {
                beside.push((first, left));
                first += left;
                count -= left;
            }
        }
        // Proofs go from the leaf up, leaves come from left to right.
        beside.reverse();
        let hashes = vec![Digest::of(b""); beside.len()];
        let mut beside: Vec<(u64, u64, usize)> = beside.into_iter().enumerate().map(|(i, (at, n))| (at, n, i)).collect();
        beside.sort_unstable();
        Path { index, beside, hashes, next: 0, at: 0, tree: Tree::default() }
    }

    /// Takes the hash of the next leaf.
    pub fn push(&mut self, leaf: Digest) {
        if self.at != self.index
            && let Some((_, count, place)) = self.beside.get(self.next)
        {
            self.tree.push(leaf);
            if self.tree.size() == *count {
                self.hashes[*place] = std::mem::take(&mut self.tree).root();
                self.next += 1;
            }
        }
        self.at += 1;
    }

    /// The hashes beside the way, from the leaf up; nothing when leaves were missing.
    pub fn finish(self) -> Option<Vec<Digest>> {
        (self.next == self.beside.len() && self.at > self.index).then_some(self.hashes)
    }
}

/// The root of the tree of `size` leaves in which this leaf has this proof (RFC 9162 section 2.1.3.2).
pub fn root_by(leaf: Digest, index: u64, size: u64, path: &[Digest]) -> Option<Digest> {
    let (mut node, mut at, mut last) = (leaf, index, size.checked_sub(1).filter(|last| index <= *last)?);
    for beside in path {
        if last == 0 {
            return None;
        }
        if at & 1 == 1 || at == last {
            node = node_of(beside, &node);
            while at != 0 && at & 1 == 0 {
                (at, last) = (at >> 1, last >> 1);
            }
        } else {
            node = node_of(&node, beside);
        }
        (at, last) = (at >> 1, last >> 1);
    }
    (last == 0).then_some(node)
}

/// What a leaf is; the nonces of different ones are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A placement in its collection's tree.
    Placement,
    /// A collection in the upper tree.
    Collection,
    /// The statement of an encrypted root, which is in no tree.
    Statement,
}

/// Makes the nonces.
#[derive(Clone)]
pub struct Blinding(Hmac<Sha256>);

impl Blinding {
    fn new(key: &[u8]) -> Result<Self> {
        let mac =
            Hmac::new_from_slice(key).map_err(|e| Error::new(Kind::Internal, "cannot use the secret of proofs").because(e))?;
        Ok(Blinding(mac))
    }

    /// The secret of a snapshot, from the archive.
    ///
    /// # Errors
    /// `Kind::Damage` when it is missing or damaged, or the trees are of a sort that this code does not know.
    pub fn of(archive: &Archive, merkle: &Merkle) -> Result<Self> {
        if merkle.tree != TREE {
            return Err(Error::damage(format!("the snapshot's tree is of the unknown sort '{}'", merkle.tree))
                .hint("a newer floe can read it"));
        }
        Self::new(&archive.read(merkle.key, KEY_BYTES as u64)?)
    }

    /// The nonce of a leaf and the leaf's hash.
    pub fn leaf(&self, level: Level, line: &[u8]) -> (Digest, Digest) {
        let line = Digest::of(line);
        let mut mac = self.0.clone();
        mac.update(match level {
            Level::Placement => &b"placement"[..],
            Level::Collection => b"collection",
            Level::Statement => b"statement",
        });
        mac.update(line.as_bytes());
        let nonce = Digest::from_bytes(mac.finalize().into_bytes().into());
        (nonce, leaf_of(&nonce, &line))
    }
}

/// The hash of a leaf with this nonce.
pub fn leaf_of(nonce: &Digest, line: &Digest) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(&[0]);
    hasher.update(nonce.as_bytes());
    hasher.update(line.as_bytes());
    hasher.finish()
}

/// The tree of one collection, from its listing's bytes in whatever pieces they come.
pub struct ListingTree {
    blinding: Blinding,
    tree: Tree,
    line: Vec<u8>,
}

impl ListingTree {
    fn new(blinding: &Blinding) -> Self {
        ListingTree { blinding: blinding.clone(), tree: Tree::default(), line: Vec::new() }
    }

    /// Takes the next bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let leaf = if self.line.is_empty() {
                self.blinding.leaf(Level::Placement, &rest[..end])
            } else {
                self.line.extend_from_slice(&rest[..end]);
                self.blinding.leaf(Level::Placement, &self.line)
            };
            self.line.clear();
            self.tree.push(leaf.1);
            rest = &rest[end + 1..];
        }
        self.line.extend_from_slice(rest);
    }
}

impl Write for ListingTree {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Is what the header of an encrypted root commits to what the root says? Older ones commit to nothing.
fn stated(archive: &Archive, snapshot: &Snapshot) -> Result<bool> {
    if !archive.is_encrypted() {
        return Ok(true);
    }
    let file = archive.store().read(&format!("data/snapshots/{}.json{SUFFIX}", snapshot.id), ROOT_MAX_BYTES)?;
    match vault::statement_in(&file.unwrap_or_default()) {
        Some(leaf) => Ok(statement(archive, &snapshot.root)?.is_some_and(|statement| statement.leaf == leaf)),
        None => Ok(true),
    }
}

/// The root of a collection's tree, from the archive.
fn tree_of(archive: &Archive, blinding: &Blinding, listing: Digest) -> Result<Digest> {
    let mut tree = ListingTree::new(blinding);
    archive.copy(listing, &mut tree)?;
    Ok(tree.tree.root())
}

/// What a snapshot says of the trees of its collections, in order.
///
/// # Errors
/// `Kind::Damage` when that listing is missing or damaged.
pub fn branches(archive: &Archive, merkle: &Merkle) -> Result<Vec<Branch>> {
    let mut all = Vec::new();
    archive.lines(merkle.collections, &mut |branch| {
        all.push(branch);
        Ok(())
    })?;
    Ok(all)
}

/// The trees of a snapshot that is being made.
pub struct TreesWriter {
    blinding: Blinding,
    key: Digest,
    /// Roots of collections' trees by the collection's listing, of this run and the one before.
    known: HashMap<Digest, Digest>,
    /// For each account what goes into the upper tree.
    accounts: BTreeMap<String, Vec<Branch>>,
    /// Why there will be no tree.
    failed: Option<Error>,
}

impl TreesWriter {
    /// Goes on with the secret of the archive, or makes one.
    ///
    /// # Errors
    /// `Kind::Storage` when the archive cannot be written or the system gives no random bytes.
    pub fn open(writer: &mut Writer) -> Result<Self> {
        let before =
            writer.previous().and_then(|s| s.root.as_ref()).and_then(|root| Some((root.accounts.clone(), root.merkle.clone()?)));
        if let Some((accounts, merkle)) = before
            && let Ok(blinding) = Blinding::of(writer.archive(), &merkle)
        {
            // What cannot be read is calculated anew.
            let known = known(writer.archive(), &accounts, &merkle).unwrap_or_default();
            return Ok(TreesWriter { blinding, key: merkle.key, known, accounts: BTreeMap::new(), failed: None });
        }
        let mut key = [0u8; KEY_BYTES];
        getrandom::fill(&mut key)
            .map_err(|e| Error::new(Kind::Storage, "the system gives no random bytes for the secret of proofs").because(e))?;
        let object = Digest::of(&key);
        writer.add(Sort::Listing, ObjectForm::Blob, object, &key)?;
        let (known, accounts) = (HashMap::new(), BTreeMap::new());
        Ok(TreesWriter { blinding: Blinding::new(&key)?, key: object, known, accounts, failed: None })
    }

    /// The tree of a collection whose listing begins.
    pub fn begin(&self) -> ListingTree {
        ListingTree::new(&self.blinding)
    }

    /// The collection with this listing is at its end.
    pub fn end(&mut self, listing: Digest, tree: &ListingTree) {
        self.known.insert(listing, tree.tree.root());
    }

    /// A collection as it was in an earlier snapshot: its tree is known, or is calculated from the archive.
    pub fn unchanged(&mut self, archive: &Archive, listing: Digest) {
        if !self.known.contains_key(&listing) {
            match tree_of(archive, &self.blinding, listing) {
                Ok(root) => _ = self.known.insert(listing, root),
                Err(e) => self.failed = Some(e),
            }
        }
    }

    /// All collections of an account are there.
    ///
    /// # Errors
    /// `Kind::Internal` if a collection has no tree, or cannot be written as JSON.
    pub fn account(&mut self, account: &str, entries: &[CollectionEntry]) -> Result<()> {
        let mut all = Vec::with_capacity(entries.len());
        for entry in entries {
            let Some(merkle) = self.known.get(&entry.listing).copied() else {
                let lost = || Error::new(Kind::Internal, "a collection has no tree");
                self.failed.get_or_insert_with(lost);
                return Ok(());
            };
            let (nonce, leaf) = self.blinding.leaf(Level::Collection, &collection_leaf(account, entry, merkle)?);
            all.push(Branch { nonce, merkle, leaf });
        }
        self.accounts.entry(account.to_owned()).or_default().extend(all);
        Ok(())
    }

    /// Stores what is to be kept; what the root says of the trees, or why it can say nothing.
    ///
    /// # Errors
    /// `Kind::Storage` when the archive cannot be written.
    pub fn finish(&mut self, writer: &mut Writer) -> Result<Result<Merkle>> {
        if let Some(e) = self.failed.take() {
            return Ok(Err(e));
        }
        let (mut tree, mut listing) = (Tree::default(), ListingWriter::default());
        for branch in std::mem::take(&mut self.accounts).into_values().flatten() {
            tree.push(branch.leaf);
            listing.push(writer, &line(&branch)?)?;
        }
        let collections = listing.finish(writer)?;
        Ok(Ok(Merkle { tree: TREE.to_owned(), size: tree.size(), root: tree.root(), key: self.key, collections }))
    }
}

/// The roots of collections' trees by their listings, as a snapshot has them.
fn known(archive: &Archive, accounts: &[AccountEntry], merkle: &Merkle) -> Result<HashMap<Digest, Digest>> {
    let mut branches = branches(archive, merkle)?.into_iter();
    let mut known = HashMap::new();
    for account in accounts {
        let own: Vec<Branch> = branches.by_ref().take(usize::try_from(account.collections).unwrap_or(usize::MAX)).collect();
        // What was forgotten or is damaged is not there to be found unchanged.
        let entries = archive.collections(account).unwrap_or_default();
        known.extend(entries.iter().map(|c| c.listing).zip(own.iter().map(|b| b.merkle)));
    }
    Ok(known)
}

/// Calculates the trees of snapshots anew; what it finds wrong goes to their findings.
pub(super) struct TreesCheck<'a> {
    /// Listings that may be missing: for what was in them the snapshot's own word is taken.
    forgotten: &'a HashSet<Digest>,
    /// Roots of collections' trees by secret and listing: snapshots share most of them.
    known: HashMap<(Digest, Digest), Digest>,
}

impl<'a> TreesCheck<'a> {
    /// A check that has seen nothing.
    pub(super) fn new(forgotten: &'a HashSet<Digest>) -> Self {
        TreesCheck { forgotten, known: HashMap::new() }
    }

    /// Does the snapshot's root have the root of its trees? A snapshot without trees is of an older floe.
    pub(super) fn snapshot(&mut self, archive: &Archive, snapshot: &Snapshot, found: &mut Findings) {
        let Some(merkle) = &snapshot.root.merkle else { return };
        match self.again(archive, &snapshot.root, merkle) {
            Ok(true) => {}
            Ok(false) => found.damage.push(format!("snapshot {}: its Merkle root is not that of its items", snapshot.id)),
            Err(e) => found.damage.push(format!("snapshot {}: its Merkle tree: {e}", snapshot.id)),
        }
        match stated(archive, snapshot) {
            Ok(true) => {}
            Ok(false) => found.damage.push(format!("snapshot {}: the header of its root states other trees", snapshot.id)),
            Err(e) => found.damage.push(format!("snapshot {}: the statement of its root: {e}", snapshot.id)),
        }
    }

    fn again(&mut self, archive: &Archive, root: &Root, merkle: &Merkle) -> Result<bool> {
        let blinding = Blinding::of(archive, merkle)?;
        let said = branches(archive, merkle)?;
        let mut tree = Tree::default();
        said.iter().for_each(|branch| tree.push(branch.leaf));
        if tree.size() != merkle.size || tree.root() != merkle.root {
            return Ok(false);
        }
        let mut said = said.into_iter();
        for account in &root.accounts {
            let own: Vec<Branch> = said.by_ref().take(usize::try_from(account.collections).unwrap_or(usize::MAX)).collect();
            if own.len() as u64 != account.collections || !self.account(archive, (&blinding, merkle.key), account, &own)? {
                return Ok(false);
            }
        }
        Ok(said.next().is_none())
    }

    /// Is what is said of an account's collections what their listings give?
    fn account(
        &mut self,
        archive: &Archive,
        (blinding, key): (&Blinding, Digest),
        account: &AccountEntry,
        said: &[Branch],
    ) -> Result<bool> {
        if self.forgotten.contains(&account.listing) {
            return Ok(true);
        }
        let entries = archive.collections(account)?;
        let is_new = |l: &Digest| !self.forgotten.contains(l) && !self.known.contains_key(&(key, *l));
        let new: Vec<Digest> = entries.iter().map(|e| e.listing).filter(is_new).collect();
        let trees: Result<Vec<_>> = new.into_par_iter().map(|l| Ok(((key, l), tree_of(archive, blinding, l)?))).collect();
        self.known.extend(trees?);
        for (entry, branch) in entries.iter().zip(said) {
            let merkle = self.known.get(&(key, entry.listing)).copied().unwrap_or(branch.merkle);
            let (nonce, leaf) = blinding.leaf(Level::Collection, &collection_leaf(&account.account, entry, merkle)?);
            if *branch != (Branch { nonce, merkle, leaf }) {
                return Ok(false);
            }
        }
        Ok(entries.len() == said.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The root by the definition in RFC 6962 section 2.1.
    fn defined(leaves: &[Digest]) -> Digest {
        match leaves {
            [] => Digest::of(b""),
            [one] => *one,
            more => {
                let k = more.len().next_power_of_two() / 2;
                node_of(&defined(&more[..k]), &defined(&more[k..]))
            }
        }
    }

    /// The path by the definition in RFC 6962 section 2.1.1.
    fn path_defined(m: usize, leaves: &[Digest]) -> Vec<Digest> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let k = leaves.len().next_power_of_two() / 2;
        let (left, right) = leaves.split_at(k);
        let (mut path, beside) = if m < k { (path_defined(m, left), right) } else { (path_defined(m - k, right), left) };
        path.push(defined(beside));
        path
    }

    #[test]
    fn trees_and_paths_are_those_of_the_rfc() {
        let leaves: Vec<Digest> = (0..70u8).map(|n| Digest::of(&[n])).collect();
        for n in 0..leaves.len() {
            let mut tree = Tree::default();
            leaves[..n].iter().for_each(|leaf| tree.push(*leaf));
            assert_eq!((tree.root(), tree.size()), (defined(&leaves[..n]), n as u64), "{n}");
            for m in 0..n {
                let mut path = Path::new(m as u64, n as u64);
                leaves[..n].iter().for_each(|leaf| path.push(*leaf));
                let path = path.finish().unwrap();
                assert_eq!(path, path_defined(m, &leaves[..n]), "{m} of {n}");
                let by = |at: usize, path: &[Digest]| root_by(leaves[m], at as u64, n as u64, path);
                assert_eq!(by(m, &path), Some(tree.root()), "{m} of {n}");
                assert_ne!(by(m, &[&path[..], &[leaves[0]]].concat()), Some(tree.root()), "{m} of {n}");
                if n > 1 {
                    assert_ne!(by((m + 1) % n, &path), Some(tree.root()), "{m} of {n}");
                    assert_ne!(by(m, &path[1..]), Some(tree.root()), "{m} of {n}");
                }
            }
        }
        // The tree of the eight leaves that certificate transparency's own test data have.
        let hex = |text: &str| (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect();
        let inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
        let mut tree = Tree::default();
        for input in inputs {
            let data: Vec<u8> = hex(input);
            tree.push(Digest::of(&[&[0][..], &data].concat()));
        }
        assert_eq!(tree.root().to_string(), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
    }

    #[test]
    fn a_listing_gives_one_tree_in_whatever_pieces_it_comes() {
        let blinding = Blinding::new(&[7; 32]).unwrap();
        let text: Vec<u8> = (0..50).flat_map(|n| format!("{{\"n\":{n}}}\n").into_bytes()).collect();
        let root = |step: usize| {
            let mut tree = ListingTree::new(&blinding);
            text.chunks(step).for_each(|piece| tree.push(piece));
            (tree.tree.size(), tree.tree.root())
        };
        assert_eq!(root(1), root(text.len()));
        assert_eq!((root(7), root(7).0), (root(100), 50));
    }

    #[test]
    fn nonces_differ_by_key_level_and_line() {
        let (one, two) = (Blinding::new(&[1; 32]).unwrap(), Blinding::new(&[2; 32]).unwrap());
        let leaf = one.leaf(Level::Placement, b"a");
        assert_eq!(leaf, one.leaf(Level::Placement, b"a"));
        assert_eq!(leaf.1, leaf_of(&leaf.0, &Digest::of(b"a")));
        for other in [two.leaf(Level::Placement, b"a"), one.leaf(Level::Collection, b"a"), one.leaf(Level::Placement, b"b")] {
            assert!(other.0 != leaf.0 && other.1 != leaf.1);
        }
    }
}
