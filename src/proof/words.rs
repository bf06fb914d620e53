//! A digest as words that can be read out and written down: the 24 of BIP 39, English.

use crate::model::Digest;

/// The list of BIP 39 (github.com/bitcoin/bips, bip-0039/english.txt): 2048 words, each known by its first four letters.
const LIST: &str = include_str!("bip39-english.txt");
/// Bits in a word.
const WORD_BITS: usize = 11;

/// The 256 bits and the eight bits of their checksum, eleven bits a word; so a mistaken word shows in any program that knows BIP 39.
pub fn words(digest: &Digest) -> Vec<&'static str> {
    let list: Vec<&str> = LIST.lines().collect();
    let mut bytes = digest.as_bytes().to_vec();
    bytes.push(Digest::of(digest.as_bytes()).as_bytes()[0]);
    let bit = |at: usize| usize::from(bytes[at / 8] >> (7 - at % 8) & 1);
    (0..bytes.len() * 8 / WORD_BITS)
        .filter_map(|word| list.get((0..WORD_BITS).fold(0, |n, at| n << 1 | bit(word * WORD_BITS + at))).copied())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_the_published_one() {
        let digest = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda";
        assert_eq!(Digest::of(LIST.as_bytes()).to_string(), digest);
    }

    /// Of the test vectors that are published with BIP 39.
    #[test]
    fn words_are_those_of_the_standard() {
        let of = |bytes: [u8; 32]| words(&Digest::from_bytes(bytes)).join(" ");
        assert_eq!(of([0; 32]), ["abandon "; 23].concat() + "art");
        assert_eq!(of([0xff; 32]), ["zoo "; 23].concat() + "vote");
        assert_eq!(
            of([0x7f; 32]),
            "legal winner thank year wave sausage worth useful legal winner thank year wave sausage worth \
            useful legal winner thank year wave sausage worth title"
        );
        assert_eq!(
            of([0x80; 32]),
            "letter advice cage absurd amount doctor acoustic avoid letter advice cage absurd amount doctor \
            acoustic avoid letter advice cage absurd amount doctor acoustic bless"
        );
    }
}
