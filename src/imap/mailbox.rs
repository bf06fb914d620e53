//! What is done to mailboxes and to messages in them: SELECT, STATUS, STORE, MOVE, EXPUNGE; and what may stand as a keyword.

use super::connection::{Connection, Piece, expect_ok};
use super::fetch::{Fetched, Messages, Want, sets};
use super::response::{Code, Condition, Response, Status, Value, expand};
use crate::error::{Error, Kind, Result};

const DELETED: &str = "\\Deleted";

/// A mailbox that is selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selected {
    /// Messages in it.
    pub exists: u32,
    /// UIDVALIDITY; 0 where the server gives none.
    pub uid_validity: u32,
    /// UIDNEXT, where the server says it.
    pub uid_next: Option<u32>,
    /// Flags that can be kept; `\*` for any keyword. Where the server does not say, the flags that it knows.
    pub permanent_flags: Vec<String>,
}

/// STATUS of a mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages in it.
    pub messages: u32,
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// UIDNEXT.
    pub uid_next: u32,
}

/// Where moved messages are now: UIDVALIDITY of the mailbox, and UID before and now of each; nothing where the server does not
/// say.
pub type Moved = Option<(u32, Vec<(u32, u32)>)>;

impl Connection {
    /// Selects a mailbox, for reading only if so wanted.
    ///
    /// # Errors
    /// `Kind::Refused` when there is none.
    pub fn select(&mut self, mailbox: &str, read_only: bool) -> Result<Selected> {
        let mut selected = Selected::default();
        let mut flags = Vec::new();
        let mut permanent = None;
        let word = if read_only { "EXAMINE" } else { "SELECT" };
        let status = self.run_pieces(&[Piece::Word(word), Piece::Text(mailbox)], &mut |response| {
            match response {
                Response::Numbered(n, word, _) if word == "EXISTS" => selected.exists = n,
                Response::Data(word, values) if word == "FLAGS" => {
                    let list = values.into_iter().next().and_then(Value::list).unwrap_or_default();
                    flags = list.iter().filter_map(Value::text).collect();
                }
                Response::Status(Status { code: Some(code), .. }) => match code {
                    Code::UidValidity(n) => selected.uid_validity = n,
                    Code::UidNext(n) => selected.uid_next = Some(n),
                    Code::PermanentFlags(list) => permanent = Some(list),
                    _ => {}
                },
                _ => {}
            }
            Ok(())
        })?;
        expect_ok(&status, "the folder")?;
        selected.permanent_flags = permanent.unwrap_or(flags);
        Ok(selected)
    }

    /// Counts of a mailbox that is not selected.
    ///
    /// # Errors
    /// `Kind::Refused` when there is none.
    pub fn status(&mut self, mailbox: &str) -> Result<Counts> {
        let mut counts = Counts::default();
        let pieces = [Piece::Word("STATUS"), Piece::Text(mailbox), Piece::Word("(MESSAGES UIDNEXT UIDVALIDITY)")];
        let status = self.run_pieces(&pieces, &mut |response| {
            if let Response::Data(word, mut values) = response
                && word == "STATUS"
                && values.len() >= 2
                && let Some(list) = values.swap_remove(1).list()
            {
                for pair in list.chunks_exact(2) {
                    let n = pair[1].number().and_then(|n| u32::try_from(n).ok()).unwrap_or_default();
                    match pair[0].text().unwrap_or_default().to_ascii_uppercase().as_str() {
                        "MESSAGES" => counts.messages = n,
                        "UIDNEXT" => counts.uid_next = n,
                        "UIDVALIDITY" => counts.uid_validity = n,
                        _ => {}
                    }
                }
            }
            Ok(())
        })?;
        expect_ok(&status, "the state of the folder")?;
        Ok(counts)
    }

    /// Leaves the selected mailbox, and removes nothing.
    ///
    /// # Errors
    /// As every command.
    pub fn leave(&mut self) -> Result<()> {
        if self.has("UNSELECT") {
            return expect_ok(&self.run("UNSELECT")?, "leaving the folder");
        }
        // To examine what is not there leaves what was selected (RFC 3501 6.3.1); CLOSE would expunge.
        self.run_pieces(&[Piece::Word("EXAMINE"), Piece::Text("floe-no-such-folder")], &mut |_| Ok(()))?;
        Ok(())
    }

    /// Adds or removes flags of messages of the selected mailbox; `uids` sorted.
    ///
    /// # Errors
    /// As every command.
    pub fn store(&mut self, uids: &[u32], add: bool, flags: &[String]) -> Result<()> {
        if flags.is_empty() {
            return Ok(());
        }
        let sign = if add { '+' } else { '-' };
        for set in sets(uids) {
            let status = self.run(&format!("UID STORE {set} {sign}FLAGS.SILENT ({})", flags.join(" ")))?;
            expect_ok(&status, "flags")?;
        }
        Ok(())
    }

    /// Gives messages of the selected mailbox just these flags; `uids` sorted.
    ///
    /// # Errors
    /// As every command.
    pub fn set_flags(&mut self, uids: &[u32], flags: &[String]) -> Result<()> {
        for set in sets(uids) {
            expect_ok(&self.run(&format!("UID STORE {set} FLAGS.SILENT ({})", flags.join(" ")))?, "flags")?;
        }
        Ok(())
    }

