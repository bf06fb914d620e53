//! Gmail labels in a Takeout export: a list in CSV, in encoded words (RFC 2047), in the account's language.

use crate::model::Flag;

/// More labels than Gmail allows in an account; a hostile header must not grow the listing without end.
const MAX_LABELS: usize = 10_000;

/// Gmail's own labels in lower case, as an export words them in one language; several wordings are parted by `|`.
struct Wording {
    unread: &'static str,
    starred: &'static str,
    draft: &'static str,
    /// They mean no flag, but show that the language is known.
    others: &'static str,
    /// How the labels of categories begin.
    category: &'static str,
}

/// English, German, French, Spanish, Italian, Dutch, Portuguese, Polish, Czech, Swedish, Japanese.
const WORDINGS: [Wording; 11] = [
    Wording {
        unread: "unread",
        starred: "starred",
        draft: "draft|drafts",
        others: "inbox|sent|sent mail|opened|archived|important|spam|trash|chat|chats|muted|snoozed|scheduled",
        category: "category",
    },
    Wording {
        unread: "ungelesen",
        starred: "markiert",
        draft: "entwurf|entwürfe",
        others: "posteingang|gesendet|geöffnet|archiviert|wichtig|papierkorb|stummgeschaltet|zurückgestellt",
        category: "kategorie",
    },
    Wording {
        unread: "non lus|non lu",
        starred: "suivis|suivi",
        draft: "brouillons|brouillon",
        others: "boîte de réception|messages reçus|messages envoyés|envoyé|envoyés|ouvert|ouverts|archivé|archivés|important|importants|corbeille",
        category: "catégorie",
    },
    Wording {
        unread: "no leídos|no leído",
        starred: "destacados|destacado",
        draft: "borradores|borrador",
        others: "recibidos|bandeja de entrada|enviados|enviado|abierto|abiertos|archivado|archivados|importantes|papelera",
        category: "categoría",
    },
    Wording {
        unread: "da leggere|non letti|non letto",
        starred: "speciali|speciale",
        draft: "bozze|bozza",
        others: "posta in arrivo|inviati|posta inviata|aperto|aperti|archiviato|archiviati|importanti|importante|cestino",
        category: "categoria",
    },
    Wording {
        unread: "ongelezen",
        starred: "met ster",
        draft: "concept|concepten",
        others: "postvak in|verzonden|geopend|gearchiveerd|belangrijk|prullenbak",
        category: "categorie",
    },
    Wording {
        unread: "não lidas|não lidos|não lida|não lido",
        starred: "com estrela",
        draft: "rascunhos|rascunho",
        others: "caixa de entrada|enviados|enviado|enviadas|aberto|aberta|arquivado|arquivada|importante|importantes|lixeira|lixo",
        category: "categoria",
    },
    Wording {
        unread: "nieprzeczytane|nieprzeczytany",
        starred: "oznaczone gwiazdką",
        draft: "wersje robocze|wersja robocza",
        others: "odebrane|wysłane|otwarte|zarchiwizowane|ważne|kosz",
        category: "kategoria",
    },
    Wording {
        unread: "nepřečtené|nepřečteno",
        starred: "s hvězdičkou",
        draft: "koncepty|koncept",
        others: "doručené|doručená pošta|odeslané|odesláno|otevřené|otevřeno|archivované|archivováno|důležité|koš",
        category: "kategorie",
    },
    Wording {
        unread: "olästa|oläst",
        starred: "stjärnmärkt|stjärnmärkta",
        draft: "utkast",
        others: "inkorg|inkorgen|skickat|skickade|öppnat|öppnad|öppnade|arkiverat|arkiverad|arkiverade|viktigt|skräppost|papperskorg|papperskorgen",
        category: "kategori",
    },
    Wording {
        unread: "未読",
        starred: "スター付き",
        draft: "下書き",
        others: "受信トレイ|送信済み|送信済みメール|開封済み|アーカイブ済み|アーカイブ|重要|迷惑メール|ゴミ箱",
        category: "カテゴリ",
    },
];

/// What labels say of a message's state.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LabelState {
    /// Flags that they stand for.
    pub flags: Vec<Flag>,
    /// None of them is Gmail's own in a language that is known, so nothing says whether the message was read.
    pub unknown: bool,
}

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

/// The state that labels stand for. Gmail marks what is unread, so a mail without that label is seen; but only where the
/// labels' language is known can it be known to be missing.
pub(super) fn state(labels: &[String]) -> LabelState {
    let lower: Vec<String> = labels.iter().map(|label| label.to_lowercase()).collect();
    let any = |words: fn(&Wording) -> &'static str| {
        let is_word = |label: &String| WORDINGS.iter().any(|w| words(w).split('|').any(|word| word == label));
        lower.iter().any(is_word)
    };
    let (unread, starred, draft) = (any(|w| w.unread), any(|w| w.starred), any(|w| w.draft));
    let category = || lower.iter().any(|label| WORDINGS.iter().any(|w| label.starts_with(w.category)));
    let known = unread || starred || draft || any(|w| w.others) || category();
    let flags = [(Flag::Draft, draft), (Flag::Flagged, starred), (Flag::Seen, known && !unread)];
    LabelState { flags: flags.into_iter().filter_map(|(flag, set)| set.then_some(flag)).collect(), unknown: !known }
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
    let inner = text.strip_prefix(b"=?")?;
    let mut parts = inner.splitn(3, |&b| b == b'?');
    let (charset, method, tail) = (parts.next()?, parts.next()?, parts.next()?);
    let end = memchr::memmem::find(tail, b"?=")?;
    let (coded, after) = (tail.get(..end)?, tail.get(end + 2..)?);
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
    fn unread_starred_and_drafts_are_state_in_every_language_that_is_known() {
        let state_of = |labels: &[&str]| state(&labels.iter().map(|l| (*l).to_owned()).collect::<Vec<_>>());
        let flags_of = |labels: &[&str]| state_of(labels).flags;
        assert_eq!(flags_of(&["Inbox", "Opened"]), [Flag::Seen]);
        assert_eq!(flags_of(&["Posteingang", "Ungelesen", "Markiert"]), [Flag::Flagged]);
        assert_eq!(flags_of(&["Unread", "Starred", "Drafts"]), [Flag::Draft, Flag::Flagged]);
        assert_eq!(flags_of(&["Archivés", "Envoyé", "Ouvert"]), [Flag::Seen]);
        for unread in
            ["Non lus", "No leídos", "Da leggere", "Ongelezen", "Não lidas", "NIEPRZECZYTANE", "Nepřečtené", "Olästa", "未読"]
        {
            assert_eq!(state_of(&["x", unread]), LabelState::default(), "{unread}");
        }
        assert_eq!(flags_of(&["Kategorie Werbung"]), [Flag::Seen]);
        // Nothing is made up where the words say nothing.
        assert_eq!(state_of(&["Rechnungen", "Непрочитанные"]), LabelState { flags: Vec::new(), unknown: true });
    }
}
