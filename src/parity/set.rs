//! A recovery set: the files that it protects, the digests of their slices, and where its recovery slices lie.

use std::collections::{BTreeMap, HashMap};

use super::field::INPUTS_MAX;
use super::packet::{Hash, Kind, Packet, md5, number, packet, packets, padded};
use crate::error::Result;
use crate::store::Store;

/// Most files that a set may have.
const FILES_MAX: usize = 32768;
/// Longest slice that is believed.
const SLICE_MAX_BYTES: u64 = 256 << 20;

/// What is known of one slice: the digests of its bytes with zeros up to the slice size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceSum {
    /// MD5.
    pub md5: Hash,
    /// CRC-32.
    pub crc: u32,
}

/// A protected file.
#[derive(Clone, Debug)]
pub struct Protected {
    /// As it is called in the set.
    pub name: String,
    /// Its bytes.
    pub bytes: u64,
    /// Its MD5.
    pub md5: Hash,
    /// The MD5 of its first 16 KiB.
    pub md5_16k: Hash,
    /// Its slices.
    pub slices: Vec<SliceSum>,
}

impl Protected {
    /// Its id: from digests, size and name.
    fn id(&self) -> Hash {
        md5(&[self.md5_16k.as_slice(), &self.bytes.to_le_bytes(), self.name.as_bytes()].concat())
    }
}

/// Where a recovery slice lies.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// Its exponent.
    pub exponent: u32,
    /// The file that it lies in.
    pub file: String,
    /// Its first byte there.
    pub at: u64,
}

/// A recovery set.
#[derive(Clone, Debug)]
pub struct Set {
    /// Bytes of a slice.
    pub slice_bytes: u64,
    /// The files, in the order that numbers their slices.
    pub files: Vec<Protected>,
    /// The recovery slices that are whole, by exponent.
    pub recovery: Vec<Recovery>,
}

impl Set {
    /// The packets that are needed to use any recovery slice.
    pub fn critical(slice_bytes: u64, file: &Protected) -> (Hash, Vec<u8>) {
        let id = file.id();
        let main = [&slice_bytes.to_le_bytes()[..], &1u32.to_le_bytes(), &id].concat();
        let set = md5(&main);
        let about = [&id[..], &file.md5, &file.md5_16k, &file.bytes.to_le_bytes(), &padded(&file.name)].concat();
        let mut sums = id.to_vec();
        for slice in &file.slices {
            sums.extend_from_slice(&slice.md5);
            sums.extend_from_slice(&slice.crc.to_le_bytes());
        }
        let packets = [(Kind::Main, main), (Kind::File, about), (Kind::Slices, sums)];
        (set, packets.iter().flat_map(|(kind, body)| packet(&set, *kind, body)).collect())
    }

    /// Slices of all files.
    pub fn inputs(&self) -> usize {
        self.files.iter().map(|f| f.slices.len()).sum()
    }
}