    /// Moves messages of the selected mailbox to another; `uids` sorted.
    ///
    /// # Errors
    /// `Kind::Refused` when the server announces neither MOVE nor UIDPLUS: then only copies could be made.
    pub fn move_to(&mut self, uids: &[u32], mailbox: &str) -> Result<Moved> {
        let by_move = self.has("MOVE");
        if !by_move && !self.has("UIDPLUS") {
            return Err(Error::new(Kind::Refused, "the server cannot move messages"));
        }
        let mut moved = Some((0, Vec::new()));
        for set in sets(uids) {
            let count = count_of(&set);
            let word = format!("UID {} {set}", if by_move { "MOVE" } else { "COPY" });
            let mut code = None;
            let status = self.run_pieces(&[Piece::Word(&word), Piece::Text(mailbox)], &mut |response| {
                if let Response::Status(Status { condition: Condition::Ok, code: Some(found @ Code::CopyUid(..)), .. }) = response
                {
                    code = Some(found);
                }
                Ok(())
            })?;
            expect_ok(&status, "a move")?;
            let pairs = match code.or(status.code) {
                Some(Code::CopyUid(validity, from, to)) => expand(&from, count)
                    .zip(expand(&to, count))
                    .map(|(from, to)| (validity, from.into_iter().zip(to).collect::<Vec<_>>())),
                _ => None,
            };
            moved = match (moved, pairs) {
                (Some((_, mut all)), Some((validity, pairs))) => {
                    all.extend(pairs);
                    Some((validity, all))
                }
                _ => None,
            };
        }
        if !by_move {
            self.remove(uids)?;
        }
        Ok(moved)
    }

    /// Removes messages of the selected mailbox for good; `uids` sorted. Others that are marked as deleted stay.
    ///
    /// # Errors
    /// `Kind::Refused` when the server does not announce UIDPLUS and others are marked as deleted: they would go as well.
    pub fn remove(&mut self, uids: &[u32]) -> Result<()> {
        if uids.is_empty() {
            return Ok(());
        }
        let one_by_one = self.has("UIDPLUS");
        if !one_by_one && !self.marked_deleted(uids)?.is_empty() {
            return Err(Error::new(Kind::Refused, "the server cannot remove single messages, and others are marked as deleted"));
        }
        self.mark_deleted(uids, true)?;
        if !one_by_one {
            return expect_ok(&self.run("EXPUNGE")?, "a removal");
        }
        for set in sets(uids) {
            expect_ok(&self.run(&format!("UID EXPUNGE {set}"))?, "a removal")?;
        }
        Ok(())
    }

    /// Messages of the selected mailbox that are marked as deleted, except these; both sorted.
    ///
    /// # Errors
    /// As every command.
    pub fn marked_deleted(&mut self, except: &[u32]) -> Result<Vec<u32>> {
        let mut marked = Marked { except, uids: Vec::new() };
        self.fetch_from(1, Want { flags: true, ..Want::default() }, &mut marked)?;
        marked.uids.sort_unstable();
        Ok(marked.uids)
    }

    /// Marks messages of the selected mailbox as deleted, or as not deleted any more; `uids` sorted.
    ///
    /// # Errors
    /// As every command.
    pub fn mark_deleted(&mut self, uids: &[u32], deleted: bool) -> Result<()> {
        self.store(uids, deleted, &[DELETED.to_owned()])
    }

    /// Removes a mailbox with all that is in it; for what a probe made.
    ///
    /// # Errors
    /// As every command.
    pub fn delete_mailbox(&mut self, mailbox: &str) -> Result<()> {
        let status = self.run_pieces(&[Piece::Word("DELETE"), Piece::Text(mailbox)], &mut |_| Ok(()))?;
        expect_ok(&status, "removing the folder")
    }
}

/// Messages that are marked as deleted, except some.
struct Marked<'a> {
    except: &'a [u32],
    uids: Vec<u32>,
}

impl Messages for Marked<'_> {
    fn piece(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn message(&mut self, message: Fetched) -> Result<()> {
        let deleted = message.flags.iter().any(|flag| flag.eq_ignore_ascii_case(DELETED));
        if deleted && self.except.binary_search(&message.uid).is_err() {
            self.uids.push(message.uid);
        }
        Ok(())
    }
}

fn count_of(set: &str) -> usize {
    let number = |text: &str| text.parse::<usize>().unwrap_or_default();
    set.split(',')
        .map(|range| range.split_once(':').map_or(1, |(first, last)| number(last).saturating_sub(number(first)) + 1))
        .sum()
}

/// May the text be sent as a keyword (an atom of RFC 3501)?
pub fn is_keyword(text: &str) -> bool {
    let special = |b: u8| matches!(b, b'(' | b')' | b'{' | b' ' | b'%' | b'*' | b'"' | b'\\' | b']');
    !text.is_empty() && text.len() <= 250 && text.bytes().all(|b| (0x21..0x7f).contains(&b) && !special(b))
}
