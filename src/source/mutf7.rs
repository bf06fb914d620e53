//! Modified UTF-7 (RFC 3501 5.1.3): how IMAP and Maildir++ write folder names in ASCII.
//!
//! Reading is strict: only what the writer would have written is taken for modified UTF-7, so that a name with a stray
//! `&` stays as it is and no two names on disk become one.

use base64::Engine as _;
use base64::alphabet::IMAP_MUTF7;
use base64::engine::{GeneralPurpose, general_purpose::NO_PAD};

const ENGINE: GeneralPurpose = GeneralPurpose::new(&IMAP_MUTF7, NO_PAD);

/// The text in modified UTF-7.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let plain = |c: char| matches!(c, ' '..='~');
        if plain(first) {
            out.push(first);
            if first == '&' {
                out.push('-');
            }
            rest = rest.get(1..).unwrap_or_default();
            continue;
        }
        let end = rest.find(plain).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        let units: Vec<u8> = run.encode_utf16().flat_map(u16::to_be_bytes).collect();
        out.push('&');
        ENGINE.encode_string(units, &mut out);
        out.push('-');
        rest = after;
    }
    out
}

/// The text of a name in modified UTF-7; `None` if the name is not exactly what [`encode`] writes.
pub fn decode(name: &str) -> Option<String> {
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((plain, shifted)) = rest.split_once('&') {
        out.push_str(plain);
        let (run, after) = shifted.split_once('-')?;
        if run.is_empty() {
            out.push('&');
        } else {
            let bytes = ENGINE.decode(run).ok()?;
            let (units, odd) = bytes.as_chunks::<2>();
            if !odd.is_empty() {
                return None;
            }
            let units: Vec<u16> = units.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            out.push_str(&String::from_utf16(&units).ok()?);
        }
        rest = after;
    }
    out.push_str(rest);
    (encode(&out) == name).then_some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_written_as_in_the_rfc() {
        for (text, want) in [
            ("INBOX", "INBOX"),
            ("a&b", "a&-b"),
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("\u{1f600}\t", "&2D3eAAAJ-"),
            ("", ""),
        ] {
            assert_eq!(encode(text), want);
            assert_eq!(decode(want).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_no_writer_writes_is_not_decoded() {
        let bad = [
            "R&D",
            "&",
            "a&b-",
            "&Jjo",
            "&Jjo!-",
            "&AGE-",
            "&U,BTFw-&ZeVnLIqe-",
            "&2D0-",
            "&A-",
            "&AMQ=-",
            "M\u{fc}ller",
            "a\tb",
        ];
        for name in bad {
            assert_eq!(decode(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back(text in any::<String>()) {
            let name = encode(&text);
            prop_assert!(name.bytes().all(|b| (0x20..0x7f).contains(&b)));
            prop_assert_eq!(decode(&name), Some(text));
        }

        #[test]
        fn no_two_names_become_one(name in "(&[A-Za-z0-9+,]{0,8}-?|[ -~]|[a-c&-]){0,6}") {
            if let Some(text) = decode(&name) {
                prop_assert_eq!(encode(&text), name);
            }
        }
    }
}
