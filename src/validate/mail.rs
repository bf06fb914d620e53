//! Compares one mail folder: every archived placement finds its message on the target, or is named as changed, missing or doubled.
//!
//! Messages that come back with the bytes (the SHA-256 of the CRLF form, which is what an IMAP server must give back) and the state that
//! a placement has are paired as they come and forgotten. What is left on both sides is paired by content, then by the UID under which
//! replay wrote the message down, then by Message-ID, and called changed; what is left then is missing, or extra. So memory holds 20 bytes
//! a message, and the differences.
//!
//! One thread reads the folder while another goes along the listing and tells of every placement as soon as its message has come.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::{Difference, Verdict};
use crate::error::{Error, Kind, Result};
use crate::model::{Digest, Flag, Hasher, Placement};
use crate::replay::journal::Key;
use crate::replay::plan::Cause;

/// The rule by which line ends alone may differ.
pub const LINE_ENDS: &str = "line ends became CRLF, as IMAP wants them (RFC 5322 2.3)";

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

/// A message and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// From the archive; absent for duplicates and extras.
    pub item: Option<Placement>,
    /// From the target; absent for what is missing, and for what is as it should be.
    pub seen: Option<Seen>,
    /// What became of it.
    pub verdict: Verdict,
}

/// Keywords as they are compared: IMAP knows no case in them (RFC 3501 2.3.2).
pub fn sorted_keywords(keywords: &[String]) -> Vec<String> {
    let mut keywords: Vec<String> = keywords.iter().map(|k| k.to_lowercase()).collect();
    keywords.sort_unstable();
    keywords.dedup();
    keywords
}

/// Bytes and state of a message in half a SHA-256.
type Mark = [u8; 16];

fn mark(content: &Digest, date: Option<Timestamp>, flags: &[Flag], keywords: &[String]) -> Mark {
    let mut hasher = Hasher::new();
    hasher.update(content.as_bytes());
    hasher.update(&date.map_or(i128::MIN, Timestamp::as_nanosecond).to_le_bytes());
    flags.iter().for_each(|flag| hasher.update(flag.name().as_bytes()));
    keywords.iter().for_each(|keyword| {
        hasher.update(b" ");
        hasher.update(keyword.as_bytes());
    });
    hasher.finish().half()
}

fn content_of(item: &Placement) -> Digest {
    item.crlf.map_or(item.sha256, |form| form.sha256)
}

fn flags_of(item: &Placement) -> Vec<Flag> {
    let mut flags = item.flags.clone();
    flags.sort_unstable();
    flags
}

fn mark_of(item: &Placement) -> Mark {
    mark(&content_of(item), item.date.map(|d| d.at), &flags_of(item), &sorted_keywords(&item.keywords))
}

/// Hands out placements, every time the same ones, each with its number among the placements of the same item.
pub type Placements<'a> = dyn FnMut(&mut dyn FnMut(Placement, u32) -> Result<()>) -> Result<()> + 'a;

/// Gives the UIDs of those of these placements that replay wrote down under this UIDVALIDITY.
pub type Uids<'a> = dyn Fn(u32, &HashSet<Key>) -> Result<HashMap<Key, u32>> + Sync + 'a;

/// So many messages come before the telling thread is woken.
const WOKEN_EVERY: u32 = 64;

/// The comparison of one folder.
#[derive(Default)]
pub struct Comparison {
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Default)]
struct State {
    /// How many placements of each mark have found no message yet.
    waiting: HashMap<Mark, u32>,
    /// Messages that no placement was waiting for.
    rest: Vec<Seen>,
    /// UIDVALIDITY of the folder that is read.
    validity: Option<u32>,
    stage: Stage,
    /// Messages since the telling thread was woken.
    untold: u32,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    /// What should be there is not known yet.
    #[default]
    Gathering,
    Reading,
    /// Everything was read.
    Ended,
    /// It will not be.
    Abandoned,
}

/// Abandons the comparison when it is dropped before everything was read, so that no thread waits for another that has failed.
pub struct Abandoning<'a>(pub &'a Comparison);

impl Drop for Abandoning<'_> {
    fn drop(&mut self) {
        self.0.end(Stage::Abandoned);
    }
}

