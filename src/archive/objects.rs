//! Rebuilds and hashes every object. A frame is decompressed once, as long as the recipes that need it fit into memory together.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use rayon::prelude::*;

use super::Archive;
use super::cache::FrameKey;
use super::pack::{self, EntrySpan, FrameSpan, ObjectForm, pack_digest};
use super::recipe::{BlobRef, Recipe};
use super::verify::Findings;
use crate::error::{Error, Result};
use crate::model::{Digest, Hasher};
use crate::monitor::Monitor;

/// Objects that are not whole, and why.
pub(super) type Broken = HashMap<Digest, String>;
/// The same, of one frame.
type Failures = Vec<(Digest, String)>;

/// Frames that are read before recipes are followed; a few on each core.
const FRAMES_AT_ONCE: usize = 16;
/// Bytes of recipes that are gathered before they are followed.
const RECIPES_BYTES: usize = 32 << 20;
/// Larger objects are hashed while they are rebuilt, smaller ones side by side.
const SMALL_BYTES: u64 = 4 << 20;

/// Rebuilds and hashes every object; gives those that are not whole.
pub(super) fn check(archive: &Archive, found: &mut Findings, monitor: &dyn Monitor) -> Result<Broken> {
    let mut with_recipes = HashSet::new();
    archive.index().each(archive.contents(), &mut |_, at, _| {
        if at.form == ObjectForm::Recipe {
            with_recipes.insert((at.pack, at.frame.offset));
        }
        Ok(())
    })?;
    let frames = frames(archive);
    let mut pass =
        Pass { archive, monitor, frames: &frames, read: HashMap::new(), broken: Broken::new(), recipes: Vec::new(), found };
    // What recipes need is read for the first of them; what is left then is needed by none.
    let (first, others): (Vec<FrameKey>, Vec<FrameKey>) = frames.keys().copied().partition(|key| with_recipes.contains(key));
    for keys in [first, others] {
        for some in keys.chunks(FRAMES_AT_ONCE) {
            pass.read(some);
        }
        pass.follow();
    }
    let Pass { read, mut broken, .. } = pass;
    archive.index().each(archive.contents(), &mut |digest, at, _| {
        if read.get(&(at.pack, at.frame.offset)) != Some(&true) {
            broken.entry(digest).or_insert_with(|| format!("object {digest} lies in a frame that cannot be read"));
        }
        Ok(())
    })?;
    // What another copy still gives is not broken.
    broken.retain(|digest, _| archive.copy(*digest, &mut std::io::sink()).is_err());
    found.damage.extend(broken.values().cloned());
    Ok(broken)
}

/// All frames of all packs in the order in which they lie, as their seek tables tell of them.
fn frames(archive: &Archive) -> BTreeMap<FrameKey, FrameSpan> {
    let mut frames = BTreeMap::new();
    for file in archive.index().packs() {
        let Some(pack) = pack_digest(&file.name) else { continue };
        let spans = pack::seek_table(archive.contents(), &file.name, file.size)
            .unwrap_or_else(|_| pack::walk_frames(archive.contents(), &file.name, file.size));
        frames.extend(spans.into_iter().map(|span| ((pack, span.offset), span)));
    }
    frames
}

/// The walk through all frames.
struct Pass<'a> {
    archive: &'a Archive,
    monitor: &'a dyn Monitor,
    frames: &'a BTreeMap<FrameKey, FrameSpan>,
    /// The frames that were looked at, and whether they could be read.
    read: HashMap<FrameKey, bool>,
    broken: Broken,
    /// What is to be followed.
    recipes: Vec<Found>,
    found: &'a mut Findings,
}

/// A recipe, and what it should make.
struct Found {
    object: Digest,
    recipe: Vec<u8>,
}

/// What was found in a frame.
struct Frame {
    key: FrameKey,
    objects: u64,
    /// Why it could not be read.
    damage: Option<String>,
    broken: Failures,
    recipes: Vec<Found>,
}

