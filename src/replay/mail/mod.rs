//! Fills one mail folder of the target from a collection of the archive: every message once, whatever breaks on the way.
//!
//! Each batch is written into the journal, sent, answered, and written again. After a break nobody knows what of the last batch arrived,
//! so everything in the folder from the journal's floor on is read back and hashed, and a message that is found there is claimed and not sent
//! again. SEARCH is never used.

mod ahead;
mod bytes;
mod gone;
mod late;
mod state;

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, sleep};
use std::time::Duration;

use jiff::Timestamp;

use self::ahead::{BATCHES_READY, HELD_BYTES, Reader, Ready, Standing};
use self::bytes::{Found, Masked};
pub use self::gone::{Gone, Removal, carry_removals};
pub use self::late::settle;
pub use self::state::state_of;
use super::Filled;
use super::journal::{Change, Collection, CollectionName, Journal, Key, Remote, Removing, Row, Status};
use super::plan::{Part, Route};
use super::refused::{exception, name_all};
use crate::archive::{Archive, CollectionEntry};
use crate::error::{Error, Kind, Result};
use crate::imap::{Append, Body, Connection, Sent, Status as ServerStatus, Want, Way, Written, is_keyword};
use crate::mime::CrlfWriter;
use crate::model::{Digest, Placement};
use crate::monitor::Monitor;
use crate::net::{Pace, patiently};

/// How often messages that the server does not take now are sent again over the same connection.
const WAITS: u32 = 5;

/// What is to be done with one folder.
#[derive(Clone, Copy)]
pub struct MailJob<'a> {
    /// The account, and where it goes.
    pub route: Route<'a>,
    /// The collection in the archive.
    pub collection: &'a CollectionEntry,
    /// The folder on the target, from the top.
    pub to: &'a [String],
    /// Larger messages are not tried.
    pub largest: Option<u64>,
    /// Are keywords sent?
    pub keywords: bool,
    /// What an earlier snapshot held in this collection, with its state, where only what is new since then is wanted.
    pub since: Option<&'a HashMap<Key, u64>>,
    /// How fast messages may be sent.
    pub pace: &'a Pace,
}

impl MailJob<'_> {
    /// By what the journal knows the folder.
    fn name(&self) -> CollectionName<'_> {
        CollectionName { route: self.route, part: Part::Mail, path: &self.collection.head.path }
    }

    /// The flags and keywords with which a message is sent.
    fn flags_of(&self, item: &Placement) -> Vec<String> {
        let system = item.flags.iter().map(|flag| flag.name().to_owned());
        let keywords = item.keywords.iter().filter(|k| self.keywords && is_keyword(k)).cloned();
        system.chain(keywords).collect()
    }
}

/// Fills one folder, and says what the journal put there and the source has no more; nothing where the target refuses the folder, whose
/// messages then count as refused. `connect` opens a connection to the account: at first, and whenever one breaks.
///
/// # Errors
/// When the target cannot be reached for long or refuses the login, or when archive or journal fail. What was done until then is in the
/// journal; run again to go on.
pub fn fill(
    archive: &Archive,
    job: MailJob<'_>,
    journal: &Journal,
    connect: &mut dyn FnMut() -> Result<Connection>,
    connection: &mut Option<Connection>,
    monitor: &dyn Monitor,
) -> Result<(Filled, Option<Vec<Gone>>)> {
    let mut filled = Filled::default();
    let mut is_entered = false;
    let progress = |filled: &Filled| filled.sent + filled.claimed;
    let gone = patiently(monitor, &mut filled, progress, |filled| {
        is_entered = false;
        let open = Connection::kept_or_new(connection, connect)?;
        is_entered = true;
        let mut folder = Folder::open(archive, job, journal, open, monitor)?;
        folder.fill(filled)?;
        let gone = folder.gone()?;
        folder.leave()?;
        *connection = Some(folder.connection);
        Ok(gone)
    });
    match gone {
        Ok(gone) => Ok((filled, Some(gone))),
        // The folder cannot be had; the others can.
        Err(e) if is_entered && matches!(e.kind(), Kind::Refused | Kind::Protocol) => {
            let is_before = |key: &Key, _: &Placement, there: Option<&Digest>| {
                there.is_some() || job.since.is_some_and(|since| since.contains_key(key))
            };
            name_all(journal, job.name(), &mut filled, &e, monitor, is_before, |each| {
                archive.numbered_placements(job.collection, &mut |item, n| each(Key::of_item(&item.sha256, n), item))
            })?;
            Ok((filled, None))
        }
        Err(e) => Err(e),
    }
}

