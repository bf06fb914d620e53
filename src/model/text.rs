//! Making hostile text safe to show and safe to use as a file name.

use std::fmt::Write as _;

/// The text with control characters and direction overrides shown as `\u{..}`, so that no mail can drive a terminal.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let overrides = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
        if c.is_control() || overrides {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// A single file name made from hostile text: no separators, no control characters, nothing that Windows, FAT or exFAT
/// refuse, never empty, `.` or `..`, at most 120 bytes.
///
/// Characters that may not stand are written as `%XX` of their UTF-8 bytes, and so is `%`, so that two different names
/// stay different unless they are cut for length (then eight hex digits of the whole name's digest follow `~`).
pub fn safe_file_name(text: &str) -> String {
    const MAX_BYTES: usize = 120;
    let mut out = String::with_capacity(text.len());
    let escape = |out: &mut String, c: char| {
        let mut buffer = [0u8; 4];
        for byte in c.encode_utf8(&mut buffer).bytes() {
            let _ = write!(out, "%{byte:02X}");
        }
    };
    let last = text.chars().count().saturating_sub(1);
    for (i, c) in text.chars().enumerate() {
        let at_edge = (i == last && matches!(c, '.' | ' ')) || (i == 0 && matches!(c, '.' | ' ' | '-' | '~'));
        let banned = matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | '%' | '\u{7f}');
        if c.is_control() || banned || at_edge || printable(&c.to_string()).len() > c.len_utf8() {
            escape(&mut out, c);
        } else {
            out.push(c);
        }
    }
    let stem = out.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let device = matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL")
        || (stem.len() == 4
            && (stem.starts_with("COM") || stem.starts_with("LPT"))
            && stem.ends_with(|c: char| c.is_ascii_digit()));
    if out.is_empty() || device {
        out.insert(0, '_');
    }
    if out.len() > MAX_BYTES {
        let digest = super::Digest::of(text.as_bytes()).short();
        let mut cut = MAX_BYTES - 9;
        while !out.is_char_boundary(cut) {
            cut -= 1;
        }
        out.truncate(cut);
        out.push('~');
        out.push_str(&digest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_escapes_are_shown_not_sent() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}c"), "a\\u{1b}[2Jb\\u{202e}c");
        assert_eq!(printable("žluťoučký kůň 会議"), "žluťoučký kůň 会議");
    }

    #[test]
    fn no_name_escapes_its_folder() {
        for (name, want) in [
            ("..", "%2E%2E"),
            (".", "%2E"),
            ("", "_"),
            ("a/b", "a%2Fb"),
            ("a\\b", "a%5Cb"),
            ("a:b", "a%3Ab"),
            ("x.", "x%2E"),
            ("con", "_con"),
            ("COM1.txt", "_COM1.txt"),
            ("100%", "100%25"),
            ("nul\0", "nul%00"),
            ("Müller & Söhne", "Müller & Söhne"),
        ] {
            assert_eq!(safe_file_name(name), want);
        }
        let long = "ü".repeat(500);
        assert!(safe_file_name(&long).len() <= 120);
        assert_ne!(safe_file_name(&long), safe_file_name(&format!("{long}x")));
    }
}
