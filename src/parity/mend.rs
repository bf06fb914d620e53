//! Makes the missing slices of a set from those that are there and its recovery slices.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;

use md5::{Digest as _, Md5};
use rayon::prelude::*;

use super::field::{constants, multiply, power};
use super::find::{Place, Slice, anywhere, in_place, slices};
use super::matrix::{Matrix, independent, inverted};
use super::name::place_of;
use super::set::Set;
use super::sums::{Sums, Term};
use crate::error::{Error, Kind, Result};
use crate::model::{Digest, Hasher};
use crate::store::{Store, StoredFile};

/// Bytes of slices that are summed up at once.
const BATCH_BYTES: u64 = 8 << 20;
/// Most slices that are made anew together: the work grows with the third power of their number.
const MISSING_MAX: usize = 2048;

/// A set, and where its slices were found.
pub struct Located<'a> {
    set: &'a Set,
    slices: Vec<Slice>,
    places: Vec<Option<Place>>,
}

impl<'a> Located<'a> {
    /// Looks for the slices: in the files of the set that are there, and as long as too many are missing, anywhere in `suspects`.
    pub fn find(store: &dyn Store, set: &'a Set, there: &HashMap<String, StoredFile>, suspects: &[StoredFile]) -> Self {
        let slices = slices(set);
        let mut located = Located { set, places: vec![None; slices.len()], slices };
        for (number, file) in set.files.iter().enumerate() {
            if let Some(file) = place_of(&file.name).and_then(|place| there.get(&place)) {
                in_place(store, set, number, file, &mut located.places);
            }
        }
        for suspect in suspects {
            if located.missing().len() <= set.recovery.len() {
                break;
            }
            anywhere(store, set, suspect, &mut located.places);
        }
        located
    }

    /// The numbers of the slices that were not found.
    pub fn missing(&self) -> Vec<usize> {
        self.places.iter().enumerate().filter(|(_, place)| place.is_none()).map(|(n, _)| n).collect()
    }

    /// Makes the missing slices; `None` when the recovery slices do not suffice.
    ///
    /// # Errors
    /// `Kind::Storage` or `Kind::Damage` when what was found cannot be read any more.
    pub fn solve(self, store: &dyn Store) -> Result<Option<Solved<'a>>> {
        let missing = self.missing();
        if missing.len() > self.set.recovery.len().min(MISSING_MAX) {
            return Ok(None);
        }
        let all = constants(self.slices.len());
        let row = |exponent: u32| -> Vec<u16> { missing.iter().map(|n| power(all[*n], exponent)).collect() };
        let rows = self.set.recovery.iter().map(|r| row(r.exponent));
        let Some(chosen) = independent(rows, missing.len()) else { return Ok(None) };
        let exponents: Vec<u32> = chosen.iter().map(|n| self.set.recovery[*n].exponent).collect();
        let Some(inverse) = inverted(exponents.iter().map(|e| row(*e)).collect()) else { return Ok(None) };
        // Without missing slices there is nothing to sum up, and the slice size may be anything.
        let slice_bytes = if missing.is_empty() { 0 } else { self.set.slice_bytes as usize };
        let mut sums = Sums::new(missing.len(), slice_bytes);
        if !missing.is_empty() {
            self.add_found(store, &mut sums, &all, (&inverse, &exponents))?;
            self.add_recovery(store, &mut sums, &chosen, &inverse)?;
        }
        Ok(Some(Solved { located: self, missing, sums }))
    }

    /// A missing slice is a sum over recovery slices, each less what the slices that were found have in it.
    fn add_found(
        &self,
        store: &dyn Store,
        sums: &mut Sums,
        constants: &[u16],
        (inverse, exponents): (&Matrix, &[u32]),
    ) -> Result<()> {
        let found: Vec<(usize, &Place)> = self.places.iter().enumerate().filter_map(|(n, p)| Some((n, p.as_ref()?))).collect();
        for batch in found.chunks((BATCH_BYTES / self.set.slice_bytes).max(1) as usize) {
            let read: Vec<(Vec<u8>, Vec<u16>)> = batch
                .par_iter()
                .map(|(n, place)| {
                    let powers: Vec<u16> = exponents.iter().map(|e| power(constants[*n], *e)).collect();
                    let coefficient = |row: &Vec<u16>| row.iter().zip(&powers).fold(0, |sum, (a, b)| sum ^ multiply(*a, *b));
                    let mut bytes = vec![0; self.slices[*n].bytes as usize];
                    store.read_at(&place.file, place.at, &mut bytes)?;
                    Ok((bytes, inverse.iter().map(coefficient).collect()))
                })
                .collect::<Result<_>>()?;
            sums.add(&terms(&read));
        }
        Ok(())
    }

    fn add_recovery(&self, store: &dyn Store, sums: &mut Sums, chosen: &[usize], inverse: &Matrix) -> Result<()> {
        let numbered: Vec<(usize, &usize)> = chosen.iter().enumerate().collect();
        for batch in numbered.chunks((BATCH_BYTES / self.set.slice_bytes).max(1) as usize) {
            let read: Vec<(Vec<u8>, Vec<u16>)> = batch
                .par_iter()
                .map(|(column, chosen)| {
                    let recovery = &self.set.recovery[**chosen];
                    let mut bytes = vec![0; self.set.slice_bytes as usize];
                    store.read_at(&recovery.file, recovery.at, &mut bytes)?;
                    Ok((bytes, inverse.iter().map(|row| row[*column]).collect()))
                })
                .collect::<Result<_>>()?;
            sums.add(&terms(&read));
        }
        Ok(())
    }
}

