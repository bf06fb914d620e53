//! What a disk is called, as the system knows it: label and serial of its file system, for the record of who carried what.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Where the system names disks by what is written on them.
const DISKS: &str = "/dev/disk";

/// The name of the disk that is mounted here; nothing where the system does not tell.
pub(super) fn medium(mount: &Path) -> Option<String> {
    named(fs::metadata(mount).ok()?.dev(), Path::new(DISKS))
}

fn named(device: u64, disks: &Path) -> Option<String> {
    let find = |folder: &str| {
        let entries = fs::read_dir(disks.join(folder)).ok()?.filter_map(Result::ok);
        let mut names: Vec<String> = entries
            .filter(|entry| fs::metadata(entry.path()).is_ok_and(|m| m.rdev() == device))
            .map(|entry| unescaped(&entry.file_name().to_string_lossy()))
            .collect();
        names.sort();
        names.into_iter().next()
    };
    let label = find("by-label").map(|label| format!("label {label}"));
    let serial = find("by-uuid").map(|serial| format!("serial {serial}"));
    let name: Vec<String> = label.into_iter().chain(serial).collect();
    (!name.is_empty()).then(|| name.join(", "))
}

/// A disk by its number and its name.
pub(super) fn in_words(disk: u32, medium: Option<&str>) -> String {
    medium.map_or_else(|| format!("disk {disk}"), |medium| format!("disk {disk}: {medium}"))
}

/// udev writes what could not stand in a file's name as `\x20`.
fn unescaped(name: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = after.strip_prefix(b"x").and_then(|hex| hex.get(..2)).filter(|_| *first == b'\\');
        let byte = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { rest.get(4..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_known_by_label_and_serial_where_the_system_tells_them() {
        let disks = tempfile::tempdir().unwrap();
        let null = fs::metadata("/dev/null").unwrap().rdev();
        assert_eq!(named(null, disks.path()), None);
        for (folder, name, to) in [
            ("by-uuid", "1A2B-3C4D", "/dev/null"),
            ("by-uuid", "0000-0000", "/dev/zero"),
            ("by-label", "MAIL\\x202\\xc3\\xa4\\x", "/dev/null"),
        ] {
            fs::create_dir_all(disks.path().join(folder)).unwrap();
            std::os::unix::fs::symlink(to, disks.path().join(folder).join(name)).unwrap();
            let wanted = if folder == "by-uuid" { "serial 1A2B-3C4D" } else { "label MAIL 2ä\\x, serial 1A2B-3C4D" };
            assert_eq!(named(null, disks.path()).as_deref(), Some(wanted));
        }
    }
}
