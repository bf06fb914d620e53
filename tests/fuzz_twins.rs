//! The properties of the fuzz targets under the ordinary test harness: the seeds are replayed, and mutated.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#[path = "../fuzz/src/lib.rs"]
mod properties;

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::Index;

/// The seeds of a target.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files.iter().map(|f| fs::read(f).unwrap()).collect()
}

#[test]
fn every_property_holds_for_the_seeds() {
    for (target, property) in properties::ALL {
        let seeds = seeds(target);
        assert!(seeds.len() >= 3, "{target}");
        for seed in seeds {
            property(&seed);
        }
    }
}

#[test]
fn every_property_has_its_fuzz_target() {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/targets");
    let mut names: Vec<_> = fs::read_dir(targets).unwrap().map(|e| e.unwrap().path().file_stem().unwrap().to_owned()).collect();
    names.sort();
    assert_eq!(names, properties::ALL.iter().map(|(name, _)| *name).collect::<Vec<_>>());
}

/// A change to some bytes.
#[derive(Clone, Debug)]
enum Edit {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    Repeat(Index, Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let words: [&[u8]; 8] =
        [b"\n", b"\r\n", b"\n\nFrom a@b Mon Jan  1 00:00:00 2024\n", b"--b c\n", b"\0", b"=", b"&", b"\xff\xff\xff\xff"];
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
        (any::<Index>(), proptest::sample::select(words.map(<[u8]>::to_vec).to_vec())).prop_map(|(at, w)| Edit::Insert(at, w)),
        (any::<Index>(), proptest::collection::vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Edit::Remove(a, b)),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Edit::Repeat(a, b)),
    ]
}

fn changed(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    let range = |bytes: &[u8], a: &Index, b: &Index| {
        let (a, b) = (a.index(bytes.len() + 1), b.index(bytes.len() + 1));
        a.min(b)..a.max(b)
    };
    for edit in edits {
        match edit {
            Edit::Set(at, byte) if !bytes.is_empty() => {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            Edit::Set(..) => {}
            Edit::Insert(at, more) => {
                let at = at.index(bytes.len() + 1);
                bytes.splice(at..at, more.iter().copied());
            }
            Edit::Remove(a, b) => {
                let range = range(&bytes, a, b);
                bytes.drain(range);
            }
            Edit::Repeat(a, b) => {
                let more = bytes[range(&bytes, a, b)].to_vec();
                bytes.extend(more);
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_property_holds_for_mutated_seeds(which in any::<Index>(), edits in proptest::collection::vec(edit(), 1..6)) {
        for (target, property) in properties::ALL {
            let seeds = seeds(target);
            property(&changed(seeds[which.index(seeds.len())].clone(), &edits));
        }
    }

    #[test]
    fn every_property_holds_for_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for (_, property) in properties::ALL {
            property(&bytes);
        }
    }
}
