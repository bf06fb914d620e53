//! A bundle that shows that one item is in a snapshot, and nothing of any other item.

use std::collections::HashSet;
use std::io::{Seek, Write};
use std::path::Path;

use serde::Serialize;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::new_file::{NewFile, failed};
use super::{RootFile, signature, timestamp};
use crate::archive::merkle::{self, Blinding, Level, Merkle};
use crate::archive::{AccountEntry, Archive, CollectionEntry, Findings, Snapshot};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionKind, CollectionPath, Digest, Placement};
use crate::monitor::Monitor;
use crate::vault;

const README: &str = include_str!("evidence.txt");
const CHECK: &str = include_str!("check.py");
/// Largest answer of a time-stamping authority that is taken along.
const SIDE_FILE_MAX_BYTES: u64 = 1 << 20;
/// From this size on a file needs the long form of zip.
const LONG_BYTES: u64 = u32::MAX as u64;

/// Which item, and where it is looked for.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The item.
    pub item: Digest,
    /// Only in this account.
    pub account: Option<String>,
    /// Only in this collection.
    pub collection: Option<CollectionPath>,
}

/// What a bundle shows.
#[derive(Clone, Debug, Serialize)]
pub struct Done {
    /// The snapshot whose root it leads to.
    pub snapshot: String,
    /// SHA-256 of that root.
    pub root: Digest,
    /// The account.
    pub account: String,
    /// The collection.
    pub collection: String,
    /// The item.
    pub sha256: Digest,
    /// Its bytes.
    pub size: u64,
    /// Its number in the collection, from 0.
    pub index: u64,
    /// Placements of the same item in the snapshot, this one included, as far as was looked.
    pub placements: u64,
    /// Signatures in the bundle.
    pub signatures: u64,
    /// Signatures and time stamps that do not hold and were left out.
    pub broken: Vec<String>,
    /// Answers of time-stamping authorities in the bundle.
    pub timestamps: u64,
    /// Bytes of the bundle.
    pub bytes: u64,
}

/// A leaf and its way to the root of its tree, as `check.py` reads it.
#[derive(Serialize)]
struct Inclusion {
    line: String,
    nonce: Digest,
    index: u64,
    size: u64,
    path: Vec<Digest>,
}

impl Inclusion {
    /// The root that it leads to.
    fn root(&self) -> Option<Digest> {
        let leaf = merkle::leaf_of(&self.nonce, &Digest::of(self.line.as_bytes()));
        merkle::root_by(leaf, self.index, self.size, &self.path)
    }
}

#[derive(Serialize)]
struct ItemFile {
    file: String,
    sha256: Digest,
    size: u64,
}

#[derive(Serialize)]
struct RootName {
    file: String,
    sha256: Digest,
}

/// `proof.json`.
#[derive(Serialize)]
struct Proof {
    format: &'static str,
    version: u32,
    item: ItemFile,
    placement: Inclusion,
    collection: Inclusion,
    root: RootName,
    /// What an encrypted root says of its trees.
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<Stated>,
}

/// A statement, as `check.py` reads it.
#[derive(Serialize)]
struct Stated {
    line: String,
    nonce: Digest,
}

/// A placement of the item.
struct Found {
    account: AccountEntry,
    collection: CollectionEntry,
    /// Number of the collection in its account.
    number: usize,
    placement: Placement,
    line: String,
    index: u64,
    placements: u64,
}

