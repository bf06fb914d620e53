//! What names say: of a message its base name, flags, keyword letters and size; of a folder its text.
//!
//! A message is `BASE:2,FLAGS`; where `:` cannot stand in a file name, programs write `;` or `!` instead. The base name
//! stays the same as long as the message lives and is what the UID list knows it by.

use std::ffi::OsStr;

use memchr::memmem;

use crate::model::Flag;
use crate::source::mutf7;

/// Bytes of the base name: up to the first `:`, or to a `;2,` or `!2,`.
pub(super) fn base_len(name: &[u8]) -> usize {
    memchr::memchr(b':', name)
        .or_else(|| memmem::rfind(name, b";2,"))
        .or_else(|| memmem::rfind(name, b"!2,"))
        .unwrap_or(name.len())
}

/// What stands behind the base name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Info {
    /// System flags.
    pub flags: Vec<Flag>,
    /// `P`: passed on to somebody else.
    pub passed: bool,
    /// `Z`: the file is compressed.
    pub compressed: bool,
    /// Keyword letters `a` to `z`.
    pub letters: Vec<u8>,
    /// Letters that mean nothing that is known.
    pub unknown: Vec<u8>,
}

/// Reads the letters behind the base name; a `,` ends them.
pub(super) fn info(name: &[u8]) -> Info {
    let mut info = Info::default();
    let start = [b":2,", b";2,", b"!2,"].iter().find_map(|mark| memmem::rfind(name, *mark));
    let letters = start.and_then(|at| name.get(at + 3..)).unwrap_or_default();
    for &letter in letters.iter().take_while(|&&b| b != b',') {
        let flag = match letter {
            b'D' => Some(Flag::Draft),
            b'F' => Some(Flag::Flagged),
            b'R' => Some(Flag::Answered),
            b'S' => Some(Flag::Seen),
            b'T' => Some(Flag::Deleted),
            _ => None,
        };
        match (flag, letter) {
            (Some(flag), _) if !info.flags.contains(&flag) => info.flags.push(flag),
            (Some(_), _) => {}
            (None, b'P') => info.passed = true,
            (None, b'Z') => info.compressed = true,
            (None, b'a'..=b'z') if !info.letters.contains(&letter) => info.letters.push(letter),
            (None, b'a'..=b'z') => {}
            (None, _) if !info.unknown.contains(&letter) => info.unknown.push(letter),
            (None, _) => {}
        }
    }
    info.flags.sort();
    info
}

/// The size of the message as its name states it (`,S=123`), before any compression.
pub(super) fn stated_size(base: &[u8]) -> Option<u64> {
    let digits = memmem::find(base, b",S=").and_then(|at| base.get(at + 3..))?;
    let digits = digits.split(|b| !b.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Is it what mail servers keep in the top of a folder for themselves?
pub(super) fn is_server_data(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let exact = ["subscriptions", "maildirsize", "maildirfolder", "maildirfilter", "courierpop3dsizelist"];
    exact.contains(&name.as_ref())
        || name.starts_with("dovecot-")
        || name.starts_with("dovecot.")
        || name.starts_with("courierimap")
        || name.starts_with(".dovecot.lda-dupes")
        || name.starts_with(".temp.")
        || name.starts_with(".nfs")
}

/// The text of one level of a folder's name on disk.
///
/// A name of ASCII is modified UTF-7 if it is right as such, a name of other UTF-8 is what it is: that tells the two ways
/// of writing names apart name by name. In a store that has UTF-8 names, `&-` alone is no proof of modified UTF-7.
pub(super) fn folder_text(raw: &[u8], utf8_store: bool) -> String {
    match std::str::from_utf8(raw) {
        Ok(name) if name.is_ascii() => {
            mutf7::decode(name).filter(|text| !utf8_store || !text.is_ascii()).unwrap_or_else(|| name.to_owned())
        }
        Ok(name) => name.to_owned(),
        Err(_) => String::from_utf8_lossy(raw).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn flags_are_read_behind_all_three_separators() {
        for name in ["1.M2P3.host,S=10:2,RSa", "1.M2P3.host,S=10;2,RSa", "1.M2P3.host,S=10!2,RSa"] {
            let info = info(name.as_bytes());
            assert_eq!((info.flags, info.letters), (vec![Flag::Answered, Flag::Seen], vec![b'a']), "{name}");
            assert_eq!(base_len(name.as_bytes()), "1.M2P3.host,S=10".len(), "{name}");
            assert_eq!(stated_size(name.as_bytes()), Some(10));
        }
    }

    #[test]
    fn every_letter_has_its_meaning_once() {
        let all = info(b"x:2,DFPRSTZabzSX9,S");
        assert_eq!(all.flags, [Flag::Answered, Flag::Deleted, Flag::Draft, Flag::Flagged, Flag::Seen]);
        assert_eq!((all.passed, all.compressed), (true, true));
        assert_eq!((all.letters.as_slice(), all.unknown.as_slice()), (&b"abz"[..], &b"X9"[..]));
        assert_eq!(info(b"x"), Info::default());
        assert_eq!(info(b"x:1,S"), Info::default());
        assert_eq!(info(b"a;b!c"), Info::default());
    }

    #[test]
    fn modified_utf7_and_utf8_names_are_told_apart() {
        assert_eq!(folder_text(b"&AMQ- &- b", false), "\u{c4} & b");
        assert_eq!(folder_text("Ä & b".as_bytes(), true), "Ä & b");
        assert_eq!(folder_text(b"R&D", false), "R&D");
        assert_eq!(folder_text(b"a &- b", false), "a & b");
        assert_eq!(folder_text(b"a &- b", true), "a &- b");
        assert_eq!(folder_text(b"caf\xe9", false), "caf\u{fffd}");
    }

    proptest! {
        #[test]
        fn no_name_panics(name in proptest::collection::vec(prop_oneof![Just(b':'), Just(b';'), Just(b'2'), Just(b','), Just(b'='), any::<u8>()], 0..40)) {
            let base = base_len(&name);
            prop_assert!(base <= name.len());
            let _ = (info(&name), stated_size(&name), folder_text(&name, true), folder_text(&name, false));
        }
    }
}
