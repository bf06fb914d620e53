//! The names of files that never change, which say what their digest must be: packs and roots.

use crate::model::Digest;

/// Where packs lie.
pub const PACKS: &str = "data/packs/";
/// Where roots lie.
pub const ROOTS: &str = "data/snapshots/";

/// What the name of a pack or root says of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A pack is named by its digest.
    Whole(Digest),
    /// A root has the first twelve hex digits in its name.
    Beginning(String),
}

impl Said {
    /// What the name of a file of the archive says, if it is a pack or a root.
    pub fn by(name: &str) -> Option<Said> {
        if let Some(pack) = name.strip_prefix(PACKS) {
            let digest = pack.strip_suffix(".age").unwrap_or(pack).strip_suffix(".tar.zst")?;
            return Some(Said::Whole(digest.parse().ok()?));
        }
        let root = name.strip_prefix(ROOTS)?;
        let (time, digits) = root.strip_suffix(".age").unwrap_or(root).strip_suffix(".json")?.split_once('-')?;
        let is_time = time.len() == 16 && time.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'T' | b'Z'));
        let is_hex = digits.len() == 12 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (is_time && is_hex).then(|| Said::Beginning(digits.to_owned()))
    }

    /// Has a file with this digest the right bytes?
    pub fn fits(&self, digest: &Digest) -> bool {
        match self {
            Said::Whole(wanted) => wanted == digest,
            Said::Beginning(digits) => digest.to_string().starts_with(digits),
        }
    }
}

/// The file of the archive that a recovery set means: sets have names without folders, or with some.
pub fn place_of(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next()?;
    [PACKS, ROOTS].into_iter().map(|folder| format!("{folder}{last}")).find(|place| Said::by(place).is_some())
}

/// The name without folders.
pub fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The recovery file of a pack or root.
pub fn parity_of(name: &str) -> String {
    format!("parity/{}.par2", last(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packs_and_roots_are_named_so() {
        let digest = Digest::of(b"x");
        for end in ["tar.zst", "tar.zst.age"] {
            assert_eq!(Said::by(&format!("data/packs/{digest}.{end}")), Some(Said::Whole(digest)));
            assert_eq!(place_of(&format!("{digest}.{end}")), Some(format!("data/packs/{digest}.{end}")));
        }
        let root = format!("20261122T210500Z-{}", &digest.to_string()[..12]);
        for end in ["json", "json.age"] {
            let said = Said::by(&format!("data/snapshots/{root}.{end}")).expect("a root's name");
            assert!(said.fits(&digest) && !said.fits(&Digest::of(b"y")));
        }
        for other in ["data/packs/x.tar.zst", "data/snapshots/x.json", "bagit.txt", "data/packs/../../etc/passwd", ""] {
            assert_eq!((Said::by(other), place_of(other)), (None, None), "{other}");
        }
        assert_eq!(place_of(&format!("../../etc/{root}.json")), Some(format!("data/snapshots/{root}.json")));
    }
}
