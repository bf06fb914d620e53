//! Finds the slices of a set in files that may be damaged, cut, grown, mixed up or wrongly named.
//!
//! First each slice is looked for at its place. What is not there is looked for at every byte, by a CRC-32 that rolls over the file.

use std::collections::HashMap;

use rayon::prelude::*;

use super::packet::md5;
use super::set::{Protected, Set, SliceSum};
use crate::store::{Store, StoredFile};

/// Bytes that are read at once.
const BLOCK_BYTES: usize = 1 << 20;
/// Stretches whose CRC-32 is right and whose MD5 is not, after which a file is taken to be made so.
const FALSE_MAX: u32 = 256;

/// Where the bytes of a slice lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// Their first byte there.
    pub at: u64,
}

/// One slice of a set.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    /// Its file's number.
    pub file: usize,
    /// Its bytes without the zeros at the end of a file.
    pub bytes: u64,
    /// Its digests.
    pub sum: SliceSum,
}

/// All slices of a set, in the order that numbers them.
pub fn slices(set: &Set) -> Vec<Slice> {
    let of_file = |(file, protected): (usize, &Protected)| -> Vec<Slice> {
        let bytes = |n: usize| set.slice_bytes.min(protected.bytes - n as u64 * set.slice_bytes);
        protected.slices.iter().enumerate().map(|(n, sum)| Slice { file, bytes: bytes(n), sum: *sum }).collect()
    };
    set.files.iter().enumerate().flat_map(of_file).collect()
}

/// Looks for the slices of one file of the set at their places in `there`.
pub fn in_place(store: &dyn Store, set: &Set, file: usize, there: &StoredFile, places: &mut [Option<Place>]) {
    let all = slices(set);
    let first = all.iter().position(|s| s.file == file).unwrap_or(all.len());
    let own: Vec<Slice> = all.into_iter().filter(|s| s.file == file).collect();
    let found: Vec<bool> = own
        .par_iter()
        .enumerate()
        .map(|(n, slice)| {
            let at = n as u64 * set.slice_bytes;
            at + slice.bytes <= there.size && is_at(store, &there.name, at, slice, set.slice_bytes)
        })
        .collect();
    for (n, _) in found.iter().enumerate().filter(|(_, found)| **found) {
        if let Some(place) = places.get_mut(first + n).filter(|p| p.is_none()) {
            *place = Some(Place { file: there.name.clone(), at: n as u64 * set.slice_bytes });
        }
    }
}

/// Are these the bytes of the slice? What cannot be read is not.
fn is_at(store: &dyn Store, name: &str, at: u64, slice: &Slice, slice_bytes: u64) -> bool {
    let mut bytes = vec![0; slice.bytes as usize];
    if store.read_at(name, at, &mut bytes).is_err() {
        return false;
    }
    bytes.resize(slice_bytes as usize, 0);
    md5(&bytes) == slice.sum.md5
}

/// Looks for the slices that have no place yet at every byte of a file.
pub fn anywhere(store: &dyn Store, set: &Set, there: &StoredFile, places: &mut [Option<Place>]) {
    let mut by_length: HashMap<u64, Vec<(usize, Slice)>> = HashMap::new();
    for (n, slice) in slices(set).into_iter().enumerate() {
        if places.get(n).is_some_and(Option::is_none) && slice.bytes <= there.size {
            by_length.entry(slice.bytes).or_default().push((n, slice));
        }
    }
    for (bytes, wanted) in by_length {
        roll(store, there, (bytes, set.slice_bytes), &wanted, places);
    }
}

/// Moves a window of the length of these slices over the file.
fn roll(
    store: &dyn Store,
    there: &StoredFile,
    (bytes, slice_bytes): (u64, u64),
    wanted: &[(usize, Slice)],
    places: &mut [Option<Place>],
) {
    let mut targets = Targets::new((bytes, slice_bytes), wanted);
    let leaving = leaving(bytes);
    let mut state = 0;
    let (mut new, mut old) = (vec![0; BLOCK_BYTES], vec![0; BLOCK_BYTES]);
    let mut at = 0;
    while at < there.size && targets.left > 0 && targets.wrong < FALSE_MAX {
        // A block ends where the first window does, so that in each block either all bytes push others out or none does.
        let end = (at + BLOCK_BYTES as u64).min(there.size);
        let end = if at < bytes { end.min(bytes) } else { end };
        let count = (end - at) as usize;
        read_or_zero(store, &there.name, at, &mut new[..count]);
        if at < bytes {
            state = new[..count].iter().fold(state, |state, byte| step(state, *byte));
            if end == bytes && targets.may_be(state) {
                targets.look(store, there, 0, state, places);
            }
        } else {
            read_or_zero(store, &there.name, at - bytes, &mut old[..count]);
            for (n, (new, old)) in new[..count].iter().zip(&old[..count]).enumerate() {
                state = step(state, *new) ^ leaving[usize::from(*old)];
                if targets.may_be(state) {
                    targets.look(store, there, at + n as u64 + 1 - bytes, state, places);
                }
            }
        }
        at = end;
    }
}

/// A stretch of a failing disk that cannot be read is as good as zeros: no slice will be found there.
fn read_or_zero(store: &dyn Store, name: &str, at: u64, buffer: &mut [u8]) {
    if store.read_at(name, at, buffer).is_err() {
        buffer.fill(0);
    }
}

/// The slices of one length that are looked for.
struct Targets<'a> {
    by_state: HashMap<u32, Vec<&'a (usize, Slice)>>,
    /// By the lowest bits of the state: most windows end here.
    hints: Vec<bool>,
    slice_bytes: u64,
    left: usize,
    wrong: u32,
}

