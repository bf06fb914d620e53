//! Compares one mail folder: every archived placement finds its message on the target, or is named as changed, missing or doubled.
//!
//! Pairs are found by content: the SHA-256 of the message's CRLF form, which is what an IMAP server must give back. What is left on
//! both sides is paired by Message-ID and called changed; what is left then is missing, or extra.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use serde::Serialize;

use crate::model::{Digest, Flag, Placement};
use crate::objects::PropertyChange;

/// What the archive says should be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The item's object.
    pub item: Digest,
    /// SHA-256 of the CRLF form.
    pub crlf: Digest,
    /// Bytes of the CRLF form.
    pub size: u64,
    /// Had the archive's form other line ends?
    pub other_line_ends: bool,
    /// Internal date.
    pub date: Option<Timestamp>,
    /// System flags, sorted.
    pub flags: Vec<Flag>,
    /// Keywords, sorted, in lower case: IMAP knows no case in them (RFC 3501 2.3.2).
    pub keywords: Vec<String>,
    /// Message-ID.
    pub message_id: Option<String>,
    /// Where it lies in the source, for people.
    pub source: String,
}

impl Expected {
    /// What should be there for a placement.
    pub fn of(placement: &Placement) -> Self {
        let mut flags = placement.flags.clone();
        flags.sort_unstable();
        Expected {
            item: placement.sha256,
            crlf: placement.crlf.map_or(placement.sha256, |form| form.sha256),
            size: placement.crlf.map_or(placement.size, |form| form.size),
            other_line_ends: placement.crlf.is_some(),
            date: placement.date.map(|d| d.at),
            flags,
            keywords: sorted_keywords(&placement.keywords),
            message_id: placement.message_id.clone(),
            source: placement.source.to_string(),
        }
    }
}

/// What the target gave back for one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its UID.
    pub uid: u32,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// Its bytes.
    pub size: u64,
    /// Internal date.
    pub date: Option<Timestamp>,
    /// System flags, sorted; `\Recent` left out.
    pub flags: Vec<Flag>,
    /// Keywords, sorted, in lower case.
    pub keywords: Vec<String>,
    /// Message-ID.
    pub message_id: Option<String>,
}

/// Keywords as they are compared.
pub fn sorted_keywords(keywords: &[String]) -> Vec<String> {
    let mut keywords: Vec<String> = keywords.iter().map(|k| k.to_lowercase()).collect();
    keywords.sort_unstable();
    keywords.dedup();
    keywords
}

/// One thing that differs between the archive and the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// The bytes are others.
    Bytes {
        /// Bytes expected.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// The internal date is another.
    Date {
        /// As archived.
        expected: Timestamp,
        /// As found.
        found: Option<Timestamp>,
    },
    /// The archive knows no internal date; the target gave one.
    DateGiven {
        /// As found.
        found: Timestamp,
    },
    /// System flags are others.
    Flags {
        /// As archived.
        expected: Vec<Flag>,
        /// As found.
        found: Vec<Flag>,
    },
    /// Keywords are others.
    Keywords {
        /// As archived.
        expected: Vec<String>,
        /// As found.
        found: Vec<String>,
    },
    /// A property of a calendar object or card is another.
    Property(PropertyChange),
}

/// What became of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Same bytes and same state.
    Identical,
    /// Same by a rule that is named.
    Equivalent(&'static str),
    /// There, but changed.
    Changed(Vec<Difference>),
    /// Not there.
    Missing,
    /// There once more than it should be.
    Duplicate,
    /// There, and not in the archive.
    Extra,
}

/// A message and what became of it: `expected` is absent for duplicates and extras, `seen` for the missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// From the archive.
    pub expected: Option<Expected>,
    /// From the target.
    pub seen: Option<Seen>,
    /// What became of it.
    pub verdict: Verdict,
}

/// The rule by which line ends alone may differ.
pub const LINE_ENDS: &str = "line ends became CRLF, as IMAP wants them (RFC 5322 2.3)";

/// The comparison of one folder.
#[derive(Default)]
pub struct Comparison {
    expected: Vec<Option<Expected>>,
    by_content: HashMap<Digest, Vec<usize>>,
    /// Messages with a content that is expected, kept until all are seen: the best pairs are made then.
    alike: HashMap<Digest, Vec<Seen>>,
    unknown: Vec<Seen>,
}