impl Comparison {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, stage: Stage) {
        let mut state = self.lock();
        if matches!(state.stage, Stage::Gathering | Stage::Reading) {
            state.stage = stage;
        }
        self.moved.notify_all();
    }

    /// Takes in what should be there.
    ///
    /// # Errors
    /// Those of the placements.
    pub fn gather(&self, placements: &mut Placements<'_>) -> Result<()> {
        let mut waiting: HashMap<Mark, u32> = HashMap::new();
        placements(&mut |item, _| {
            *waiting.entry(mark_of(&item)).or_default() += 1;
            Ok(())
        })?;
        let mut state = self.lock();
        state.waiting = waiting;
        if state.stage == Stage::Gathering {
            state.stage = Stage::Reading;
        }
        drop(state);
        self.moved.notify_all();
        Ok(())
    }

    /// The folder that is read has this UIDVALIDITY.
    pub fn reads(&self, validity: u32) {
        self.lock().validity = Some(validity);
    }

    /// A message that the target holds; its Message-ID is asked for only where no placement waits for just this message.
    ///
    /// # Errors
    /// When what should be there could not be taken in.
    pub fn saw(&self, seen: Seen, message_id: impl FnOnce() -> Option<String>) -> Result<()> {
        let mark = mark(&seen.sha256, seen.date, &seen.flags, &seen.keywords);
        let mut state = self.gathered()?;
        match state.waiting.get_mut(&mark) {
            Some(n) if *n > 0 => *n -= 1,
            _ => state.rest.push(Seen { message_id: message_id(), ..seen }),
        }
        state.untold += 1;
        if state.untold >= WOKEN_EVERY {
            state.untold = 0;
            drop(state);
            self.moved.notify_all();
        }
        Ok(())
    }

    fn gathered(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.moved.wait_while(self.lock(), |state| state.stage == Stage::Gathering);
        let state = state.unwrap_or_else(PoisonError::into_inner);
        if state.stage == Stage::Abandoned {
            return Err(Error::new(Kind::Internal, "the comparison was given up"));
        }
        Ok(state)
    }

    /// Everything that the target holds was seen.
    pub fn read_all(&self) {
        // In an empty folder nobody has waited for it.
        if self.gathered().is_ok() {
            self.end(Stage::Ended);
        }
    }

    /// Has a placement of this mark found its message? Waits until that is known; none when it never will be.
    fn is_found(&self, mark: &Mark) -> Option<bool> {
        let mut state = self.lock();
        loop {
            let State { waiting, stage, .. } = &mut *state;
            match waiting.get_mut(mark) {
                Some(n) if *n > 0 => match stage {
                    Stage::Abandoned => return None,
                    Stage::Ended => {
                        *n -= 1;
                        return Some(false);
                    }
                    Stage::Gathering | Stage::Reading => {}
                },
                _ => return Some(true),
            }
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Tells what became of every message: what is as it should be, then what is changed or missing, then duplicates and extras. Begins
    /// while the folder is still read; where that is abandoned it ends, and says nothing of what was not read.
    ///
    /// # Errors
    /// Those of the placements, of `uids` and of `each`.
    pub fn tell(
        &self,
        placements: &mut Placements<'_>,
        uids: &Uids<'_>,
        each: &mut dyn FnMut(Compared) -> Result<()>,
    ) -> Result<()> {
        let mut unpaired = Vec::new();
        let mut keys = Vec::new();
        let mut abandoned = false;
        let told = placements(&mut |item, n| match self.is_found(&mark_of(&item)) {
            Some(true) => each(Compared { verdict: as_it_should_be(&item), item: Some(item), seen: None }),
            Some(false) => {
                keys.push(Key::of_item(&item.sha256, n));
                unpaired.push(item);
                Ok(())
            }
            None => {
                abandoned = true;
                Err(Error::new(Kind::Internal, "the comparison was given up"))
            }
        });
        if abandoned {
            return Ok(());
        }
        told?;
        let Some((rest, validity)) = self.rest() else { return Ok(()) };
        let mut pairs = vec![None; unpaired.len()];
        let mut left = pair(&mut pairs, rest, |place| Some(content_of(&unpaired[place])), |seen| Some(seen.sha256));
        let open: HashSet<Key> = keys.iter().zip(&pairs).filter(|(_, pair)| pair.is_none()).map(|(key, _)| *key).collect();
        if let Some(validity) = validity.filter(|_| !open.is_empty() && !left.is_empty()) {
            let uids = uids(validity, &open)?;
            left = pair(&mut pairs, left, |place| uids.get(&keys[place]).copied(), |seen| Some(seen.uid));
        }
        let left = pair(&mut pairs, left, |place| unpaired[place].message_id.clone(), |seen| seen.message_id.clone());
        for (item, seen) in unpaired.into_iter().zip(pairs) {
            let verdict = seen.as_ref().map_or(Verdict::Missing, |seen| verdict(&item, seen));
            each(Compared { item: Some(item), seen, verdict })?;
        }
        tell_left(left, placements, each)
    }

    /// The messages that no placement was waiting for, once everything was read, and the folder's UIDVALIDITY; none where that is abandoned.
    fn rest(&self) -> Option<(Vec<Seen>, Option<u32>)> {
        let reading = |state: &mut State| matches!(state.stage, Stage::Gathering | Stage::Reading);
        let mut state = self.moved.wait_while(self.lock(), reading).unwrap_or_else(PoisonError::into_inner);
        (state.stage == Stage::Ended).then(|| (std::mem::take(&mut state.rest), state.validity))
    }
}

/// Tells of messages that belong to no placement: a duplicate is one whose bytes the archive has, anything else is extra.
fn tell_left(left: Vec<Seen>, placements: &mut Placements<'_>, each: &mut dyn FnMut(Compared) -> Result<()>) -> Result<()> {
    if left.is_empty() {
        return Ok(());
    }
    let contents: HashSet<Digest> = left.iter().map(|seen| seen.sha256).collect();
    let mut archived = HashSet::new();
    placements(&mut |item, _| {
        let content = content_of(&item);
        if contents.contains(&content) {
            archived.insert(content);
        }
        Ok(())
    })?;
    left.into_iter().try_for_each(|seen| {
        let verdict = if archived.contains(&seen.sha256) { Verdict::Duplicate } else { Verdict::Extra };
        each(Compared { item: None, seen: Some(seen), verdict })
    })
}

/// Pairs those places that have no message yet with messages of the same key; gives back the messages that are left.
fn pair<K: Eq + Hash>(
    pairs: &mut [Option<Seen>],
    seen: Vec<Seen>,
    of_place: impl Fn(usize) -> Option<K>,
    of_seen: fn(&Seen) -> Option<K>,
) -> Vec<Seen> {
    let mut places: HashMap<K, VecDeque<usize>> = HashMap::new();
    for place in (0..pairs.len()).filter(|place| pairs[*place].is_none()) {
        if let Some(key) = of_place(place) {
            places.entry(key).or_default().push_back(place);
        }
    }
    let mut left = Vec::new();
    let mut found = Vec::new();
    for message in seen {
        match of_seen(&message).and_then(|key| places.get_mut(&key)).and_then(VecDeque::pop_front) {
            Some(place) => found.push((place, message)),
            None => left.push(message),
        }
    }
    for (place, message) in found {
        pairs[place] = Some(message);
    }
    left
}

fn as_it_should_be(item: &Placement) -> Verdict {
    if item.crlf.is_some() { Verdict::Equivalent(LINE_ENDS.to_owned()) } else { Verdict::Identical }
}

fn verdict(item: &Placement, seen: &Seen) -> Verdict {
    let mut differences = Vec::new();
    let mut differ = |cause, what: String, detail| differences.push(Difference { cause, what, detail });
    if content_of(item) != seen.sha256 {
        let size = item.crlf.map_or(item.size, |form| form.size);
        differ(Some(Cause::ContentChanged), "bytes".to_owned(), format!("{size} bytes archived, {} found", seen.size));
    }
    let date = item.date.map(|d| d.at);
    if date != seen.date {
        let word = |date: Option<Timestamp>| date.map_or("none".to_owned(), |date| date.to_string());
        let detail = format!("{} archived, {} found", word(date), word(seen.date));
        differ(Some(Cause::DateChanged), "internal date".to_owned(), detail);
    }
    for (flag, there) in changed(&flags_of(item), &seen.flags) {
        differ(None, format!("flag {}", flag.name()), gained_or_lost(there));
    }
    for (keyword, there) in changed(&sorted_keywords(&item.keywords), &seen.keywords) {
        let cause = (!there).then_some(Cause::KeywordLost);
        differ(cause, "keyword".to_owned(), format!("{keyword} {}", gained_or_lost(there)));
    }
    if differences.is_empty() { as_it_should_be(item) } else { Verdict::Changed(differences) }
}

/// What is in one of two lists only, and whether it is in the second.
fn changed<T: PartialEq + Clone>(before: &[T], after: &[T]) -> Vec<(T, bool)> {
    let lost = before.iter().filter(|t| !after.contains(t)).map(|t| (t.clone(), false));
    let gained = after.iter().filter(|t| !before.contains(t)).map(|t| (t.clone(), true));
    lost.chain(gained).collect()
}

fn gained_or_lost(there: bool) -> String {
    if there { "only on the target" } else { "only in the archive" }.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{DateRule, Form, InternalDate, Place};

    fn item(content: u8, date: i64, flags: &[Flag]) -> Placement {
        let json = serde_json::json!({"sha256": Digest::of(&[content]), "size": 1, "source": {"path": "cur/1"}});
        let mut item: Placement = serde_json::from_value(json).expect("a placement");
        item.date = Some(InternalDate { at: Timestamp::from_second(date).expect("time"), rule: DateRule::Received });
        item.flags = flags.to_vec();
        item.message_id = Some(format!("<{content}@x>"));
        item.source = Place::file("cur/1");
        item
    }

    fn seen(uid: u32, of: &Placement) -> Seen {
        Seen {
            uid,
            sha256: content_of(of),
            size: of.size,
            date: of.date.map(|d| d.at),
            flags: of.flags.clone(),
            keywords: sorted_keywords(&of.keywords),
            message_id: of.message_id.clone(),
        }
    }

    fn compare(archived: &[Placement], target: &[Seen]) -> Vec<Verdict> {
        compare_with(archived, target, &|_, _| Ok(HashMap::new()))
    }

    fn compare_with(archived: &[Placement], target: &[Seen], uids: &Uids<'_>) -> Vec<Verdict> {
        let mut placements =
            |each: &mut dyn FnMut(Placement, u32) -> Result<()>| archived.iter().cloned().try_for_each(|item| each(item, 0));
        let comparison = Comparison::default();
        comparison.reads(7);
        comparison.gather(&mut placements).expect("no failure");
        for seen in target.iter().cloned() {
            let message_id = seen.message_id.clone();
            comparison.saw(seen, || message_id).expect("no failure");
        }
        comparison.read_all();
        let mut verdicts = Vec::new();
        let mut each = |compared: Compared| {
            verdicts.push(compared.verdict);
            Ok(())
        };
        comparison.tell(&mut placements, uids, &mut each).expect("no failure");
        verdicts
    }

    #[test]
    fn two_of_one_content_are_paired_by_their_state() {
        let (a, b) = (item(1, 10, &[]), item(1, 20, &[Flag::Seen]));
        assert_eq!(compare(&[a.clone(), b.clone()], &[seen(7, &b), seen(8, &a)]), [Verdict::Identical, Verdict::Identical]);
    }

    #[test]
    fn every_kind_of_change_is_named() {
        let archived = item(1, 10, &[Flag::Seen]);
        let mut other = seen(5, &archived);
        other.sha256 = Digest::of(b"other");
        other.size = 5;
        other.date = None;
        other.flags.clear();
        other.keywords.push("x".to_owned());
        let verdicts = compare(&[archived], &[other]);
        let [Verdict::Changed(differences)] = verdicts.as_slice() else { panic!("{verdicts:?}") };
        let what: Vec<&str> = differences.iter().map(|d| d.what.as_str()).collect();
        assert_eq!(what, ["bytes", "internal date", "flag \\Seen", "keyword"]);
    }

    #[test]
    fn a_changed_message_without_message_id_is_known_by_the_uid_that_replay_wrote_down() {
        let (mut lost, mut edited) = (item(1, 10, &[]), item(2, 20, &[]));
        (lost.message_id, edited.message_id) = (None, None);
        let (mut there, mut foreign) = (seen(5, &edited), seen(6, &edited));
        (there.sha256, foreign.sha256) = (Digest::of(b"edited"), Digest::of(b"foreign"));
        let (archived, target) = ([lost.clone(), edited.clone()], [foreign, there]);
        // The lost one was there too, under a UID that nothing has now.
        let uids = |validity, wanted: &HashSet<Key>| {
            assert_eq!((validity, wanted.len()), (7, 2));
            Ok(HashMap::from([(Key::of_item(&lost.sha256, 0), 4), (Key::of_item(&edited.sha256, 0), 5)]))
        };
        let verdicts = compare_with(&archived, &target, &uids);
        assert!(matches!(verdicts.as_slice(), [Verdict::Missing, Verdict::Changed(_), Verdict::Extra]), "{verdicts:?}");
        assert_eq!(compare(&archived, &target), [Verdict::Missing, Verdict::Missing, Verdict::Extra, Verdict::Extra]);
    }

    #[test]
    fn line_ends_alone_make_it_equivalent() {
        let mut archived = item(1, 10, &[]);
        archived.crlf = Some(Form { sha256: Digest::of(b"crlf"), size: 2 });
        assert_eq!(compare(&[archived.clone()], &[seen(1, &archived)]), [Verdict::Equivalent(LINE_ENDS.to_owned())]);
    }

    proptest! {
        /// Ground truth: a target that holds everything, but for what was dropped, doubled, edited, re-dated or put in.
        #[test]
        fn every_harm_done_is_counted(contents in proptest::collection::vec((0_u8..20, 0_i64..3), 0..40), harm in proptest::collection::vec(0_u8..6, 40)) {
            let archived: Vec<Placement> = contents.iter().enumerate().map(|(i, (c, d))| {
                let mut item = item(*c, *d, &[]);
                // Their own Message-ID and content each, so that the count of every harm is exact.
                item.message_id = Some(format!("<{i}@x>"));
                item.sha256 = Digest::of(format!("{c} {i}").as_bytes());
                item
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
