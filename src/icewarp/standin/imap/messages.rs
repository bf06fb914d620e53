//! Commands about messages of the open folder: STORE, COPY, MOVE, EXPUNGE, SEARCH.

use std::io;

use imap_codec::imap_types::command::CommandBody;
use imap_codec::imap_types::core::Vec1;
use imap_codec::imap_types::flag::{Flag, StoreResponse, StoreType};
use imap_codec::imap_types::mailbox::Mailbox as Name;
use imap_codec::imap_types::search::SearchKey;
use imap_codec::imap_types::sequence::{SeqOrUid, Sequence, SequenceSet};

use super::super::locked;
use super::super::mail::{Incoming, Mailbox, Message};
use super::folders::folder_name;
use super::session::{Selected, Session};

/// Flags as they are written; system flags in their usual spelling.
pub(super) fn flag_texts(flags: &[Flag<'_>]) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for text in flags.iter().map(Flag::to_string) {
        if !texts.iter().any(|other| other.eq_ignore_ascii_case(&text)) {
            texts.push(text);
        }
    }
    texts
}

/// UIDs as a sequence set, with ranges.
pub(super) fn uid_set(uids: &[u32]) -> String {
    let runs = uids.chunk_by(|a, b| a.checked_add(1) == Some(*b));
    let written = runs.map(|run| match run {
        [first, .., last] => format!("{first}:{last}"),
        run => run.iter().map(u32::to_string).collect(),
    });
    written.collect::<Vec<_>>().join(",")
}

impl Selected {
    /// Places in `uids` that a set names, in order. Only messages that are there are walked through, however wide the set is.
    pub(super) fn places(&self, set: &SequenceSet, uid: bool) -> Vec<usize> {
        let last = if uid { self.uids.last().copied().unwrap_or(0) } else { self.uids.len() as u32 };
        let value = |at: SeqOrUid| match at {
            SeqOrUid::Value(value) => value.get(),
            SeqOrUid::Asterisk => last,
        };
        let mut places = Vec::new();
        for sequence in set.0.as_ref() {
            let (from, to) = match *sequence {
                Sequence::Single(at) => (value(at), value(at)),
                Sequence::Range(from, to) => (value(from).min(value(to)), value(from).max(value(to))),
            };
            let (start, end) = if uid {
                (self.uids.partition_point(|&u| u < from), self.uids.partition_point(|&u| u <= to))
            } else {
                ((from as usize).saturating_sub(1).min(self.uids.len()), (to as usize).min(self.uids.len()))
            };
            places.extend(start..end);
        }
        if set.0.as_ref().len() > 1 {
            places.sort_unstable();
            places.dedup();
        }
        places
    }
}