impl Comparison {
    /// What should be there.
    pub fn new(expected: impl IntoIterator<Item = Expected>) -> Self {
        let mut comparison = Comparison::default();
        for item in expected {
            comparison.by_content.entry(item.crlf).or_default().push(comparison.expected.len());
            comparison.expected.push(Some(item));
        }
        comparison
    }

    /// A message that the target holds.
    pub fn saw(&mut self, seen: Seen) {
        if self.by_content.contains_key(&seen.sha256) {
            self.alike.entry(seen.sha256).or_default().push(seen);
        } else {
            self.unknown.push(seen);
        }
    }

    /// What became of every message, in the archive's order, then what is there too often, then what is extra.
    pub fn finish(mut self) -> Vec<Compared> {
        let mut pairs: Vec<Option<Seen>> = vec![None; self.expected.len()];
        let mut duplicates = Vec::new();
        for (content, seen) in std::mem::take(&mut self.alike) {
            duplicates.extend(self.pair_alike(&self.by_content[&content], seen, &mut pairs));
        }
        let extras = self.pair_by_message_id(&mut pairs);
        duplicates.sort_unstable_by_key(|seen| seen.uid);
        let compared = self.expected.into_iter().flatten().zip(pairs).map(|(expected, seen)| {
            let verdict = seen.as_ref().map_or(Verdict::Missing, |seen| verdict(&expected, seen));
            Compared { expected: Some(expected), seen, verdict }
        });
        let surplus = |verdict: Verdict| move |seen| Compared { expected: None, seen: Some(seen), verdict: verdict.clone() };
        compared
            .chain(duplicates.into_iter().map(surplus(Verdict::Duplicate)))
            .chain(extras.into_iter().map(surplus(Verdict::Extra)))
            .collect()
    }

    /// Pairs placements and messages of one content, those of equal state first; gives back the messages that are too many.
    fn pair_alike(&self, places: &[usize], seen: Vec<Seen>, pairs: &mut [Option<Seen>]) -> Vec<Seen> {
        let mut by_state: HashMap<_, VecDeque<usize>> = HashMap::new();
        for &place in places {
            if let Some(expected) = self.expected[place].clone() {
                by_state.entry((expected.date, expected.flags, expected.keywords)).or_default().push_back(place);
            }
        }
        let mut left = Vec::new();
        for message in seen {
            let place =
                by_state.get_mut(&(message.date, message.flags.clone(), message.keywords.clone())).and_then(VecDeque::pop_front);
            match place {
                Some(place) => pairs[place] = Some(message),
                None => left.push(message),
            }
        }
        let mut left = left.into_iter();
        for &place in places.iter().filter(|place| pairs[**place].is_none()).collect::<Vec<_>>() {
            pairs[place] = left.next();
        }
        left.collect()
    }

    /// Pairs what is left by Message-ID; gives back the messages that nothing in the archive asks for.
    fn pair_by_message_id(&mut self, pairs: &mut [Option<Seen>]) -> Vec<Seen> {
        let mut by_id: HashMap<&str, VecDeque<usize>> = HashMap::new();
        for (place, expected) in self.expected.iter().enumerate().filter(|(place, _)| pairs[*place].is_none()) {
            if let Some(id) = expected.as_ref().and_then(|e| e.message_id.as_deref()) {
                by_id.entry(id).or_default().push_back(place);
            }
        }
        let mut extras = Vec::new();
        let mut found = Vec::new();
        for message in std::mem::take(&mut self.unknown) {
            let place = message.message_id.as_deref().and_then(|id| by_id.get_mut(id)).and_then(VecDeque::pop_front);
            match place {
                Some(place) => found.push((place, message)),
                None => extras.push(message),
            }
        }
        for (place, message) in found {
            pairs[place] = Some(message);
        }
        extras
    }
}

