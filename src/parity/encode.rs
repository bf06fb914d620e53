//! Makes the recovery file of one file: reads it once, hashes it and its slices, and sums the recovery slices up.

use std::io::Write as _;

use md5::{Digest as _, Md5};
use rayon::prelude::*;

use super::field::{constants, power};
use super::name::{last, parity_of};
use super::packet::{Kind, packet, padded};
use super::set::{Protected, Set, SliceSum};
use super::sums::{Sums, Term};
use crate::error::{Error, Result};
use crate::model::{Digest, Hasher};
use crate::store::{Store, StoredFile};

/// Up to this size the recovery data is enough for the whole file: it costs little, and the small ones are the roots.
const SMALL_BYTES: u64 = 256 << 10;
/// Most slices of a file: with five percent, 24 recovery slices.
const SLICES: u64 = 480;
/// A slice is a multiple of this, as are the damages of disks.
const UNIT: u64 = 4096;
/// Slices and units of small files.
const SMALL_SLICES: u64 = 64;
const SMALL_UNIT: u64 = 512;
/// Bytes that are read at once; sums are written to memory once for them.
const BATCH_BYTES: u64 = 8 << 20;

/// How a file is cut, and how many recovery slices it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of a slice.
    pub slice_bytes: u64,
    /// Slices of the file.
    pub slices: u64,
    /// Recovery slices.
    pub recovery: u64,
}

impl Layout {
    /// For a file of so many bytes, with recovery data for so many percent of it.
    pub fn of(bytes: u64, percent: u8) -> Layout {
        let (unit, slices) = if bytes <= SMALL_BYTES { (SMALL_UNIT, SMALL_SLICES) } else { (UNIT, SLICES) };
        let slice_bytes = bytes.div_ceil(slices).next_multiple_of(unit).max(unit);
        let slices = bytes.div_ceil(slice_bytes);
        let percent = if bytes <= SMALL_BYTES { 100 } else { u64::from(percent) };
        Layout { slice_bytes, slices, recovery: (slices * percent).div_ceil(100).max(1) }
    }
}

/// What came of a file.
pub enum Encoded {
    /// Its recovery file was written, of so many bytes.
    Written(u64),
    /// Nothing was written: what is wrong with the file.
    Damaged(String),
}

/// Writes the recovery file of a pack or root, unless its digest is not one that `fits`.
///
/// # Errors
/// `Kind::Storage` when it cannot be written.
pub fn encode(store: &dyn Store, file: &StoredFile, percent: u8, fits: &dyn Fn(&Digest) -> bool) -> Result<Encoded> {
    let layout = Layout::of(file.size, percent);
    let mut encoder = Encoder::new(layout);
    if let Err(e) = read_all(store, file, &mut encoder) {
        return Ok(Encoded::Damaged(e.to_string()));
    }
    if !fits(&encoder.sha256.clone().finish()) {
        return Ok(Encoded::Damaged(format!("{} is not what its name says", file.name)));
    }
    write(store, file, &layout, &encoder).map(Encoded::Written)
}

/// Hands the file to the encoder; the next part is read while one is worked on.
fn read_all(store: &dyn Store, file: &StoredFile, encoder: &mut Encoder) -> Result<()> {
    let slice_bytes = encoder.layout.slice_bytes;
    let per_batch = (BATCH_BYTES / slice_bytes).max(1) * slice_bytes;
    let mut batch = read(store, file, 0, per_batch)?;
    let mut at = 0;
    while at < file.size {
        at += batch.len() as u64;
        let (next, ()) = rayon::join(|| read(store, file, at, per_batch), || encoder.add(&batch));
        batch = next?;
    }
    Ok(())
}

fn read(store: &dyn Store, file: &StoredFile, at: u64, bytes: u64) -> Result<Vec<u8>> {
    let mut batch = vec![0; bytes.min(file.size - at) as usize];
    store.read_at(&file.name, at, &mut batch)?;
    Ok(batch)
}

/// What is known after the slices so far.
struct Encoder {
    layout: Layout,
    constants: Vec<u16>,
    sha256: Hasher,
    md5: Md5,
    first: Vec<u8>,
    slices: Vec<SliceSum>,
    sums: Sums,
}

