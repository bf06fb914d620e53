//! Paths of URLs: segments in percent-encoding, and names for resources that nothing on a server mistakes for something else.

use std::fmt::Write as _;

use crate::model::{Digest, safe_file_name};

/// Bytes of a UID that go into a resource's name as they are.
const UID_BYTES: usize = 64;

/// A name as one segment of a path, in percent-encoding (RFC 3986: all but unreserved characters, `@` excepted).
pub fn segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for &byte in name.as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'@') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Percent-encoding undone; what is not UTF-8 then is replaced.
pub(super) fn decoded(path: &str) -> String {
    let mut out = Vec::with_capacity(path.len());
    let bytes = path.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = path.get(at + 1..at + 3).filter(|_| byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(hex.unwrap_or(byte));
        at += if hex.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Do two paths lead to the same place, however they are encoded, with or without the slash at the end?
pub fn same_place(a: &str, b: &str) -> bool {
    decoded(a).trim_end_matches('/') == decoded(b).trim_end_matches('/')
}

/// A collection's path with one more name, which is not encoded yet.
pub fn join(collection: &str, name: &str) -> String {
    format!("{}/{}", collection.trim_end_matches('/'), segment(name))
}

/// The last name of a path, decoded.
pub fn last_name(path: &str) -> String {
    decoded(path.trim_end_matches('/').rsplit('/').next().unwrap_or_default())
}

/// The name of the resource that holds the object of a UID: always the same one, fit for any server, and never one that ends in
/// `Calendar.ics`, which IceWarp takes for a whole calendar to be published.
pub fn resource_name(uid: &str, extension: &str) -> String {
    let plain = uid.len() <= UID_BYTES
        && !uid.is_empty()
        && !uid.starts_with('.')
        && uid.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@'));
    let name = if plain {
        uid.to_owned()
    } else {
        let readable: String = uid.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(24).collect();
        format!("{readable}~{}", &Digest::of(uid.as_bytes()).to_string()[..24])
    };
    let name = if name.to_ascii_lowercase().ends_with("calendar") { format!("{name}_") } else { name };
    safe_file_name(&format!("{name}.{extension}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_resources_are_fit_for_any_server_and_always_the_same() {
        assert_eq!(resource_name("uid-1@example.test", "ics"), "uid-1@example.test.ics");
        assert_eq!(resource_name("My-Calendar", "ics"), "My-Calendar_.ics");
        for odd in ["", "../../x", "a/b", "ü", "urn:uuid:1", &"x".repeat(500), ".hidden", "a\r\nb"] {
            let name = resource_name(odd, "ics");
            assert_eq!(name, resource_name(odd, "ics"));
            assert!(!name.contains(['/', '\\', '\r', '\n']) && !name.starts_with('.') && name.len() < 125, "{name}");
        }
        assert_ne!(resource_name("a/b", "ics"), resource_name("a:b", "ics"));
    }

    #[test]
    fn a_segment_comes_back_as_it_was() {
        for name in ["Müller & Söhne", "100%", "a/b", "@@GL@@", "東京"] {
            assert_eq!(last_name(&join("/home/", name)), name);
            assert!(!segment(name).contains('/'));
        }
        assert!(same_place("/a%40b/", "/a@b") && decoded("%zz%4") == "%zz%4" && decoded("ü%") == "ü%");
    }
}
