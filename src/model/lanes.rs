//! The SHA-256 of several byte strings at once: two at a time on one core, where it has instructions for it.
//!
//! The next round of a hash waits for the one before, which leaves half of the unit idle; two strings side by side fill it. No crate does
//! this, and hashing is what snapshots and checks spend most of their time on. The arithmetic is safe code; one call of it is not.

use super::Digest;

impl Digest {
    /// The digests of these byte strings, in their order.
    pub fn of_each(strings: &[&[u8]]) -> Vec<Digest> {
        #[cfg(target_arch = "x86_64")]
        if strings.len() > 1 && x86::is_there() {
            return x86::of_each(strings);
        }
        strings.iter().map(|bytes| Digest::of(bytes)).collect()
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::Digest;

    type Block = [u8; 64];
    type State = [u32; 8];

    /// FIPS 180-4 section 5.3.3.
    const BEGIN: State = [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

    /// FIPS 180-4 section 4.2.2, by the four rounds that are done together.
    #[rustfmt::skip]
    const ROUND: [[u32; 4]; 16] = [
        [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5], [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
        [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3], [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
        [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc], [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
        [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7], [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
        [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13], [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
        [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3], [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
        [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5], [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
        [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208], [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
    ];

    /// Has this processor the instructions?
    pub(super) fn is_there() -> bool {
        is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1") && is_x86_feature_detected!("ssse3")
    }

    /// A byte string on its way through.
    struct Lane<'a> {
        /// Which one.
        number: usize,
        state: State,
        whole: &'a [Block],
        /// What follows the whole blocks: the last bytes, padding and length.
        end: [Block; 2],
        end_at: usize,
    }

    impl<'a> Lane<'a> {
        fn new(number: usize, bytes: &'a [u8]) -> Self {
            let (whole, rest) = bytes.as_chunks();
            let mut end = [[0u8; 64]; 2];
            let end_at = usize::from(rest.len() >= 56);
            let flat = end.as_flattened_mut();
            flat[..rest.len()].copy_from_slice(rest);
            flat[rest.len()] = 0x80;
            let bits = (bytes.len() as u64) << 3;
            flat[64 * end_at + 56..64 * end_at + 64].copy_from_slice(&bits.to_be_bytes());
            // One block is enough more often than not; then it is the second.
            if end_at == 0 {
                end.swap(0, 1);
            }
            Lane { number, state: BEGIN, whole, end, end_at: 1 - end_at }
        }

        fn blocks(&self) -> &[Block] {
            if self.whole.is_empty() { &self.end[self.end_at..] } else { self.whole }
        }

        fn advance(&mut self, blocks: usize) {
            match self.whole {
                [] => self.end_at += blocks,
                whole => self.whole = &whole[blocks..],
            }
        }

        fn is_done(&self) -> bool {
            self.blocks().is_empty()
        }

        fn digest(&self) -> Digest {
            let mut bytes = [0u8; 32];
            for (four, word) in bytes.chunks_exact_mut(4).zip(self.state) {
                four.copy_from_slice(&word.to_be_bytes());
            }
            Digest::from_bytes(bytes)
        }
    }

    /// Keeps two lanes busy, longest strings first, so that the second is seldom empty.
    pub(super) fn of_each(strings: &[&[u8]]) -> Vec<Digest> {
        let mut waiting: Vec<usize> = (0..strings.len()).collect();
        waiting.sort_by_key(|&n| strings[n].len());
        let mut digests = vec![Digest::from_bytes([0; 32]); strings.len()];
        let mut next = || waiting.pop().map(|n| Lane::new(n, strings[n]));
        let (mut first, mut second) = (next(), next());
        while let Some(lane) = first.as_mut() {
            let Some(other) = second.as_mut() else {
                let blocks = lane.blocks().len();
                step([lane], blocks);
                if lane.is_done() {
                    digests[lane.number] = lane.digest();
                    first = None;
                }
                continue;
            };
            let blocks = lane.blocks().len().min(other.blocks().len());
            step([lane, other], blocks);
            for place in [&mut first, &mut second] {
                if let Some(done) = place.take_if(|lane| lane.is_done()) {
                    digests[done.number] = done.digest();
                    *place = next();
                }
            }
            if first.is_none() {
                std::mem::swap(&mut first, &mut second);
            }
        }
        digests
    }

    /// Takes so many blocks of each lane in.
    fn step<const N: usize>(lanes: [&mut Lane<'_>; N], blocks: usize) {
        let mut states: [State; N] = std::array::from_fn(|n| lanes[n].state);
        let data: [&[Block]; N] = std::array::from_fn(|n| &lanes[n].blocks()[..blocks]);
        // Without this the instructions of `compress` could not be used, since not every processor has them.
        // SAFETY: `of_each` is called only where `is_there` has found all features that `compress` is compiled for.
        #[allow(unsafe_code)]
        unsafe {
            compress(&mut states, data, blocks);
        }
        for (lane, state) in lanes.into_iter().zip(states) {
            lane.state = state;
            lane.advance(blocks);
        }
    }

    #[target_feature(enable = "sha,sse4.1,ssse3")]
    #[allow(clippy::needless_range_loop, reason = "the lanes are gone through side by side")]
    fn compress<const N: usize>(states: &mut [State; N], data: [&[Block]; N], blocks: usize) {
        let zero = _mm_setzero_si128();
        let (mut abef, mut cdgh, mut w) = ([zero; N], [zero; N], [[zero; 4]; N]);
        for n in 0..N {
            let [a, b, c, d, e, f, g, h] = states[n].map(u32::cast_signed);
            (abef[n], cdgh[n]) = (_mm_set_epi32(a, b, e, f), _mm_set_epi32(c, d, g, h));
        }
        for at in 0..blocks {
            let before = (abef, cdgh);
            for n in 0..N {
                w[n] = words(&data[n][at]);
            }
            for rounds in 0..4 {
                for i in 0..4 {
                    let [k0, k1, k2, k3] = ROUND[4 * rounds + i].map(u32::cast_signed);
                    for n in 0..N {
                        let sum = _mm_add_epi32(w[n][i], _mm_set_epi32(k3, k2, k1, k0));
                        cdgh[n] = _mm_sha256rnds2_epu32(cdgh[n], abef[n], sum);
                        abef[n] = _mm_sha256rnds2_epu32(abef[n], cdgh[n], _mm_shuffle_epi32::<0x0E>(sum));
                        if rounds < 3 {
                            let [w0, w1, w2, w3] = [w[n][i], w[n][(i + 1) % 4], w[n][(i + 2) % 4], w[n][(i + 3) % 4]];
                            let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w0, w1), _mm_alignr_epi8::<4>(w3, w2));
                            w[n][i] = _mm_sha256msg2_epu32(sum, w3);
                        }
                    }
                }
            }
            for n in 0..N {
                abef[n] = _mm_add_epi32(abef[n], before.0[n]);
                cdgh[n] = _mm_add_epi32(cdgh[n], before.1[n]);
            }
        }
        for n in 0..N {
            let ([f, e, b, a], [h, g, d, c]) = (lanes_of(abef[n]), lanes_of(cdgh[n]));
            states[n] = [a, b, c, d, e, f, g, h];
        }
    }

    /// The sixteen words of a block, in four registers.
    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn words(block: &Block) -> [__m128i; 4] {
        let swap = _mm_set_epi64x(0x0C0D_0E0F_0809_0A0B, 0x0405_0607_0001_0203);
        let mut words = [_mm_setzero_si128(); 4];
        for (word, bytes) in words.iter_mut().zip(block.as_chunks::<16>().0) {
            let (low, high) = (bytes[..8].try_into(), bytes[8..].try_into());
            let of = |half: Result<[u8; 8], _>| half.map_or(0, i64::from_le_bytes);
            *word = _mm_shuffle_epi8(_mm_set_epi64x(of(high), of(low)), swap);
        }
        words
    }

    #[inline]
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn lanes_of(x: __m128i) -> [u32; 4] {
        [_mm_extract_epi32::<0>(x), _mm_extract_epi32::<1>(x), _mm_extract_epi32::<2>(x), _mm_extract_epi32::<3>(x)]
            .map(i32::cast_unsigned)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one_by_one(strings: &[&[u8]]) -> Vec<Digest> {
        strings.iter().map(|s| Digest::of(s)).collect()
    }

    #[test]
    fn every_length_around_the_blocks_is_hashed_as_by_itself() {
        let bytes: Vec<u8> = (0..400u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        let strings: Vec<&[u8]> = (0..=bytes.len()).map(|n| &bytes[..n]).collect();
        assert_eq!(Digest::of_each(&strings), one_by_one(&strings));
        assert!(Digest::of_each(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn several_are_hashed_as_each_by_itself(strings in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..700), 0..9)) {
            let strings: Vec<&[u8]> = strings.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(Digest::of_each(&strings), one_by_one(&strings));
        }
    }
}
