//! Making hostile text safe to show and safe to use as a file name.

use std::fmt::Write as _;

/// Does the character drive a terminal or change the order or the lines in which text is shown?
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        || matches!(c, '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Nearly all text is; then it need not be looked at character by character.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~'))
}

fn push_printable(out: &mut String, c: char) {
    if is_unprintable(c) {
        let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
    } else {
        out.push(c);
    }
}

/// The text with control characters and direction overrides shown as `\u{..}`, so that no mail can drive a terminal.
pub fn printable(text: &str) -> String {
    if is_plain(text) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push_printable(&mut out, c));
    out
}

/// The line of a text in which a byte stands, from 1.
pub fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1
}

/// JSON in which such characters, which can only stand in its strings, are written as `\uXXXX`: the same value, fit for a
/// console.
pub fn printable_json(json: &str) -> String {
    if is_plain(json) {
        return json.to_owned();
    }
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        if is_unprintable(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// As [`printable`], but lines stay lines and tabs stay tabs.
pub fn printable_lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' if chars.peek() == Some(&'\n') => {}
            c => push_printable(&mut out, c),
        }
    }
    out
}

/// A cell of CSV that no spreadsheet takes for a formula.
pub fn spreadsheet_safe(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text }
}

/// Longest name that [`safe_file_name`] makes.
const MAX_BYTES: usize = 120;

/// A single file name made from hostile text: no separators, no control characters, nothing that Windows, FAT or exFAT
/// refuse, never empty, `.` or `..`, at most 120 bytes.
///
/// Characters that may not stand are written as `%XX` of their UTF-8 bytes, and so is `%`. Two different texts can still get
/// one name (`con` and `_con`, names cut for length, names that differ in case only): who writes many files into one
/// folder has to keep them apart.
pub fn safe_file_name(text: &str) -> String {
    safe_file_name_of_bytes(text.as_bytes())
}

/// As [`safe_file_name`], from a name that need not be UTF-8.
pub fn safe_file_name_of_bytes(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    let escape = |out: &mut String, bytes: &[u8]| {
        for byte in bytes {
            let _ = write!(out, "%{byte:02X}");
        }
    };
    let mut at = 0;
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            let end = at + c.len_utf8();
            let at_edge = (end == name.len() && matches!(c, '.' | ' ')) || (at == 0 && matches!(c, '.' | ' ' | '-' | '~'));
            let banned = matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|' | '%');
            if banned || at_edge || is_unprintable(c) {
                escape(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes());
            } else {
                out.push(c);
            }
            at = end;
        }
        escape(&mut out, chunk.invalid());
        at += chunk.invalid().len();
    }
    if out.is_empty() || is_device(&out) {
        out.insert(0, '_');
    }
    if out.len() > MAX_BYTES {
        let digest = super::Digest::of(name).short();
        out.truncate(out.floor_char_boundary(MAX_BYTES - 9));
        out.push('~');
        out.push_str(&digest);
    }
    out
}

/// Is it the name of a device on Windows, whatever its extension?
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    let port = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$")
        || port.is_some_and(|number| {
            matches!(number, "¹" | "²" | "³") || (number.len() == 1 && number.as_bytes()[0].is_ascii_digit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_escapes_are_shown_not_sent() {
        assert_eq!(printable("a\u{1b}[2Jb\u{202e}c"), "a\\u{1b}[2Jb\\u{202e}c");
        assert_eq!(printable("žluťoučký kůň 会議"), "žluťoučký kůň 会議");
        assert_eq!(printable_lines("a\r\n\tb\rc\u{9b}0m\u{2028}\n"), "a\n\tb\\u{d}c\\u{9b}0m\\u{2028}\n");
    }

    #[test]
    fn json_for_a_console_has_the_same_value() {
        let value = serde_json::json!({"a\u{202e}b": "\u{9b}2J\u{e0041} \u{1b} ü 会"});
        let text = printable_json(&value.to_string());
        assert!(!text.chars().any(is_unprintable), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
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
            ("con .txt", "_con .txt"),
            ("COM1.txt", "_COM1.txt"),
            ("lpt².x", "_lpt².x"),
            ("comet", "comet"),
            ("100%", "100%25"),
            ("nul\0", "nul%00"),
            ("Müller & Söhne", "Müller & Söhne"),
        ] {
            assert_eq!(safe_file_name(name), want);
        }
        let long = "ü".repeat(500);
        assert!(safe_file_name(&long).len() <= 120);
        assert_ne!(safe_file_name(&long), safe_file_name(&format!("{long}x")));
        assert_eq!(safe_file_name_of_bytes(b"gr\xfcn."), "gr%FCn%2E");
    }
}