impl Session<'_> {
    /// Commands that need an open folder.
    pub(super) fn message_command(&mut self, body: CommandBody<'_>) -> io::Result<String> {
        let Some(selected) = self.selected.take() else { return Ok("BAD no folder is open".into()) };
        let writes = matches!(
            body,
            CommandBody::Store { .. } | CommandBody::Expunge | CommandBody::ExpungeUid { .. } | CommandBody::Move { .. }
        );
        if selected.read_only && writes {
            self.selected = Some(selected);
            return Ok("NO the folder is open for reading only".into());
        }
        let answer = match body {
            CommandBody::Unselect => return Ok("OK UNSELECT completed".into()),
            CommandBody::Close => {
                if !selected.read_only {
                    self.expunge(&selected, None)?;
                }
                return Ok("OK CLOSE completed".into());
            }
            CommandBody::Fetch { sequence_set, macro_or_item_names, uid } => {
                self.fetch(&selected, &sequence_set, macro_or_item_names, uid)
            }
            CommandBody::Store { sequence_set, kind, response, flags, uid } => {
                let places = selected.places(&sequence_set, uid);
                self.store_flags(&selected, &places, kind, response, &flags, uid)
            }
            CommandBody::Expunge => self.expunge(&selected, None),
            CommandBody::ExpungeUid { .. } if self.world.difficulties.no_uidplus => Ok("BAD command unknown".into()),
            CommandBody::ExpungeUid { sequence_set } => self.expunge(&selected, Some(&sequence_set)),
            CommandBody::Copy { sequence_set, mailbox, uid } => {
                self.copy(&selected, &selected.places(&sequence_set, uid), &mailbox, false)
            }
            CommandBody::Move { .. } if self.world.difficulties.no_move => Ok("BAD command unknown".into()),
            CommandBody::Move { sequence_set, mailbox, uid } => {
                self.copy(&selected, &selected.places(&sequence_set, uid), &mailbox, true)
            }
            CommandBody::Search { criteria, uid, .. } => self.search(&selected, &criteria, uid),
            _ => Ok("BAD command not offered".into()),
        };
        self.selected = Some(selected);
        answer
    }

    fn store_flags(
        &mut self,
        selected: &Selected,
        places: &[usize],
        kind: StoreType,
        response: StoreResponse,
        flags: &[Flag<'_>],
        uid: bool,
    ) -> io::Result<String> {
        let mut given = flag_texts(flags);
        if self.world.difficulties.no_keywords {
            given.retain(|flag| flag.starts_with('\\'));
        }
        let mailbox = self.mailbox()?;
        let mut mailbox = locked(&mailbox);
        let Some(folder) = mailbox.folders.get_mut(&selected.name) else { return Ok("NO the folder is gone".into()) };
        let mut changed = Vec::new();
        let mut told = Vec::new();
        for &place in places {
            let Some(message) = folder.messages.get(&selected.uids[place]) else { continue };
            let flags = flags_after(&message.flags, kind, &given);
            told.push(format!("* {} FETCH ({}FLAGS ({}))", place + 1, uid_item(uid, message.uid), flags.join(" ")));
            if flags != message.flags {
                changed.push((message.uid, flags));
            }
        }
        if folder.set_flags(changed).is_err() {
            return Ok("NO [SERVERBUG] cannot be stored".into());
        }
        drop(mailbox);
        if response == StoreResponse::Answer {
            for line in told {
                self.line(format_args!("{line}"))?;
            }
        }
        Ok("OK STORE completed".into())
    }

    fn expunge(&mut self, selected: &Selected, only: Option<&SequenceSet>) -> io::Result<String> {
        let mailbox = self.mailbox()?;
        let mut mailbox = locked(&mailbox);
        let Some(folder) = mailbox.folders.get_mut(&selected.name) else { return Ok("NO the folder is gone".into()) };
        let deleted = |message: &&Message| message.flags.iter().any(|flag| flag == "\\Deleted");
        let uids: Vec<u32> = match only {
            None => folder.messages.values().filter(deleted).map(|message| message.uid).collect(),
            Some(set) => {
                let named = selected.places(set, true).into_iter().filter_map(|place| folder.messages.get(&selected.uids[place]));
                named.filter(deleted).map(|message| message.uid).collect()
            }
        };
        let bytes: u64 = uids.iter().filter_map(|uid| folder.messages.get(uid)).map(|message| message.size).sum();
        if folder.remove(uids).is_err() {
            return Ok("NO [SERVERBUG] cannot be removed".into());
        }
        mailbox.bytes = mailbox.bytes.saturating_sub(bytes);
        Ok("OK EXPUNGE completed".into())
    }

    fn copy(&mut self, selected: &Selected, places: &[usize], target: &Name<'_>, moves: bool) -> io::Result<String> {
        let target = folder_name(target).unwrap_or_default();
        let mailbox = self.mailbox()?;
        let mut mailbox = locked(&mailbox);
        let uids: Vec<u32> = places.iter().map(|&place| selected.uids[place]).collect();
        let Ok(done) = copy_between(&mut mailbox, &selected.name, &uids, &target, moves) else {
            return Ok("NO [SERVERBUG] cannot be copied".into());
        };
        drop(mailbox);
        let Some((validity, from, to)) = done else { return Ok("NO [TRYCREATE] no such folder".into()) };
        let code = format!("COPYUID {validity} {} {}", uid_set(&from), uid_set(&to));
        match (self.world.difficulties.no_uidplus || from.is_empty(), moves) {
            (true, _) => Ok("OK completed".into()),
            (false, false) => Ok(format!("OK [{code}] COPY completed")),
            (false, true) => {
                self.line(format_args!("* OK [{code}] moved"))?;
                Ok("OK MOVE completed".into())
            }
        }
    }

    /// SEARCH knows ALL, UIDs and flags; anything else finds nothing, as clients of the real one have met it.
    fn search(&mut self, selected: &Selected, criteria: &Vec1<SearchKey<'_>>, uid: bool) -> io::Result<String> {
        let mailbox = self.mailbox()?;
        let mailbox = locked(&mailbox);
        let Some(folder) = mailbox.folders.get(&selected.name) else { return Ok("NO the folder is gone".into()) };
        let mut found = String::new();
        for (place, number) in selected.uids.iter().enumerate() {
            let Some(message) = folder.messages.get(number) else { continue };
            if criteria.as_ref().iter().all(|key| is_found(selected, key, place, message)) {
                found.push_str(&format!(" {}", if uid { message.uid as usize } else { place + 1 }));
            }
        }
        drop(mailbox);
        self.line(format_args!("* SEARCH{found}"))?;
        Ok("OK SEARCH completed".into())
    }
}