/// What the journal knows of a placement.
#[derive(Clone, Copy)]
struct Known {
    number: u32,
    status: Status,
    state: u64,
    /// May it come more than once, for it was sent more than once?
    again: bool,
    /// Is it at the source still?
    there: bool,
}

/// A folder that is being filled.
struct Folder<'a> {
    archive: &'a Archive,
    job: MailJob<'a>,
    journal: &'a Journal,
    monitor: &'a dyn Monitor,
    connection: Connection,
    mailbox: String,
    is_selected: bool,
    validity: u32,
    /// UIDNEXT before anything was sent over this connection.
    first_free: u32,
    collection: Collection,
    known: HashMap<Key, Known>,
    /// Messages on the target that the journal knows nothing of, by size and bytes.
    unclaimed: HashMap<(u64, Digest), Vec<u32>>,
    /// The same ones by their bytes without those that some servers change.
    altered: HashMap<(u64, Digest), Vec<u32>>,
    /// Those of them that a placement has claimed.
    claimed: HashSet<u32>,
    batch: Vec<Message>,
    under_way: Option<UnderWay>,
    /// Did the server say where all messages of the last batch are?
    gives_uids: bool,
    /// How often it was waited for the server to take the same messages.
    waits: u32,
}

/// A batch that was sent and not answered yet.
struct UnderWay {
    messages: Vec<Message>,
    sent: Sent,
    way: Way,
}

/// A message that is about to be sent.
struct Message {
    row: Row,
    is_new: bool,
    flags: Vec<String>,
    date: Option<Timestamp>,
    item: Placement,
    /// The CRLF form; empty for one that is too large to be held.
    bytes: Vec<u8>,
}

impl<'a> Folder<'a> {
    fn open(
        archive: &'a Archive,
        job: MailJob<'a>,
        journal: &'a Journal,
        mut connection: Connection,
        monitor: &'a dyn Monitor,
    ) -> Result<Self> {
        let mailbox = connection.names().write(job.to)?;
        connection.create(job.to)?;
        let validity = match connection.status(&mailbox)?.uid_validity {
            // Not every server says it here.
            0 => {
                let selected = connection.select(&mailbox, true)?;
                connection.leave()?;
                selected.uid_validity
            }
            validity => validity,
        };
        let collection = journal.collection(job.name(), &mailbox)?;
        let mut folder = Folder {
            archive,
            job,
            journal,
            monitor,
            mailbox,
            is_selected: false,
            validity,
            first_free: 0,
            collection,
            known: HashMap::new(),
            unclaimed: HashMap::new(),
            altered: HashMap::new(),
            claimed: HashSet::new(),
            batch: Vec::new(),
            under_way: None,
            gives_uids: false,
            waits: 0,
            connection,
        };
        folder.first_free = folder.settled_uid_next()?;
        folder.recall()?;
        Ok(folder)
    }

    /// UIDNEXT, asked until it stands still: a server may still be storing what a broken connection has sent.
    fn settled_uid_next(&mut self) -> Result<u32> {
        let mut next = self.connection.status(&self.mailbox)?.uid_next;
        // Before the first mark nothing was sent, so there is nothing to wait for.
        if self.collection.validity.is_none() || self.collection.floor == Some(next) {
            return Ok(next);
        }
        loop {
            sleep(Duration::from_millis(100));
            let again = self.connection.status(&self.mailbox)?.uid_next;
            if again == next {
                return Ok(next);
            }
            next = again;
        }
    }

    /// Does something inside the folder.
    fn within<T>(&mut self, act: impl FnOnce(&mut Connection) -> Result<T>) -> Result<T> {
        self.select()?;
        let done = act(&mut self.connection)?;
        if !self.stays_selected() {
            self.leave()?;
        }
        Ok(done)
    }

    /// Is the folder selected while messages are put into it? Then a server does not open it anew for each batch, which takes Dovecot the longer
    /// the more is in it. A server that does not say where messages are is asked by STATUS, which is for folders that are not selected.
    fn stays_selected(&self) -> bool {
        self.connection.has("UIDPLUS")
    }