impl Encoder {
    fn new(layout: Layout) -> Self {
        Encoder {
            layout,
            constants: constants(layout.slices as usize),
            sha256: Hasher::new(),
            md5: Md5::new(),
            first: Vec::new(),
            slices: Vec::new(),
            sums: Sums::new(layout.recovery as usize, layout.slice_bytes as usize),
        }
    }

    /// Takes whole slices in; the last one of a file may be shorter.
    fn add(&mut self, batch: &[u8]) {
        let slice_bytes = self.layout.slice_bytes as usize;
        let slices: Vec<&[u8]> = batch.chunks(slice_bytes).collect();
        let terms: Vec<Term<'_>> = slices
            .iter()
            .zip(self.constants.iter().skip(self.slices.len()))
            .map(|(bytes, constant)| {
                let coefficients = (0..self.layout.recovery as u32).map(|exponent| power(*constant, exponent)).collect();
                Term { bytes, coefficients }
            })
            .collect();
        let (sha256, md5, first, sums) = (&mut self.sha256, &mut self.md5, &mut self.first, &mut self.sums);
        let (_, digests) = rayon::join(
            || rayon::join(|| sums.add(&terms), || sha256.update(batch)),
            || {
                rayon::join(|| md5.update(batch), || slices.par_iter().map(|s| SliceSum::of(s, slice_bytes)).collect::<Vec<_>>())
                    .1
            },
        );
        first.extend_from_slice(&batch[..batch.len().min((16 << 10) - first.len())]);
        self.slices.extend(digests);
    }
}

impl SliceSum {
    /// Of a slice's bytes with zeros up to the slice size.
    pub fn of(bytes: &[u8], slice_bytes: usize) -> SliceSum {
        let mut padded = Vec::new();
        let bytes = if bytes.len() < slice_bytes {
            padded.extend_from_slice(bytes);
            padded.resize(slice_bytes, 0);
            &padded
        } else {
            bytes
        };
        SliceSum { md5: super::packet::md5(bytes), crc: crc32fast::hash(bytes) }
    }
}

fn write(store: &dyn Store, file: &StoredFile, layout: &Layout, encoder: &Encoder) -> Result<u64> {
    let protected = Protected {
        name: last(&file.name).to_owned(),
        bytes: file.size,
        md5: encoder.md5.clone().finalize().into(),
        md5_16k: super::packet::md5(&encoder.first),
        slices: encoder.slices.clone(),
    };
    let (set, critical) = Set::critical(layout.slice_bytes, &protected);
    let mut upload = store.upload()?;
    let mut size = 0;
    let mut put = |bytes: &[u8]| {
        size += bytes.len() as u64;
        upload.write_all(bytes).map_err(|e| Error::new(crate::Kind::Storage, "cannot write recovery data").because(e))
    };
    put(&critical)?;
    for exponent in 0..layout.recovery as u32 {
        // Three times in all, so that a damage of this file that hits one of them spoils one only.
        if exponent == layout.recovery as u32 / 2 {
            put(&critical)?;
        }
        let body = [&exponent.to_le_bytes()[..], &encoder.sums.bytes(exponent as usize)].concat();
        put(&packet(&set, Kind::Recovery, &body))?;
    }
    put(&critical)?;
    put(&packet(&set, Kind::Creator, &padded(concat!("floe ", env!("CARGO_PKG_VERSION")))))?;
    upload.finish(&parity_of(&file.name))?;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_give_what_was_asked_for() {
        for bytes in [1, 511, 512, 2000, SMALL_BYTES] {
            let layout = Layout::of(bytes, 5);
            assert_eq!(layout.slices, layout.recovery, "{bytes}: enough for the whole file");
        }
        for bytes in [SMALL_BYTES + 1, 1 << 20, 10 << 20, 256 << 20, 1 << 30, 1 << 40] {
            let layout = Layout::of(bytes, 5);
            assert!(layout.slices <= SLICES && layout.slices * layout.slice_bytes >= bytes, "{layout:?}");
            assert!(layout.recovery * 20 >= layout.slices && layout.slice_bytes.is_multiple_of(UNIT), "{layout:?}");
        }
        assert_eq!(Layout::of(256 << 20, 5).recovery, 24);
    }
}
