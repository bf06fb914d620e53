//! Sums of products in GF(2^16) over whole slices: what both encoding and mending spend their time on.
//!
//! Eight sums are made at once. A word of an input is two bytes, and for each byte a table gives its product with eight
//! coefficients side by side, so that two look-ups and an exclusive or serve eight sums.

use rayon::prelude::*;

use super::field::POLYNOMIAL;

/// Sums that lie side by side.
const LANES: usize = 8;
/// Words after which another core may go on: what a core sums into stays in its cache.
const CHUNK_WORDS: usize = 4096;

/// Eight words, four to a number.
type Words = [u64; 2];

/// One input and what it is multiplied with in each sum.
pub struct Term<'a> {
    /// The bytes; what lacks of a slice is zero.
    pub bytes: &'a [u8],
    /// A coefficient for each sum.
    pub coefficients: Vec<u16>,
}

/// Sums that inputs are added to.
pub struct Sums {
    groups: Vec<Vec<Words>>,
    slice_bytes: usize,
}

impl Sums {
    /// So many sums, all zero.
    pub fn new(count: usize, slice_bytes: usize) -> Self {
        Sums { groups: vec![vec![[0; 2]; slice_bytes.div_ceil(2)]; count.div_ceil(LANES)], slice_bytes }
    }

    /// Adds the terms to all sums.
    pub fn add(&mut self, terms: &[Term<'_>]) {
        self.groups.par_iter_mut().enumerate().for_each(|(group, sums)| {
            sums.par_chunks_mut(CHUNK_WORDS).enumerate().for_each(|(chunk, sums)| {
                let mut products = Products::new();
                for term in terms {
                    let from = chunk * CHUNK_WORDS * 2;
                    let Some(bytes) = term.bytes.get(from..(from + sums.len() * 2).min(term.bytes.len())) else { continue };
                    products.fill(&term.coefficients[group * LANES..]);
                    products.add(bytes, sums);
                }
            });
        });
    }

    /// The bytes of a sum.
    pub fn bytes(&self, sum: usize) -> Vec<u8> {
        let (lane, shift) = (sum % LANES / 4, 16 * (sum % 4));
        let words = self.groups[sum / LANES].iter().map(|words| (words[lane] >> shift) as u16);
        let mut bytes: Vec<u8> = words.flat_map(u16::to_le_bytes).collect();
        bytes.truncate(self.slice_bytes);
        bytes
    }
}

/// The products of each value of a low and of a high byte with eight coefficients.
struct Products {
    low: [Words; 256],
    high: [Words; 256],
}

impl Products {
    fn new() -> Self {
        Products { low: [[0; 2]; 256], high: [[0; 2]; 256] }
    }

    fn fill(&mut self, coefficients: &[u16]) {
        let mut bit = [0; 2];
        for (lane, coefficient) in coefficients.iter().take(LANES).enumerate() {
            bit[lane / 4] |= u64::from(*coefficient) << (16 * (lane % 4));
        }
        for table in [&mut self.low, &mut self.high] {
            for n in 0..8 {
                let (known, new) = table.split_at_mut(1 << n);
                for (new, known) in new.iter_mut().zip(known) {
                    *new = xor(*known, bit);
                }
                bit = bit.map(double);
            }
        }
    }

    fn add(&self, bytes: &[u8], sums: &mut [Words]) {
        let (pairs, rest) = bytes.as_chunks::<2>();
        for ([low, high], sum) in pairs.iter().zip(&mut *sums) {
            *sum = xor(*sum, xor(self.low[usize::from(*low)], self.high[usize::from(*high)]));
        }
        if let ([low], Some(sum)) = (rest, sums.get_mut(pairs.len())) {
            *sum = xor(*sum, self.low[usize::from(*low)]);
        }
    }
}

fn xor(a: Words, b: Words) -> Words {
    [a[0] ^ b[0], a[1] ^ b[1]]
}

/// Four words doubled in the field.
fn double(words: u64) -> u64 {
    const LOWEST: u64 = 0x0001_0001_0001_0001;
    ((words & !(LOWEST << 15)) << 1) ^ ((words >> 15 & LOWEST) * POLYNOMIAL as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parity::field::multiply;

    #[test]
    fn sums_are_those_of_the_field_word_by_word() {
        let bytes = |seed: usize, n: usize| -> Vec<u8> { (0..n).map(|i| (i * 7 + seed * 13 + i * i / 5) as u8).collect() };
        for (count, length) in [(1, 2), (8, 10), (9, 4), (19, CHUNK_WORDS * 2 + 6), (3, 7)] {
            let inputs: Vec<Vec<u8>> = (0..5).map(|n| bytes(n, if n == 4 { length / 2 } else { length })).collect();
            let coefficients = |n: usize| (0..count).map(|s| (n * 5000 + s * 777 + 1) as u16).collect::<Vec<u16>>();
            let terms: Vec<Term<'_>> =
                inputs.iter().enumerate().map(|(n, bytes)| Term { bytes, coefficients: coefficients(n) }).collect();
            let mut sums = Sums::new(count, length);
            sums.add(&terms[..2]);
            sums.add(&terms[2..]);
            for sum in 0..count {
                let mut wanted = vec![0u16; length.div_ceil(2)];
                for term in &terms {
                    for (word, pair) in wanted.iter_mut().zip(term.bytes.chunks(2)) {
                        let input = u16::from_le_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]);
                        *word ^= multiply(input, term.coefficients[sum]);
                    }
                }
                let mut wanted: Vec<u8> = wanted.into_iter().flat_map(u16::to_le_bytes).collect();
                wanted.truncate(length);
                assert_eq!(sums.bytes(sum), wanted, "sum {sum} of {count}");
            }
        }
    }
}