fn verdict(expected: &Expected, seen: &Seen) -> Verdict {
    let mut differences = Vec::new();
    if expected.crlf != seen.sha256 {
        differences.push(Difference::Bytes { expected: expected.size, found: seen.size });
    }
    match (expected.date, seen.date) {
        (Some(expected), found) if found != Some(expected) => differences.push(Difference::Date { expected, found }),
        (None, Some(found)) => differences.push(Difference::DateGiven { found }),
        _ => {}
    }
    if expected.flags != seen.flags {
        differences.push(Difference::Flags { expected: expected.flags.clone(), found: seen.flags.clone() });
    }
    if expected.keywords != seen.keywords {
        differences.push(Difference::Keywords { expected: expected.keywords.clone(), found: seen.keywords.clone() });
    }
    match (differences.is_empty(), expected.other_line_ends) {
        (true, false) => Verdict::Identical,
        (true, true) => Verdict::Equivalent(LINE_ENDS),
        (false, _) => Verdict::Changed(differences),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expected(content: u8, date: i64, flags: &[Flag]) -> Expected {
        Expected {
            item: Digest::of(&[content]),
            crlf: Digest::of(&[content]),
            size: 1,
            other_line_ends: false,
            date: Some(Timestamp::from_second(date).expect("time")),
            flags: flags.to_vec(),
            keywords: Vec::new(),
            message_id: Some(format!("<{content}@x>")),
            source: "cur/1".to_owned(),
        }
    }

    fn seen(uid: u32, of: &Expected) -> Seen {
        Seen {
            uid,
            sha256: of.crlf,
            size: of.size,
            date: of.date,
            flags: of.flags.clone(),
            keywords: of.keywords.clone(),
            message_id: of.message_id.clone(),
        }
    }

    fn compare(expected: &[Expected], seen: &[Seen]) -> Vec<Verdict> {
        let mut comparison = Comparison::new(expected.iter().cloned());
        seen.iter().cloned().for_each(|s| comparison.saw(s));
        comparison.finish().into_iter().map(|c| c.verdict).collect()
    }

    #[test]
    fn two_of_one_content_are_paired_by_their_state() {
        let (a, b) = (expected(1, 10, &[]), expected(1, 20, &[Flag::Seen]));
        assert_eq!(compare(&[a.clone(), b.clone()], &[seen(7, &b), seen(8, &a)]), [Verdict::Identical, Verdict::Identical]);
    }

    #[test]
    fn every_kind_of_change_is_named() {
        let item = expected(1, 10, &[Flag::Seen]);
        let mut other = seen(5, &item);
        other.sha256 = Digest::of(b"other");
        other.size = 5;
        other.date = None;
        other.flags.clear();
        other.keywords.push("x".to_owned());
        let verdicts = compare(&[item], &[other]);
        assert!(matches!(verdicts.as_slice(), [Verdict::Changed(differences)] if differences.len() == 4), "{verdicts:?}");
    }

    #[test]
    fn line_ends_alone_make_it_equivalent() {
        let mut item = expected(1, 10, &[]);
        item.other_line_ends = true;
        assert_eq!(compare(&[item.clone()], &[seen(1, &item)]), [Verdict::Equivalent(LINE_ENDS)]);
    }

    proptest! {
        /// Ground truth: a target that holds everything, but for what was dropped, doubled, edited, re-dated or put in.
        #[test]
        fn every_harm_done_is_counted(contents in proptest::collection::vec((0_u8..20, 0_i64..3), 0..40), harm in proptest::collection::vec(0_u8..6, 40)) {
            let archived: Vec<Expected> = contents.iter().enumerate().map(|(i, (c, d))| {
                let mut e = expected(*c, *d, &[]);
                // Their own Message-ID and content each, so that the count of every harm is exact.
                e.message_id = Some(format!("<{i}@x>"));
                e.crlf = Digest::of(format!("{c} {i}").as_bytes());
                e
            }).collect();
            let mut target = Vec::new();
            let mut truth = [0_usize; 6];
            for (i, item) in archived.iter().enumerate() {
                let mut message = seen(i as u32, item);
                truth[usize::from(harm[i])] += 1;
                match harm[i] {
                    0 => target.push(message),
                    1 => {}
                    2 => { target.push(message.clone()); target.push(message) }
                    3 => { message.sha256 = Digest::of(b"edited"); target.push(message) }
                    4 => { message.date = None; target.push(message) }
                    _ => { target.push(message.clone()); message.sha256 = Digest::of(b"new"); message.message_id = None; target.push(message) }
                }
            }
            let verdicts = compare(&archived, &target);
            let count = |f: fn(&Verdict) -> bool| verdicts.iter().filter(|v| f(v)).count();
            prop_assert_eq!(count(|v| *v == Verdict::Identical), truth[0] + truth[2] + truth[5]);
            prop_assert_eq!(count(|v| *v == Verdict::Missing), truth[1]);
            prop_assert_eq!(count(|v| *v == Verdict::Duplicate), truth[2]);
            prop_assert_eq!(count(|v| matches!(v, Verdict::Changed(_))), truth[3] + truth[4]);
            prop_assert_eq!(count(|v| *v == Verdict::Extra), truth[5]);
        }
    }
}