/// Writes the bundle to `out`, where nothing may be yet. It is of the newest snapshot that has the item, or of the one given.
///
/// # Errors
/// `Kind::Usage` when no snapshot has the item there, its root has no tree, or `out` is there already; `Kind::Damage` when the item
/// or a listing is damaged; `Kind::Storage` when the bundle cannot be written.
pub fn evidence(archive: &Archive, snapshot: Option<&str>, wanted: &Wanted, out: &Path, monitor: &dyn Monitor) -> Result<Done> {
    let snapshots = match snapshot {
        Some(id) => vec![archive.snapshot(Some(id))?],
        None => archive.snapshots()?,
    };
    monitor.phase("evidence", None);
    let (snapshot, found) = search(archive, snapshots, wanted)?;
    let merkle = snapshot.root.merkle.as_ref().ok_or_else(|| older(&snapshot))?;
    let blinding = Blinding::of(archive, merkle)?;
    let placement = in_collection(archive, &blinding, &found)?;
    let (collection, own) = in_snapshot(archive, &snapshot, merkle, &found)?;
    if placement.root() != Some(own) || collection.root() != Some(merkle.root) {
        return Err(Error::damage("the proof does not lead to the snapshot's root, so the archive is damaged")
            .with("snapshot", &snapshot.id)
            .hint("'floe verify --full' names what is damaged"));
    }
    let root = root_file(archive, &snapshot)?;
    let statement = stated(archive, &snapshot, &root)?;
    let (good, broken): (Vec<_>, Vec<_>) =
        signature::of_root(archive.store(), &snapshot.id)?.into_iter().partition(signature::Signature::holds);
    let signatures = good.len() as u64;
    let mut broken: Vec<String> = broken.into_iter().map(|s| s.file).collect();
    let mut sides = timestamps(archive, &snapshot.id, &mut broken)?;
    let timestamps = sides.len() as u64;
    sides.extend(good.into_iter().map(|s| (s.file, s.armored.into_bytes())));
    let file = format!("item.{}", extension(found.collection.head.kind, found.placement.component.as_deref()));
    let (sha256, size) = (found.placement.sha256, found.placement.size);
    let proof = Proof {
        format: "floe evidence",
        version: 1,
        item: ItemFile { file, sha256, size },
        placement,
        collection,
        root: RootName { file: root.file.rsplit('/').next().unwrap_or_default().to_owned(), sha256: root.digest },
        statement,
    };
    let bytes = write(archive, out, &proof, &root.bytes, &sides)?;
    monitor.done();
    Ok(Done {
        snapshot: snapshot.id,
        root: snapshot.digest,
        account: found.account.account,
        collection: found.collection.head.path.to_string(),
        sha256,
        size,
        index: found.index,
        placements: found.placements,
        signatures,
        broken,
        timestamps,
        bytes,
    })
}

fn older(snapshot: &Snapshot) -> Error {
    Error::usage("the root of this snapshot has no Merkle tree, so no single item can be shown to be in it")
        .with("snapshot", &snapshot.id)
        .hint(
            "an older floe made it. Run 'floe snapshot' on the same sources once more: the new root covers what is unchanged too. \
             An item that is in older snapshots only is proven by the whole archive",
        )
}

/// The newest snapshot that has the item, and where.
fn search(archive: &Archive, snapshots: Vec<Snapshot>, wanted: &Wanted) -> Result<(Snapshot, Found)> {
    let mut without = HashSet::new();
    let mut damaged = None;
    for snapshot in snapshots.into_iter().rev() {
        match look(archive, &snapshot, wanted, &mut without, &mut damaged)? {
            Some(found) => return Ok((snapshot, found)),
            None => continue,
        }
    }
    Err(damaged.unwrap_or_else(|| {
        let mut e = Error::usage("no item with this digest is there").with("item", wanted.item);
        if let Some(account) = &wanted.account {
            e = e.with("account", account);
        }
        if let Some(collection) = &wanted.collection {
            e = e.with("collection", collection);
        }
        e.hint("'floe manifest' lists the items of a snapshot with their digests")
    }))
}

/// The first placement of the item in a snapshot. Listings that do not have it are remembered, for snapshots share them.
fn look(
    archive: &Archive,
    snapshot: &Snapshot,
    wanted: &Wanted,
    without: &mut HashSet<Digest>,
    damaged: &mut Option<Error>,
) -> Result<Option<Found>> {
    let mut first: Option<Found> = None;
    let mut placements = 0;
    let accounts = snapshot.root.accounts.iter().filter(|a| wanted.account.as_ref().is_none_or(|name| *name == a.account));
    for account in accounts {
        let collections = match archive.collections(account) {
            Ok(collections) => collections,
            Err(e) => {
                damaged.get_or_insert(e);
                continue;
            }
        };
        for (number, collection) in collections.into_iter().enumerate() {
            let other = wanted.collection.as_ref().is_some_and(|path| *path != collection.head.path);
            if other || without.contains(&collection.listing) {
                continue;
            }
            let mut here = None;
            let before = placements;
            // A damaged listing elsewhere does not stop the search; what it gave until then is not relied on.
            match in_listing(archive, &collection, wanted.item, &mut placements, &mut here) {
                Ok(()) if placements == before => _ = without.insert(collection.listing),
                Ok(()) => {}
                Err(e) => {
                    damaged.get_or_insert(e);
                    placements = before;
                    continue;
                }
            }
            if let (None, Some((index, line, placement))) = (&first, here) {
                first = Some(Found { account: account.clone(), collection, number, placement, line, index, placements: 0 });
            }
        }
    }
    Ok(first.map(|found| Found { placements, ..found }))
}