    fn select(&mut self) -> Result<()> {
        if self.is_selected {
            return Ok(());
        }
        let selected = self.connection.select(&self.mailbox, false)?;
        self.is_selected = true;
        if selected.uid_validity != self.validity {
            return Err(Error::new(Kind::Unreachable, "the folder was made anew meanwhile").with("folder", &self.mailbox));
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        if std::mem::take(&mut self.is_selected) { self.connection.leave() } else { Ok(()) }
    }

    /// Recalls what the journal knows, and reads back what lies on the target beyond that.
    fn recall(&mut self) -> Result<()> {
        let next = self.first_free;
        let made_anew = self.collection.validity.is_some_and(|v| v != self.validity);
        let mut confirmed = Vec::new();
        let known = &mut self.known;
        self.journal.rows(self.collection.id, &mut |row| {
            // In a folder that was made anew nothing is where it was: what is still there will be claimed.
            let status = if made_anew && row.status != Status::Failed { Status::Gone } else { row.status };
            if status == Status::Confirmed {
                confirmed.extend(row.remote.uid);
            }
            known.insert(
                row.key,
                Known { number: row.number, status, state: row.state, again: row.again && !made_anew, there: false },
            );
            Ok(())
        })?;
        confirmed.sort_unstable();
        let floor = match (self.collection.validity, self.collection.floor) {
            (Some(_), _) if made_anew => 1,
            (Some(_), Some(floor)) => floor,
            _ => next,
        };
        if made_anew {
            (self.collection.doubt, self.collection.removing) = (None, Removing::default());
            let nothing = [Change::Doubt(None), Change::Removing(&self.collection.removing)];
            self.journal.change(self.collection.id, false, &nothing)?;
        }
        self.finish_removal()?;
        self.journal.change(self.collection.id, true, &[Change::Mark(self.validity, floor)])?;
        if floor >= next {
            return Ok(());
        }
        let mut found = Found::default();
        self.within(|connection| {
            connection.fetch_from(floor, Want { flags: false, date: false, size: false, body: true }, &mut found)
        })?;
        for (uid, size, sha256, altered) in found.messages {
            if uid >= floor && confirmed.binary_search(&uid).is_err() {
                self.unclaimed.entry((size, sha256)).or_default().push(uid);
                self.altered.entry(altered).or_default().push(uid);
            }
        }
        Ok(())
    }

    fn fill(&mut self, filled: &mut Filled) -> Result<()> {
        let done_in_this_run = filled.sent + filled.claimed;
        // Counted anew on every attempt.
        (filled.refused, filled.damaged) = (0, 0);
        let mut known = std::mem::take(&mut self.known);
        let mut reader = Reader { archive: self.archive, job: self.job, known: &mut known, standing: Standing::default() };
        let (give, ready) = sync_channel(BATCHES_READY);
        let (sent, read) = thread::scope(|scope| {
            let reading = scope.spawn(|| {
                let give = give;
                reader.read(&give)
            });
            let sent = self.send_all(ready, filled);
            (sent, reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let Standing { before, refused, not_restated, others } = reader.standing;
        self.known = known;
        // What this run has sent or claimed is among it and is told apart.
        filled.before = before.saturating_sub(done_in_this_run);
        filled.refused += refused;
        filled.not_restated = not_restated;
        sent.and(read)?;
        self.restate(others, filled)
    }

    /// Sends what is made ready, until there is no more.
    fn send_all(&mut self, batches: Receiver<Vec<Ready>>, filled: &mut Filled) -> Result<()> {
        for batch in batches {
            batch.into_iter().try_for_each(|ready| self.take(ready, filled))?;
            self.flush(filled)?;
        }
        self.settle(filled)
    }

    /// Puts a message into the batch, or claims it where it lies already.
    fn take(&mut self, ready: Ready, filled: &mut Filled) -> Result<()> {
        let Ready { key, known, item, size, bytes } = ready;
        let number = known.map_or_else(
            || {
                self.collection.next += 1;
                self.collection.next - 1
            },
            |known| known.number,
        );
        let row = Row {
            number,
            key,
            sha256: item.crlf.map_or(item.sha256, |form| form.sha256),
            size,
            status: Status::Intent,
            state: state_of(&item),
            remote: Remote::default(),
            reason: None,
            again: known.is_some_and(|known| known.again),
        };
        let mut message = Message {
            row,
            is_new: known.is_none(),
            flags: self.job.flags_of(&item),
            date: item.date.map(|d| d.at),
            bytes: Vec::new(),
            item,
        };
        if let Some(largest) = self.job.largest.filter(|most| size > *most) {
            return self.refused(message, format!("{size} bytes, the server takes {largest}"), filled);
        }
        match bytes {
            Ok(bytes) => message.bytes = bytes,
            Err(e) if e.kind() == Kind::Damage => return self.damaged(message, &e, filled),
            Err(e) => return Err(e),
        }
        if let Some(uid) = self.claim(&message) {
            message.row.status = Status::Confirmed;
            message.row.remote.uid = Some(uid);
            filled.claimed += 1;
            return self.journal.change(self.collection.id, false, &[message.change()]);
        }
        if known.is_some_and(|known| known.status == Status::Intent) {
            self.doubt(&mut message)?;
        }
        self.batch.push(message);
        Ok(())
    }

    /// The UID of a message on the target that this one may be, taken out of those that nobody has claimed.
    fn claim(&mut self, message: &Message) -> Option<u32> {
        if self.altered.is_empty() {
            return None;
        }
        if let Some(uid) = newest(&mut self.unclaimed, (message.row.size, message.row.sha256), &mut self.claimed) {
            return Some(uid);
        }
        if message.bytes.is_empty() {
            return None;
        }
        let mut mask = Masked::default();
        mask.update(&message.bytes);
        newest(&mut self.altered, mask.finish(), &mut self.claimed)
    }

    /// Sends the batch. Where the server says where messages are, the answers to it are awaited only when the next one is on its way: so
    /// neither side waits for the other.
    fn flush(&mut self, filled: &mut Filled) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let intents: Vec<Change<'_>> = batch.iter().map(Message::change).collect();
        self.journal.change(self.collection.id, false, &intents)?;
        self.job.pace.wait(batch.len());
        let sent = self.transmit(batch, self.connection.append_way())?;
        if let Some(before) = self.under_way.replace(sent) {
            self.take_answers(before, filled)?;
        }
        if self.gives_uids { Ok(()) } else { self.settle(filled) }
    }

    /// Takes the answers to what is under way.
    fn settle(&mut self, filled: &mut Filled) -> Result<()> {
        self.under_way.take().map_or(Ok(()), |sent| self.take_answers(sent, filled))
    }

    /// Writes down what the target took; what it did not take is tried again or named.
    fn take_answers(&mut self, batch: UnderWay, filled: &mut Filled) -> Result<()> {
        let UnderWay { messages, sent, way } = batch;
        let answers = self.connection.finish_append(sent)?;
        let (mut stored, mut refused) = (Vec::new(), Vec::new());
        let mut floor = 0;
        let mut all_have_uids = true;
        for (mut message, answer) in messages.into_iter().zip(answers) {
            match answer {
                Written::Stored(place) => {
                    let uid = place.filter(|(validity, _)| *validity == self.validity).map(|(_, uid)| uid);
                    all_have_uids &= uid.is_some();
                    message.row.status = if uid.is_some() { Status::Confirmed } else { Status::Sent };
                    message.row.remote.uid = uid;
                    message.is_new = false;
                    floor = floor.max(uid.map_or(0, |uid| uid.saturating_add(1)));
                    stored.push(message);
                }
                Written::Refused(status) => refused.push((message, status)),
            }
        }
        if !all_have_uids && self.under_way.is_some() {
            // What is under way cannot be told from what was just taken: it is found when the folder is read back.
            return Err(Error::new(Kind::Unreachable, "the server says no more where messages are"));
        }
        self.gives_uids = all_have_uids && !stored.is_empty();
        self.confirm(&stored, floor, filled)?;
        if refused.is_empty() {
            return Ok(());
        }
        // What is sent again gets higher UIDs than what is under way: that comes first into the journal.
        self.settle(filled)?;
        self.again(refused, way, filled)
    }

    /// Halves a batch that was refused as a whole until the messages that are meant are found, whether for now or for good.
    fn again(&mut self, mut refused: Vec<(Message, ServerStatus)>, way: Way, filled: &mut Filled) -> Result<()> {
        if way == Way::Multi && refused.len() > 1 {
            let second = refused.split_off(refused.len() / 2);
            for half in [refused, second] {
                self.send_and_wait(half.into_iter().map(|(message, _)| message).collect(), way, filled)?;
            }
            return Ok(());
        }
        if let Some(error) = refused.iter().map(|(_, status)| status.error("a message")).find(|e| e.kind().is_transient()) {
            self.waits += 1;
            if self.waits > WAITS {
                return Err(error);
            }
            sleep(Duration::from_millis(100 << self.waits));
            return self.send_and_wait(refused.into_iter().map(|(message, _)| message).collect(), way, filled);
        }
        for (mut message, status) in refused {
            message.is_new = false;
            // A date that the server does not take is no reason to lose the message: once more without.
            if message.date.is_some_and(|at| at <= Timestamp::UNIX_EPOCH || at > Timestamp::now()) {
                message.date = None;
                self.send_and_wait(vec![message], Way::OneByOne, filled)?;
            } else {
                self.refused(message, status.reason(), filled)?;
            }
        }
        Ok(())
    }

    fn send_and_wait(&mut self, messages: Vec<Message>, way: Way, filled: &mut Filled) -> Result<()> {
        let sent = self.transmit(messages, way)?;
        self.take_answers(sent, filled)
    }

    /// Writes down that the target holds these; everything below `floor` is accounted for then.
    fn confirm(&mut self, messages: &[Message], floor: u32, filled: &mut Filled) -> Result<()> {
        if messages.is_empty() {
            return Ok(());
        }
        self.waits = 0;
        let floor = if floor > 0 { floor } else { self.connection.status(&self.mailbox)?.uid_next };
        let mut changes: Vec<Change<'_>> = messages.iter().map(Message::change).collect();
        changes.push(Change::Mark(self.validity, floor));
        self.journal.change(self.collection.id, false, &changes)?;
        let bytes = messages.iter().map(|m| m.row.size).sum();
        filled.sent += messages.len() as u64;
        filled.bytes += bytes;
        self.monitor.advance(messages.len() as u64, bytes);
        Ok(())
    }

    fn transmit(&mut self, messages: Vec<Message>, way: Way) -> Result<UnderWay> {
        if self.under_way.is_none() && self.stays_selected() {
            self.select()?;
        }
        let archive = self.archive;
        let mut writers: Vec<_> = messages
            .iter()
            .map(|m| {
                move |out: &mut dyn Write| {
                    let mut crlf = CrlfWriter::new(out);
                    archive.copy(m.item.sha256, &mut crlf).map(|_| ())
                }
            })
            .collect();
        let mut batch: Vec<Append<'_>> = messages
            .iter()
            .zip(&mut writers)
            .map(|(m, writer)| {
                let held = m.row.size <= HELD_BYTES;
                let body = if held { Body::Bytes(&m.bytes) } else { Body::Stream(m.row.size, writer) };
                Append { flags: &m.flags, date: m.date, body }
            })
            .collect();
        let sent = self.connection.send_append(&self.mailbox, way, &mut batch)?;
        drop(batch);
        drop(writers);
        Ok(UnderWay { messages, sent, way })
    }

    /// Writes down that the target does not take it, and tells the person.
    fn refused(&mut self, mut message: Message, reason: String, filled: &mut Filled) -> Result<()> {
        message.row.status = Status::Failed;
        message.row.reason = Some(reason.clone());
        self.journal.change(self.collection.id, false, &[message.change()])?;
        filled.refused += 1;
        self.tell(message, "refused by the server", reason);
        Ok(())
    }

    /// Tells the person that the archive does not give the message back. The journal keeps quiet about it: once the archive is mended, the
    /// message is sent.
    fn damaged(&mut self, message: Message, error: &Error, filled: &mut Filled) -> Result<()> {
        filled.damaged += 1;
        self.tell(message, "damaged in the archive", error.to_string());
        Ok(())
    }

    fn tell(&self, message: Message, reason: &str, detail: String) {
        self.monitor.exception(&exception(self.job.name(), message.item.source, reason, detail));
    }
}

/// The newest of the messages found under `key` that is not claimed; it is now.
fn newest(found: &mut HashMap<(u64, Digest), Vec<u32>>, key: (u64, Digest), claimed: &mut HashSet<u32>) -> Option<u32> {
    let uids = found.get_mut(&key)?;
    std::iter::from_fn(|| uids.pop()).find(|uid| claimed.insert(*uid))
}

impl Message {
    fn change(&self) -> Change<'_> {
        if self.is_new { Change::Insert(&self.row) } else { Change::Update(&self.row) }
    }
}
