//! Packs written anew without some of their objects: the one way in which anything leaves an archive. Where they are encrypted, the new one
//! opens for exactly those for whom the old one did.

use std::collections::{BTreeSet, HashSet};

use super::Archive;
use super::bag::digest_of;
use super::pack::{self, EntrySpan, PackWriter};
use crate::error::{Error, Result};
use crate::model::Digest;
use crate::store::{Store, StoredFile};

/// Level for frames that have to be compressed anew.
const LEVEL: i32 = 3;

/// What became of the packs.
#[derive(Debug, Default)]
pub(crate) struct Renewed {
    /// Packs that held such objects. They are still there.
    pub old: Vec<Digest>,
    /// Packs that hold everything else of them.
    pub new: Vec<Digest>,
    /// Bytes of the old packs less those of the new ones.
    pub bytes: u64,
}

/// Writes what else lies in the packs that hold these objects into new packs.
///
/// # Errors
/// `Kind::Damage` when such a pack is not whole, `Kind::Storage` when the archive cannot be read or written. The old packs stay in any case.
pub(crate) fn renew(archive: &Archive, objects: &HashSet<Digest>) -> Result<Renewed> {
    let mut holding = BTreeSet::new();
    archive.index().each(archive.contents(), &mut |object, at, _| {
        if objects.contains(&object) {
            holding.insert(at.pack);
        }
        Ok(())
    })?;
    let mut renewed = Renewed::default();
    for file in archive.index().packs() {
        let Some(digest) = pack::pack_digest(&file.name).filter(|digest| holding.contains(digest)) else { continue };
        if digest_of(archive.store(), &file.name, file.size)? != digest {
            return Err(Error::damage("a pack does not have its digest").with("file", &file.name).hint("see floe verify"));
        }
        renewed.bytes += file.size;
        if let Some((new, bytes)) = renew_one(archive.contents(), file, objects)? {
            renewed.new.push(new);
            renewed.bytes = renewed.bytes.saturating_sub(bytes);
        }
        renewed.old.push(digest);
    }
    Ok(renewed)
}

/// The pack without these objects, and its size; nothing when it holds nothing else.
fn renew_one(store: &dyn Store, file: &StoredFile, objects: &HashSet<Digest>) -> Result<Option<(Digest, u64)>> {
    let mut writer: Option<PackWriter> = None;
    for span in pack::seek_table(store, &file.name, file.size)? {
        let frame = pack::read_frame(store, &file.name, &span)?;
        let entries = pack::entries(&frame)?;
        let kept: Vec<&EntrySpan> = entries.iter().filter(|entry| !objects.contains(&entry.digest)).collect();
        // The frame of the trailer has no entries; the new pack gets its own.
        if kept.is_empty() {
            continue;
        }
        let writer = match &mut writer {
            Some(writer) => writer,
            none => none.insert(PackWriter::instead_of(store, &file.name)?),
        };
        let bytes = kept.iter().map(|entry| entry.len as u64).sum();
        if kept.len() == entries.len() {
            let mut compressed = vec![0; span.compressed as usize];
            store.read_at(&file.name, span.offset, &mut compressed)?;
            writer.frame(&compressed, frame.len(), kept.len() as u64, bytes)?;
            continue;
        }
        let mut less = Vec::new();
        for entry in &kept {
            let data = frame.get(entry.start..entry.start + entry.len).unwrap_or_default();
            pack::put_entry(&mut less, entry.form, &entry.digest, data);
        }
        writer.frame(&pack::compress(&less, LEVEL)?, less.len(), kept.len() as u64, bytes)?;
    }
    let sealed = writer.map(PackWriter::finish).transpose()?;
    Ok(sealed.map(|pack| (pack.digest, pack.bytes)))
}