/// Counts the item's placements in a listing, and gives the first.
fn in_listing(
    archive: &Archive,
    collection: &CollectionEntry,
    item: Digest,
    placements: &mut u64,
    first: &mut Option<(u64, String, Placement)>,
) -> Result<()> {
    let text = item.to_string();
    let finder = memchr::memmem::Finder::new(&text);
    let mut index = 0;
    archive.raw_lines(collection.listing, &mut |line| {
        // Only a line that has these digits somewhere is worth parsing.
        if finder.find(line).is_some() {
            let malformed = || Error::damage("a listing has a malformed line").with("object", collection.listing);
            let line = std::str::from_utf8(line).map_err(|e| malformed().because(e))?;
            let placement: Placement = serde_json::from_str(line).map_err(|e| malformed().because(e))?;
            if placement.sha256 == item {
                *placements += 1;
                first.get_or_insert_with(|| (index, line.to_owned(), placement));
            }
        }
        index += 1;
        Ok(())
    })
}

/// The way from the placement to the root of its collection's tree.
fn in_collection(archive: &Archive, blinding: &Blinding, found: &Found) -> Result<Inclusion> {
    let mut path = merkle::Path::new(found.index, found.collection.items);
    archive.raw_lines(found.collection.listing, &mut |line| {
        path.push(blinding.leaf(Level::Placement, line).1);
        Ok(())
    })?;
    let (nonce, _) = blinding.leaf(Level::Placement, found.line.as_bytes());
    let path = path.finish().ok_or_else(|| Error::damage("a listing has fewer lines than its account's listing says"))?;
    Ok(Inclusion { line: found.line.clone(), nonce, index: found.index, size: found.collection.items, path })
}

/// The way from the collection to the root of the snapshot's tree, and the root of the collection's own tree.
fn in_snapshot(archive: &Archive, snapshot: &Snapshot, merkle: &Merkle, found: &Found) -> Result<(Inclusion, Digest)> {
    let branches = merkle::branches(archive, merkle)?;
    let fewer = || Error::damage("the snapshot's trees are not those of its collections").with("snapshot", &snapshot.id);
    let before = snapshot.root.accounts.iter().take_while(|a| **a != found.account).map(|a| a.collections).sum::<u64>();
    let index = before + found.number as u64;
    let mut path = merkle::Path::new(index, merkle.size);
    branches.iter().for_each(|branch| path.push(branch.leaf));
    let own = usize::try_from(index).ok().and_then(|i| branches.get(i)).ok_or_else(fewer)?;
    let line = merkle::collection_leaf(&found.account.account, &found.collection, own.merkle)?;
    let line = String::from_utf8(line).map_err(|e| Error::new(Kind::Internal, "a collection's leaf is no text").because(e))?;
    let path = path.finish().ok_or_else(fewer)?;
    Ok((Inclusion { line, nonce: own.nonce, index, size: merkle.size, path }, own.merkle))
}

/// The root file as it lies in the archive.
fn root_file(archive: &Archive, snapshot: &Snapshot) -> Result<RootFile> {
    let gone = || Error::damage("the snapshot's root is not there as it was a moment ago").with("snapshot", &snapshot.id);
    let root = RootFile::of(archive.store(), &snapshot.id)?.ok_or_else(gone)?;
    if root.digest == snapshot.digest { Ok(root) } else { Err(gone()) }
}