impl<'a> Targets<'a> {
    fn new((bytes, slice_bytes): (u64, u64), wanted: &'a [(usize, Slice)]) -> Self {
        let mut by_state: HashMap<u32, Vec<_>> = HashMap::new();
        let mut hints = vec![false; 1 << 16];
        let beginning = with_zeros(u32::MAX, bytes);
        for slice in wanted {
            let state = without_zeros(!slice.1.sum.crc, slice_bytes - bytes) ^ beginning;
            hints[state as usize & 0xFFFF] = true;
            by_state.entry(state).or_default().push(slice);
        }
        Targets { by_state, hints, slice_bytes, left: wanted.len(), wrong: 0 }
    }

    fn may_be(&self, state: u32) -> bool {
        self.hints[state as usize & 0xFFFF]
    }

    fn look(&mut self, store: &dyn Store, there: &StoredFile, at: u64, state: u32, places: &mut [Option<Place>]) {
        let Some(slices) = self.by_state.get_mut(&state).filter(|slices| !slices.is_empty() && self.wrong < FALSE_MAX) else {
            return;
        };
        let before = slices.len();
        // Slices of the same bytes are all found at once.
        slices.retain(|(n, slice)| {
            let found = is_at(store, &there.name, at, slice, self.slice_bytes);
            if let Some(place) = places.get_mut(*n).filter(|_| found) {
                *place = Some(Place { file: there.name.clone(), at });
            }
            !found
        });
        let found = before - slices.len();
        self.left -= found;
        self.wrong += u32::from(found == 0);
    }
}

/// The table of CRC-32, one byte at a time.
static TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut n = 0;
    while n < 256 {
        let mut x = n as u32;
        let mut bit = 0;
        while bit < 8 {
            x = (x >> 1) ^ (if x & 1 == 1 { 0xEDB8_8320 } else { 0 });
            bit += 1;
        }
        table[n] = x;
        n += 1;
    }
    table
};

fn step(state: u32, byte: u8) -> u32 {
    (state >> 8) ^ TABLE[usize::from(state as u8 ^ byte)]
}

/// The state after so many zeros.
fn with_zeros(state: u32, count: u64) -> u32 {
    (0..count).fold(state, |state, _| step(state, 0))
}

/// The state before so many zeros.
fn without_zeros(state: u32, count: u64) -> u32 {
    let mut by_top = [0usize; 256];
    for (n, x) in TABLE.iter().enumerate() {
        by_top[(x >> 24) as usize] = n;
    }
    (0..count).fold(state, |state, _| {
        let n = by_top[(state >> 24) as usize];
        ((state ^ TABLE[n]) << 8) | n as u32
    })
}

/// What each byte has in the state when it leaves a window of this length.
fn leaving(window: u64) -> [u32; 256] {
    let bits: Vec<u32> = (0..8).map(|bit| with_zeros(step(0, 1 << bit), window)).collect();
    std::array::from_fn(|byte| bits.iter().enumerate().filter(|(bit, _)| byte >> bit & 1 == 1).fold(0, |x, (_, b)| x ^ b))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::store::LocalStore;

    fn noise(n: usize) -> Vec<u8> {
        (0..n as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 29) as u8).collect()
    }

    fn protected(bytes: &[u8], slice: usize) -> Set {
        let slices = bytes.chunks(slice).map(|s| SliceSum::of(s, slice)).collect();
        let file = Protected { name: "x".into(), bytes: bytes.len() as u64, md5: [0; 16], md5_16k: [0; 16], slices };
        Set { slice_bytes: slice as u64, files: vec![file], recovery: Vec::new() }
    }

    /// Where the slices are found in a file with these bytes.
    fn found(set: &Set, bytes: &[u8]) -> Vec<Option<u64>> {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::new(folder.path());
        let _lock = store.lock().unwrap();
        let mut upload = store.upload().unwrap();
        upload.write_all(bytes).unwrap();
        upload.finish("f").unwrap();
        let mut places = vec![None; set.inputs()];
        anywhere(&store, set, &StoredFile { name: "f".into(), size: bytes.len() as u64 }, &mut places);
        places.into_iter().map(|p| p.map(|p| p.at)).collect()
    }

    #[test]
    fn slices_are_found_wherever_they_moved_to() {
        let bytes = noise(10 * 1000 + 333);
        let set = protected(&bytes, 1000);
        let all: Vec<Option<u64>> = (0..11).map(|n| Some(n * 1000)).collect();
        assert_eq!(found(&set, &bytes), all);
        let grown = [&bytes[..2500], b"more", &bytes[2500..]].concat();
        let mut moved: Vec<Option<u64>> = (0..11).map(|n| Some(n * 1000 + if n > 2 { 4 } else { 0 })).collect();
        moved[2] = None;
        assert_eq!(found(&set, &grown), moved);
        let swapped = [&bytes[5000..], &bytes[..5000]].concat();
        assert_eq!(found(&set, &swapped), (0..11).map(|n| Some((n * 1000 + 5333) % 10333)).collect::<Vec<_>>());
    }

    #[test]
    fn slices_of_the_same_bytes_are_all_found() {
        let set = protected(&vec![0; 5000], 1000);
        assert_eq!(found(&set, &vec![0; 1500]), vec![Some(0); 5]);
        assert_eq!(found(&set, &[1; 5000]), vec![None; 5]);
    }

    #[test]
    fn windows_longer_than_what_is_read_at_once_work() {
        let bytes = noise(3 * BLOCK_BYTES + 77);
        let set = protected(&bytes, BLOCK_BYTES + 1000);
        let grown = [&noise(5)[..], &bytes].concat();
        let first = 5u64;
        let wanted: Vec<Option<u64>> = (0..3).map(|n| Some(first + n * (BLOCK_BYTES as u64 + 1000))).collect();
        assert_eq!(found(&set, &grown), wanted);
    }
}