fn terms(read: &[(Vec<u8>, Vec<u16>)]) -> Vec<Term<'_>> {
    read.iter().map(|(bytes, coefficients)| Term { bytes, coefficients: coefficients.clone() }).collect()
}

/// A set of which every slice is known.
pub struct Solved<'a> {
    located: Located<'a>,
    missing: Vec<usize>,
    sums: Sums,
}

impl Solved<'_> {
    /// Slices of a file that were made anew.
    pub fn made(&self, file: usize) -> usize {
        self.missing.iter().filter(|n| self.located.slices[**n].file == file).count()
    }

    /// The files that slices were found in.
    pub fn sources(&self) -> BTreeSet<String> {
        self.located.places.iter().flatten().map(|place| place.file.clone()).collect()
    }

    /// Writes a file of the set; gives its digest.
    ///
    /// # Errors
    /// `Kind::Storage` when it cannot be written, `Kind::Damage` when what came out is not what was protected.
    pub fn write(&self, store: &dyn Store, file: usize, out: &mut dyn Write) -> Result<Digest> {
        let (mut sha256, mut md5) = (Hasher::new(), Md5::new());
        for (n, slice) in self.located.slices.iter().enumerate().filter(|(_, s)| s.file == file) {
            let mut bytes = vec![0; slice.bytes as usize];
            match (&self.located.places[n], self.missing.binary_search(&n)) {
                (Some(place), _) => store.read_at(&place.file, place.at, &mut bytes)?,
                (None, Ok(sum)) => bytes.copy_from_slice(&self.sums.bytes(sum)[..slice.bytes as usize]),
                (None, Err(_)) => return Err(Error::new(Kind::Internal, "a missing slice was not made")),
            }
            sha256.update(&bytes);
            md5.update(&bytes);
            out.write_all(&bytes).map_err(|e| Error::new(Kind::Storage, "cannot write a mended file").because(e))?;
        }
        let wanted = self.located.set.files.get(file).map(|f| f.md5);
        if wanted != Some(md5.finalize().into()) {
            return Err(Error::damage("what was mended is not what was protected"));
        }
        Ok(sha256.finish())
    }
}
