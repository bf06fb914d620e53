//! Counting what occurs more than once, in bounded memory whatever the number of items.
//!
//! Keys go to an unnamed file; in the end a range of keys at a time is read back and sorted.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Seek as _, Write as _};

use super::model::Repeats;
use crate::error::{Error, Kind, Result};
use crate::model::Digest;

/// Keys sorted at once: 32 MiB.
const RANGE_KEYS: u64 = 1 << 20;

/// An item: what makes it like another one, and its id. Both are the first half of a digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Keyed {
    key: u128,
    pub(super) id: u128,
}

/// Keys that are being collected.
pub(super) struct Keys {
    file: BufWriter<File>,
    count: u64,
}

fn failed(e: std::io::Error) -> Error {
    Error::new(Kind::Storage, "cannot write the report's scratch file").because(e)
}

impl Keys {
    pub(super) fn new() -> Result<Self> {
        Ok(Keys { file: BufWriter::new(tempfile::tempfile().map_err(failed)?), count: 0 })
    }

    /// Adds an item with its key and its id.
    pub(super) fn push(&mut self, key: &Digest, id: &Digest) -> Result<()> {
        self.count += 1;
        let mut both = [0; 32];
        both[..16].copy_from_slice(&key.half());
        both[16..].copy_from_slice(&id.half());
        self.file.write_all(&both).map_err(failed)
    }

    /// Counts groups of equal keys, and hands over the ids of each.
    pub(super) fn repeats(self, each: &mut dyn FnMut(&[Keyed]) -> Result<()>) -> Result<Repeats> {
        let ranges = self.count.div_ceil(RANGE_KEYS).next_power_of_two().max(1);
        let mut file = self.file.into_inner().map_err(|e| failed(e.into_error()))?;
        let mut repeats = Repeats::default();
        for range in 0..ranges {
            file.rewind().map_err(failed)?;
            let mut keys = in_range(&file, self.count, range, ranges.trailing_zeros()).map_err(failed)?;
            keys.sort_unstable();
            for group in keys.chunk_by(|a, b| a.key == b.key).filter(|g| g.len() > 1) {
                repeats.groups += 1;
                repeats.copies += group.len() as u64 - 1;
                each(group)?;
            }
        }
        Ok(repeats)
    }
}

/// The keys whose first bits are the number of the range.
fn in_range(file: &File, count: u64, range: u64, bits: u32) -> std::io::Result<Vec<Keyed>> {
    let mut reader = BufReader::new(file);
    let (mut keys, mut key, mut id) = (Vec::new(), [0; 16], [0; 16]);
    for _ in 0..count {
        reader.read_exact(&mut key)?;
        reader.read_exact(&mut id)?;
        let keyed = Keyed { key: u128::from_be_bytes(key), id: u128::from_be_bytes(id) };
        if keyed.key.checked_shr(128 - bits).unwrap_or(0) as u64 == range {
            keys.push(keyed);
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_and_copies_are_counted_over_all_ranges() {
        let mut keys = Keys::new().unwrap();
        for n in 0..1000u32 {
            let digest = Digest::of(&(n % 900).to_le_bytes());
            keys.push(&digest, &Digest::of(&n.to_be_bytes())).unwrap();
        }
        keys.push(&Digest::of(&0u32.to_le_bytes()), &Digest::of(b"last")).unwrap();
        let mut ids = Vec::new();
        let repeats = keys.repeats(&mut |group| {
            ids.push(group.iter().map(|keyed| keyed.id).collect::<Vec<_>>());
            Ok(())
        });
        assert_eq!(repeats.unwrap(), Repeats { groups: 100, copies: 101 });
        let id = |of: &[u8]| u128::from_be_bytes(Digest::of(of).as_bytes()[..16].try_into().unwrap());
        let mut three = vec![id(&0u32.to_be_bytes()), id(&900u32.to_be_bytes()), id(b"last")];
        three.sort_unstable();
        assert!(ids.contains(&three) && ids.iter().filter(|ids| ids.len() == 2).count() == 99);
        assert_eq!(Keys::new().unwrap().repeats(&mut |_| panic!("no group")).unwrap(), Repeats::default());
    }
}
