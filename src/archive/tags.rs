//! The tag manifest: which of the files outside of the payload it lists, and how single lines of it are renewed.

use super::bag::parse_manifest;
use crate::error::{Error, Result};
use crate::model::Digest;
use crate::store::Store;

/// The tag manifest.
pub const FILE: &str = "tagmanifest-sha256.txt";
/// Largest one that is read.
const MAX_BYTES: u64 = 64 << 20;

/// Can the name be one of a file of the archive? Names come out of files that may be hostile.
pub fn is_plain(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    };
    name.split('/').all(part)
}

/// Its lines: digest and name.
///
/// # Errors
/// `Kind::Damage` when it is missing, cut or malformed.
pub fn lines(store: &dyn Store) -> Result<Vec<(Digest, String)>> {
    let text = store.read(FILE, MAX_BYTES)?.ok_or_else(|| Error::damage("the tag manifest is missing").with("file", FILE))?;
    parse_manifest(&text).map_err(|e| e.with("file", FILE))
}

/// Does it list this file with these bytes, or not at all when there is none? Without a tag manifest nothing agrees.
///
/// # Errors
/// `Kind::Storage` when it cannot be read.
pub fn agrees(store: &dyn Store, name: &str, bytes: Option<&[u8]>) -> Result<bool> {
    let lines = match lines(store) {
        Err(e) if e.kind() == crate::Kind::Damage => return Ok(false),
        lines => lines?,
    };
    let listed = lines.iter().find(|(_, listed)| listed == name).map(|(digest, _)| *digest);
    Ok(listed == bytes.map(Digest::of))
}

/// Its text.
pub fn text(mut lines: Vec<(Digest, String)>) -> Vec<u8> {
    lines.sort_by(|a, b| a.1.cmp(&b.1));
    lines.into_iter().map(|(digest, name)| format!("{digest}  {name}\n")).collect::<String>().into_bytes()
}

/// The tag manifest with the lines of these files renewed and the others as they are.
///
/// # Errors
/// `Kind::Damage` when it is missing, cut or malformed.
pub fn with(store: &dyn Store, files: &[(String, Vec<u8>)]) -> Result<(String, Vec<u8>)> {
    let mut lines = lines(store)?;
    lines.retain(|(_, name)| files.iter().all(|(renewed, _)| renewed != name));
    // The payload has a manifest of its own.
    let tags = files.iter().filter(|(name, _)| !name.starts_with("data/"));
    lines.extend(tags.map(|(name, bytes)| (Digest::of(bytes), name.clone())));
    Ok((FILE.to_owned(), text(lines)))
}