/// What a recovery file is good for.
pub enum State {
    /// It is as it was written, and has so many recovery slices.
    Whole(usize),
    /// What is wrong with it.
    Broken(&'static str),
}

/// Is a recovery file of floe as it was written for this file of this size?
pub fn state_of(store: &dyn Store, file: (&str, u64), protects: (&str, u64)) -> State {
    let found = packets(store, file.0, file.1);
    let ends = found.whole.last().is_some_and(|p| p.kind == Kind::Creator);
    let mut exponents: Vec<u32> = found
        .whole
        .iter()
        .filter(|p| p.kind == Kind::Recovery)
        .filter_map(|p| number(&p.body, 0))
        .map(u32::from_le_bytes)
        .collect();
    exponents.sort_unstable();
    let is_complete = exponents.iter().enumerate().all(|(n, e)| n as u32 == *e) && !exponents.is_empty();
    if !found.gapless || !ends || !is_complete {
        return State::Broken("it is cut or damaged");
    }
    let packets = found.whole.into_iter().map(|p| (file.0.to_owned(), p)).collect();
    match sets_of(packets).as_slice() {
        [Set { files, .. }] if matches!(files.as_slice(), [f] if f.name == protects.0 && f.bytes == protects.1) => {
            State::Whole(exponents.len())
        }
        _ => State::Broken("it is the recovery data of something else"),
    }
}

/// Reads all sets that lie in the folder `parity/`, as far as their packets are whole.
///
/// # Errors
/// `Kind::Storage` when the folder cannot be read.
pub fn read_sets(store: &dyn Store) -> Result<Vec<Set>> {
    let mut all = Vec::new();
    for file in store.list("parity")?.into_iter().filter(|f| f.name.ends_with(".par2")) {
        let found = packets(store, &file.name, file.size);
        all.extend(found.whole.into_iter().map(|p| (file.name.clone(), p)));
    }
    Ok(sets_of(all))
}

/// Puts the packets together by set; a set that lacks something other than recovery slices is of no use.
fn sets_of(packets: Vec<(String, Packet)>) -> Vec<Set> {
    let mut by_set: BTreeMap<Hash, Vec<(String, Packet)>> = BTreeMap::new();
    for (file, packet) in packets {
        by_set.entry(packet.set).or_default().push((file, packet));
    }
    by_set.iter().filter_map(|(id, packets)| set_of(id, packets)).collect()
}

fn set_of(id: &Hash, packets: &[(String, Packet)]) -> Option<Set> {
    let of = |kind: Kind| packets.iter().filter(move |(_, p)| p.kind == kind);
    let (_, main) = of(Kind::Main).find(|(_, p)| md5(&p.body) == *id)?;
    let slice_bytes = u64::from_le_bytes(number(&main.body, 0)?);
    let count = u32::from_le_bytes(number(&main.body, 8)?) as usize;
    if slice_bytes == 0 || slice_bytes > SLICE_MAX_BYTES || !slice_bytes.is_multiple_of(4) || count == 0 || count > FILES_MAX {
        return None;
    }
    let about: HashMap<Hash, &[u8]> = of(Kind::File).filter_map(|(_, p)| Some((number(&p.body, 0)?, &*p.body))).collect();
    let sums: HashMap<Hash, &[u8]> = of(Kind::Slices).filter_map(|(_, p)| Some((number(&p.body, 0)?, &*p.body))).collect();
    let mut files = Vec::new();
    for n in 0..count {
        let id: Hash = number(&main.body, 12 + 16 * n)?;
        files.push(protected(about.get(&id)?, sums.get(&id).copied().unwrap_or_default(), slice_bytes)?);
    }
    let mut recovery: Vec<Recovery> = of(Kind::Recovery)
        .filter(|(_, p)| p.bytes == slice_bytes + 4)
        .filter_map(|(file, p)| {
            let exponent = u32::from_le_bytes(number(&p.body, 0)?);
            Some(Recovery { exponent, file: file.clone(), at: p.at + 4 })
        })
        .collect();
    recovery.sort_by_key(|r| r.exponent);
    recovery.dedup_by_key(|r| r.exponent);
    let set = Set { slice_bytes, files, recovery };
    (set.inputs() <= INPUTS_MAX).then_some(set)
}

/// A file from what its two packets say.
fn protected(about: &[u8], sums: &[u8], slice_bytes: u64) -> Option<Protected> {
    let bytes = u64::from_le_bytes(number(about, 48)?);
    let name = about.get(56..)?;
    let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    let name = std::str::from_utf8(name.get(..end)?).ok()?.to_owned();
    let (rows, _) = sums.get(16..).unwrap_or_default().as_chunks::<20>();
    let slices: Vec<SliceSum> = rows
        .iter()
        .filter_map(|row| Some(SliceSum { md5: number(row, 0)?, crc: u32::from_le_bytes(number(row, 16)?) }))
        .collect();
    let is_right = slices.len() as u64 == bytes.div_ceil(slice_bytes);
    is_right.then_some(Protected { name, bytes, md5: number(about, 16)?, md5_16k: number(about, 32)?, slices })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::store::LocalStore;

    const SLICE: usize = 64;

    /// A recovery file of one file with three slices; what is in the recovery slices does not matter here.
    fn sample() -> Vec<u8> {
        let sums = (0..3).map(|n| SliceSum { md5: [n; 16], crc: u32::from(n) }).collect();
        let file = Protected { name: "x.tar".into(), bytes: 150, md5: [1; 16], md5_16k: [2; 16], slices: sums };
        let (set, mut bytes) = Set::critical(SLICE as u64, &file);
        for exponent in 0..2u32 {
            bytes.extend(packet(&set, Kind::Recovery, &[&exponent.to_le_bytes()[..], &[7; SLICE]].concat()));
        }
        bytes.extend(packet(&set, Kind::Creator, &padded("floe")));
        bytes
    }

    fn with_file<T>(bytes: &[u8], test: impl FnOnce(&LocalStore) -> T) -> T {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::new(folder.path());
        let _lock = store.lock().unwrap();
        let mut upload = store.upload().unwrap();
        upload.write_all(bytes).unwrap();
        upload.finish("parity/x.par2").unwrap();
        test(&store)
    }

    fn state(bytes: &[u8]) -> bool {
        let size = bytes.len() as u64;
        with_file(bytes, |store| matches!(state_of(store, ("parity/x.par2", size), ("x.tar", 150)), State::Whole(2)))
    }

    #[test]
    fn what_was_written_is_read_back() {
        let sets = with_file(&sample(), |store| read_sets(store).unwrap());
        let [set] = sets.as_slice() else { panic!("{sets:?}") };
        assert_eq!((set.slice_bytes, set.inputs(), set.recovery.len()), (64, 3, 2));
        assert_eq!((set.files[0].name.as_str(), set.files[0].bytes), ("x.tar", 150));
        assert!(state(&sample()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let good = sample();
        for at in (0..good.len()).step_by(3) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            assert!(!state(&bad), "bit in byte {at}");
            assert!(!state(&good[..at]), "cut at {at}");
        }
    }

    #[test]
    fn what_is_between_packets_is_passed_over() {
        let good = sample();
        let shifted = [b"PAR2\0PKT junk", &good[..], b"more junk"].concat();
        let sets = with_file(&shifted, |store| read_sets(store).unwrap());
        assert_eq!(sets.len(), 1);
        assert_eq!(sets[0].recovery.len(), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_are_read_without_harm(at in 0usize..600, junk in any::<Vec<u8>>()) {
            let mut bytes = sample();
            let at = at.min(bytes.len());
            bytes.splice(at..(at + junk.len()).min(sample().len()), junk);
            for set in with_file(&bytes, |store| read_sets(store).unwrap()) {
                prop_assert!(set.slice_bytes == SLICE as u64 && set.inputs() == 3);
            }
        }

        #[test]
        fn any_body_of_a_main_packet_is_read_without_harm(body in any::<Vec<u8>>()) {
            let mut body = body;
            body.resize(body.len().next_multiple_of(4), 0);
            let bytes = [packet(&md5(&body), Kind::Main, &body), sample()].concat();
            with_file(&bytes, |store| read_sets(store).unwrap());
        }
    }
}