impl Pass<'_> {
    /// Reads these frames, but for those that were read before.
    fn read(&mut self, keys: &[FrameKey]) {
        let new: Vec<FrameKey> = keys.iter().copied().filter(|key| !self.read.contains_key(key)).collect();
        let frames: Vec<Frame> = new.par_iter().filter_map(|key| Some(self.look_into(*key, &self.open(*key)?))).collect();
        frames.into_iter().for_each(|frame| self.take(frame));
        if self.recipes.iter().map(|found| found.recipe.len()).sum::<usize>() > RECIPES_BYTES {
            self.follow();
        }
    }

    fn take(&mut self, frame: Frame) {
        self.read.insert(frame.key, frame.damage.is_none());
        self.found.objects += frame.objects;
        self.found.damage.extend(frame.damage);
        self.broken.extend(frame.broken);
        self.recipes.extend(frame.recipes);
    }

    /// Decompresses a frame, if there is one.
    fn open(&self, key: FrameKey) -> Option<Result<Opened>> {
        let bytes = self.archive.frame(key.0, self.frames.get(&key)?);
        Some(bytes.and_then(|bytes| Ok(Opened { spans: pack::entries(&bytes)?, bytes })))
    }

    /// Hashes what a frame stores as it is, and takes its recipes.
    fn look_into(&self, key: FrameKey, opened: &Result<Opened>) -> Frame {
        self.monitor.advance(0, self.frames.get(&key).map_or(0, |span| u64::from(span.compressed)));
        let mut frame = Frame { key, objects: 0, damage: None, broken: Vec::new(), recipes: Vec::new() };
        let opened = match opened {
            Ok(opened) => opened,
            Err(e) => return Frame { damage: Some(e.to_string()), ..frame },
        };
        let (recipes, stored): (Vec<&EntrySpan>, Vec<&EntrySpan>) =
            opened.spans.iter().partition(|s| s.form == ObjectForm::Recipe);
        let digests = Digest::of_each(&stored.iter().map(|span| opened.data(span)).collect::<Vec<_>>());
        let wrong = stored.iter().zip(digests).filter(|(span, digest)| span.digest != *digest);
        frame.objects = opened.spans.len() as u64;
        frame.broken = wrong.map(|(span, _)| not_whole(span.digest, Error::damage(WRONG_DIGEST))).collect();
        frame.recipes = recipes.iter().map(|span| Found { object: span.digest, recipe: opened.data(span).to_vec() }).collect();
        frame
    }

    /// Follows the recipes that were gathered, those together that need the same frame.
    fn follow(&mut self) {
        let recipes = std::mem::take(&mut self.recipes);
        let mut placed: Vec<(Option<FrameKey>, Found)> = recipes.into_par_iter().map(|r| (self.main_frame(&r), r)).collect();
        placed.par_sort_unstable_by_key(|(frame, found)| (*frame, found.object));
        let groups = placed.par_chunk_by(|a, b| a.0 == b.0);
        let followed: Vec<(Option<Frame>, Failures)> = groups
            .map(|same| {
                let opened = same.first().and_then(|(key, _)| *key).and_then(|key| Some((key, self.open(key)?)));
                let new = opened.as_ref().filter(|(key, _)| !self.read.contains_key(key));
                let frame = new.map(|(key, opened)| self.look_into(*key, opened));
                let opened = opened.and_then(|(_, opened)| opened.ok());
                (frame, make(self.archive, opened.as_ref(), same.iter().map(|(_, found)| found)))
            })
            .collect();
        for (frame, broken) in followed {
            frame.into_iter().for_each(|frame| self.take(frame));
            self.broken.extend(broken);
        }
    }

    /// The frame of the largest blob.
    fn main_frame(&self, found: &Found) -> Option<FrameKey> {
        let largest = Recipe::parse(&found.recipe).ok()?.refs().copied().max_by_key(|blob| blob.size)?;
        let place = self.archive.index().find(self.archive.contents(), &largest.digest).ok()?.into_iter().next()?;
        Some((place.pack, place.frame.offset))
    }
}

const WRONG_DIGEST: &str = "an object's bytes do not have its digest";

fn not_whole(object: Digest, why: Error) -> (Digest, String) {
    (object, why.with("object", object).to_string())
}

/// A decompressed frame, and what is where in it.
struct Opened {
    bytes: Arc<Vec<u8>>,
    spans: Vec<EntrySpan>,
}

impl Opened {
    fn data(&self, span: &EntrySpan) -> &[u8] {
        self.bytes.get(span.start..span.start + span.len).unwrap_or_default()
    }
}

/// What a frame holds, found without the index.
type Blobs<'a> = HashMap<Digest, &'a [u8]>;

/// Makes the objects; gives those that are not what they should be.
fn make<'a>(archive: &Archive, opened: Option<&Opened>, recipes: impl Iterator<Item = &'a Found>) -> Failures {
    let blobs: Blobs<'_> =
        opened.iter().flat_map(|opened| opened.spans.iter().map(|span| (span.digest, opened.data(span)))).collect();
    let (mut broken, mut made, mut bytes) = (Vec::new(), Vec::new(), 0);
    for found in recipes {
        match rebuilt(archive, &blobs, found) {
            Ok(Some(object)) => {
                bytes += object.len() as u64;
                made.push((found.object, object));
            }
            Ok(None) => {}
            Err(e) => broken.push(not_whole(found.object, e)),
        }
        if bytes > SMALL_BYTES {
            broken.extend(hash(std::mem::take(&mut made)));
            bytes = 0;
        }
    }
    broken.extend(hash(made));
    broken
}

/// Hashes objects; gives those that have another digest.
fn hash(made: Vec<(Digest, Vec<u8>)>) -> impl Iterator<Item = (Digest, String)> {
    let digests = Digest::of_each(&made.iter().map(|(_, bytes)| bytes.as_slice()).collect::<Vec<_>>());
    let wrong = made.into_iter().zip(digests).filter(|((object, _), digest)| object != digest);
    wrong.map(|((object, _), _)| not_whole(object, Error::damage(WRONG_DIGEST)))
}

/// The bytes of a small object, not hashed yet; of a large one nothing, for it is hashed here.
fn rebuilt(archive: &Archive, blobs: &Blobs<'_>, found: &Found) -> Result<Option<Vec<u8>>> {
    let recipe = Recipe::parse(&found.recipe)?;
    let fetch = &mut |blob: &BlobRef, give: &mut dyn FnMut(&[u8])| match blobs.get(&blob.digest) {
        Some(bytes) => {
            give(bytes);
            Ok(())
        }
        None => archive.fetch(blob, give),
    };
    if recipe.size <= SMALL_BYTES {
        let mut bytes = Vec::with_capacity(recipe.size as usize);
        recipe.rebuild(fetch, &mut bytes)?;
        return Ok(Some(bytes));
    }
    let mut hasher = Hasher::new();
    recipe.rebuild(fetch, &mut hasher)?;
    if hasher.finish() == found.object { Ok(None) } else { Err(Error::damage(WRONG_DIGEST)) }
}
