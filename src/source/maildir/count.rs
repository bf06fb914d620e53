//! The second way of counting: only the directory entries, nothing of what the reader makes of them.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;

/// Files in `cur`, `new` and `tmp`; one for each of these that is there but cannot be listed.
pub(super) fn count(folder: &Path) -> u64 {
    let mut found = 0u64;
    for part in ["cur", "new", "tmp"] {
        let path = folder.join(part);
        match std::fs::symlink_metadata(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Ok(metadata) if metadata.is_dir() => match std::fs::read_dir(&path) {
                Ok(entries) => {
                    for entry in entries {
                        found += u64::from(entry.map_or(true, |e| !kept_out(&e.file_name())));
                    }
                }
                Err(_) => found += 1,
            },
            _ => found += 1,
        }
    }
    found
}

fn kept_out(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with('.')
        || name.starts_with("dovecot-")
        || name.starts_with("dovecot.")
        || name.starts_with("courierimap")
        || name.starts_with("maildirsize")
        || name.starts_with("maildirfolder")
}