/// The statement to which the header of an encrypted root commits, so that the root need not be opened for a proof.
fn stated(archive: &Archive, snapshot: &Snapshot, file: &RootFile) -> Result<Option<Stated>> {
    if !file.file.ends_with(vault::SUFFIX) {
        return Ok(None);
    }
    let Some(committed) = vault::statement_in(&file.bytes) else {
        return Err(Error::usage(
            "this root is encrypted and states nothing in clear, so no item can be shown to be in it without the key",
        )
        .with("snapshot", &snapshot.id)
        .hint(
            "an older floe made it. Run 'floe snapshot' on the same sources once more: the new root covers what is unchanged too",
        ));
    };
    match merkle::statement(archive, &snapshot.root)? {
        Some(statement) if statement.leaf == committed => Ok(Some(Stated { line: statement.line, nonce: statement.nonce })),
        _ => Err(Error::damage("the header of this root states other trees than the root has").with("snapshot", &snapshot.id)),
    }
}

/// The answers of time-stamping authorities about a root; `broken` gets what is wrong with others.
fn timestamps(archive: &Archive, root: &str, broken: &mut Vec<String>) -> Result<Vec<(String, Vec<u8>)>> {
    let mut found = Findings::default();
    let mut files = Vec::new();
    for stamp in timestamp::check(archive.store(), &mut found)?.into_iter().filter(|stamp| stamp.snapshot == root) {
        let bytes = archive.store().read(&stamp.file, SIDE_FILE_MAX_BYTES)?.unwrap_or_default();
        files.push((stamp.file, bytes));
    }
    broken.extend(found.damage.into_iter().filter(|line| line.contains(root)));
    Ok(files)
}

/// What the item's file is called after the dot.
fn extension(kind: CollectionKind, component: Option<&str>) -> &'static str {
    match (kind, component) {
        (_, Some("VCARD")) => "vcf",
        (_, Some("VNOTE")) => "vnt",
        (_, Some(_)) => "ics",
        (CollectionKind::Mail, None) => "eml",
        (CollectionKind::Notes, None) => "json",
        (CollectionKind::Calendar, None) => "ics",
        (CollectionKind::AddressBook, None) => "vcf",
        (CollectionKind::Files, None) => "bin",
    }
}

/// Writes the zip under another name and gives it its own when it is whole; the bytes of it.
fn write(archive: &Archive, out: &Path, proof: &Proof, root: &[u8], sides: &[(String, Vec<u8>)]) -> Result<u64> {
    let file = NewFile::create(out)?;
    let mut json =
        serde_json::to_vec_pretty(proof).map_err(|e| Error::new(Kind::Internal, "cannot write the proof as JSON").because(e))?;
    json.push(b'\n');
    {
        let top = format!("evidence-{}", &proof.item.sha256.to_string()[..16]);
        let mut zip = Zip { zip: ZipWriter::new(file.file()), top, out };
        zip.put("README.txt", README.as_bytes())?;
        zip.put("check.py", CHECK.as_bytes())?;
        zip.put("proof.json", &json)?;
        zip.put(&proof.root.file, root)?;
        sides.iter().try_for_each(|(name, bytes)| zip.put(name, bytes))?;
        zip.begin(&proof.item.file, proof.item.size)?;
        archive.copy(proof.item.sha256, &mut zip.zip)?;
        zip.zip.finish().map_err(|e| failed(out, e.into()))?;
    }
    file.finish()
}

/// A zip whose files lie in one folder. All have the time 1980-01-01, so that the same evidence gives the same bytes.
struct Zip<'a, W: Write + Seek> {
    zip: ZipWriter<W>,
    top: String,
    out: &'a Path,
}

impl<W: Write + Seek> Zip<'_, W> {
    fn begin(&mut self, name: &str, bytes: u64) -> Result<()> {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .large_file(bytes >= LONG_BYTES)
            .unix_permissions(0o644);
        self.zip.start_file(format!("{}/{name}", self.top), options).map_err(|e| failed(self.out, e.into()))
    }

    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.begin(name, bytes.len() as u64)?;
        self.zip.write_all(bytes).map_err(|e| failed(self.out, e))
    }
}