/// `UID n ` in answers to UID commands.
pub(super) fn uid_item(uid: bool, value: u32) -> String {
    if uid { format!("UID {value} ") } else { String::new() }
}

fn flags_after(before: &[String], kind: StoreType, given: &[String]) -> Vec<String> {
    let is_given = |flag: &String| given.iter().any(|other| other.eq_ignore_ascii_case(flag));
    match kind {
        StoreType::Replace => given.to_vec(),
        StoreType::Remove => before.iter().filter(|flag| !is_given(flag)).cloned().collect(),
        StoreType::Add => {
            let fresh = given.iter().filter(|flag| !before.iter().any(|other| other.eq_ignore_ascii_case(flag)));
            before.iter().chain(fresh).cloned().collect()
        }
    }
}

/// Copies or moves; gives the target's validity with old and new UIDs, or `None` if there is no target.
#[expect(clippy::type_complexity, reason = "the three parts of a COPYUID")]
fn copy_between(
    mailbox: &mut Mailbox,
    from: &str,
    uids: &[u32],
    target: &str,
    moves: bool,
) -> crate::Result<Option<(u32, Vec<u32>, Vec<u32>)>> {
    if !mailbox.folders.contains_key(target) {
        return Ok(None);
    }
    let mut incoming = Vec::new();
    let mut old = Vec::new();
    if let Some(folder) = mailbox.folders.get(from) {
        for message in uids.iter().filter_map(|uid| folder.messages.get(uid)) {
            let (source, file) = (folder.file(message.uid), mailbox.incoming_file());
            std::fs::copy(&source, &file).map_err(|e| super::super::place::broken(&source, e))?;
            old.push(message.uid);
            incoming.push(Incoming {
                file,
                flags: message.flags.clone(),
                date: message.date,
                zone: message.zone,
                size: message.size,
            });
        }
    }
    let bytes: u64 = incoming.iter().map(|message| message.size).sum();
    let Some(folder) = mailbox.folders.get_mut(target) else { return Ok(None) };
    let (new, validity) = (folder.add(&incoming)?, folder.validity);
    if moves {
        if let Some(folder) = mailbox.folders.get_mut(from) {
            folder.remove(old.clone())?;
        }
    } else {
        mailbox.bytes += bytes;
    }
    Ok(Some((validity, old, new)))
}

fn is_found(selected: &Selected, key: &SearchKey<'_>, place: usize, message: &Message) -> bool {
    let has = |flag: &str| message.flags.iter().any(|other| other.eq_ignore_ascii_case(flag));
    match key {
        SearchKey::All => true,
        SearchKey::And(keys) => keys.as_ref().iter().all(|key| is_found(selected, key, place, message)),
        SearchKey::SequenceSet(set) => selected.places(set, false).binary_search(&place).is_ok(),
        SearchKey::Uid(set) => selected.places(set, true).binary_search(&place).is_ok(),
        SearchKey::Seen => has("\\Seen"),
        SearchKey::Unseen => !has("\\Seen"),
        SearchKey::Deleted => has("\\Deleted"),
        SearchKey::Undeleted => !has("\\Deleted"),
        SearchKey::Flagged => has("\\Flagged"),
        SearchKey::Answered => has("\\Answered"),
        SearchKey::Draft => has("\\Draft"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_written_with_ranges() {
        assert_eq!(uid_set(&[1, 2, 3, 7, 9, 10]), "1:3,7,9:10");
        assert_eq!(uid_set(&[]), "");
    }

    #[test]
    fn a_wide_set_names_only_what_is_there() {
        let selected = Selected { name: "INBOX".into(), read_only: false, uids: vec![3, 5, 4_000_000_000] };
        let places = |set: &str, uid| selected.places(&SequenceSet::try_from(set).expect("set"), uid);
        assert_eq!(places("1:4294967295", true), [0, 1, 2]);
        assert_eq!((places("4:*", true), places("6", true), places("9:*", false)), (vec![1, 2], vec![], vec![2]));
        assert_eq!(places("5,3,3:5", true), [0, 1]);
    }
}
