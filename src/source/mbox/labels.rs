//! Gmail labels in a Takeout export: a list in CSV, in encoded words (RFC 2047), in the account's language.

use crate::model::Flag;

/// More labels than Gmail allows in an account; a hostile header must not grow the listing without end.
const MAX_LABELS: usize = 10_000;

/// Longest encoded word; RFC 2047 allows 75 characters, which not everybody keeps to.
const MAX_WORD_BYTES: usize = 4096;

/// Labels that stand for state, in lower case, as far as their wording is known.
const UNREAD: &[&str] = &[
    "unread",
    "ungelesen",
    "non lus",
    "no leídos",
    "no leído",
    "da leggere",
    "ongelezen",
    "não lidas",
    "nepřečtené",
    "nieprzeczytane",
    "olästa",
];
const STARRED: &[&str] = &[
    "starred",
    "markiert",
    "suivis",
    "destacados",
    "speciali",
    "met ster",
    "com estrela",
    "s hvězdičkou",
    "oznaczone gwiazdką",
    "stjärnmärkt",
];
const DRAFT: &[&str] = &[
    "draft",
    "drafts",
    "entwurf",
    "entwürfe",
    "brouillons",
    "borradores",
    "bozze",
    "concepten",
    "rascunhos",
    "koncepty",
    "wersje robocze",
    "utkast",
];

/// The labels in the order of the header.
pub(super) fn parse(raw: &[u8]) -> Vec<String> {
    let text = decode(raw);
    let mut labels = Vec::new();
    let mut label = String::new();
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                label.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => push(&mut labels, &mut label),
            c => label.push(c),
        }
    }
    push(&mut labels, &mut label);
    labels
}

fn push(labels: &mut Vec<String>, label: &mut String) {
    let trimmed = label.trim();
    if !trimmed.is_empty() && labels.len() < MAX_LABELS {
        labels.push(trimmed.to_owned());
    }
    label.clear();
}

/// Flags that labels stand for. Gmail marks what is unread, so a mail without that label is seen.
pub(super) fn flags(labels: &[String]) -> Vec<Flag> {
    let any = |names: &[&str]| labels.iter().any(|l| names.contains(&l.to_lowercase().as_str()));
    [(Flag::Draft, any(DRAFT)), (Flag::Flagged, any(STARRED)), (Flag::Seen, !any(UNREAD))]
        .into_iter()
        .filter_map(|(flag, set)| set.then_some(flag))
        .collect()
}

/// Unfolds and decodes. The bytes of neighbouring words are joined before they become text, because Google cuts words
/// in the middle of a character.
fn decode(raw: &[u8]) -> String {
    let mut out = String::new();
    let mut pending: Option<(&'static encoding_rs::Encoding, Vec<u8>)> = None;
    let mut rest = raw;
    let mut blank = Vec::new();
    let settle = |pending: &mut Option<(&'static encoding_rs::Encoding, Vec<u8>)>, out: &mut String| {
        if let Some((encoding, bytes)) = pending.take() {
            out.push_str(&encoding.decode_without_bom_handling(&bytes).0);
        }
    };
    while let Some(&first) = rest.first() {
        if let Some((encoding, bytes, after)) = encoded_word(rest) {
            match &mut pending {
                // Blank space between two encoded words means nothing.
                Some((known, so_far)) if *known == encoding => so_far.extend_from_slice(&bytes),
                _ => {
                    if pending.is_none() {
                        out.push_str(&String::from_utf8_lossy(&blank));
                    }
                    settle(&mut pending, &mut out);
                    pending = Some((encoding, bytes));
                }
            }
            blank.clear();
            rest = after;
        } else if first.is_ascii_whitespace() {
            if !matches!(first, b'\r' | b'\n') {
                blank.push(if first == b'\t' { b' ' } else { first });
            }
            rest = rest.get(1..).unwrap_or_default();
        } else {
            settle(&mut pending, &mut out);
            out.push_str(&String::from_utf8_lossy(&blank));
            blank.clear();
            let end = rest.iter().skip(1).position(|b| b.is_ascii_whitespace() || *b == b'=').map_or(rest.len(), |n| n + 1);
            let (plain, after) = rest.split_at(end);
            out.push_str(&String::from_utf8_lossy(plain));
            rest = after;
        }
    }
    settle(&mut pending, &mut out);
    out
}

type Decoded<'a> = (&'static encoding_rs::Encoding, Vec<u8>, &'a [u8]);

/// The encoded word that `text` begins with: charset, bytes, and what comes after it.
fn encoded_word(text: &[u8]) -> Option<Decoded<'_>> {
    // Words that never end must not make every one of them a search through all the rest.
    let inner = text.get(..MAX_WORD_BYTES).unwrap_or(text).strip_prefix(b"=?")?;
    let mut parts = inner.splitn(3, |&b| b == b'?');
    let (charset, method, tail) = (parts.next()?, parts.next()?, parts.next()?);
    let end = memchr::memmem::find(tail, b"?=")?;
    let coded = tail.get(..end)?;
    let after = text.get(2 + charset.len() + 1 + method.len() + 1 + end + 2..)?;
    let charset = charset.split(|&b| b == b'*').next()?;
    let encoding = encoding_rs::Encoding::for_label(charset)?;
    let bytes = match method {
        b"Q" | b"q" => decode_q(coded),
        b"B" | b"b" => decode_b(coded)?,
        _ => return None,
    };
    Some((encoding, bytes, after))
}

fn decode_q(coded: &[u8]) -> Vec<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(coded.len());
    let mut rest = coded;
    loop {
        rest = match rest {
            [] => return out,
            [b'=', high, low, after @ ..] if digit(*high).is_some() && digit(*low).is_some() => {
                out.push(digit(*high).unwrap_or_default() << 4 | digit(*low).unwrap_or_default());
                after
            }
            [b'_', after @ ..] => {
                out.push(b' ');
                after
            }
            [b'\r' | b'\n', after @ ..] => after,
            [byte, after @ ..] => {
                out.push(*byte);
                after
            }
        };
    }
}

fn decode_b(coded: &[u8]) -> Option<Vec<u8>> {
    use base64::Engine as _;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let packed: Vec<u8> = coded.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    LENIENT.decode(packed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_with_commas_stay_whole() {
        assert_eq!(parse(b"Inbox,\"a, b\",\"say \"\"x\"\"\",Unread"), ["Inbox", "a, b", "say \"x\"", "Unread"]);
        assert!(parse(b"").is_empty());
    }

    #[test]
    fn encoded_words_cut_inside_a_character_are_joined() {
        let raw = b"=?UTF-8?Q?1.Organiza=C4?=\r\n =?UTF-8?Q?=8Dn=C3=AD,\"3._Culture,_Hle?=\r\n =?utf-8?b?dmE=?= =?UTF-8?Q?\",Ungelesen?=";
        assert_eq!(parse(raw), ["1.Organiza\u{10d}n\u{ed}", "3. Culture, Hleva", "Ungelesen"]);
        assert_eq!(parse(b"a =?x?Q?b?= =c,\r\n d"), ["a =?x?Q?b?= =c", "d"]);
    }

    #[test]
    fn unread_and_starred_are_state_in_german_too() {
        let flags_of = |labels: &[&str]| flags(&labels.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>());
        assert_eq!(flags_of(&["Inbox", "Opened"]), [Flag::Seen]);
        assert_eq!(flags_of(&["Posteingang", "Ungelesen", "Markiert"]), [Flag::Flagged]);
        assert_eq!(flags_of(&["Unread", "Starred", "Drafts"]), [Flag::Draft, Flag::Flagged]);
    }
}
