//! What a run that broke off had sent, and the server takes only now.
//!
//! A server goes on with what it has received when nobody listens any more, and may take seconds for it. A run that reads the folder before
//! that finds nothing, and sends the messages again. So they are marked in the journal, and when all folders of the account are filled it is
//! looked whether they came twice; the second ones are taken out. The mark outlives this run too.

use std::collections::{BTreeSet, HashMap};
use std::thread::sleep;
use std::time::Duration;

use super::bytes::Found;
use super::{Folder, MailJob, Message};
use crate::archive::Archive;
use crate::error::{Kind, Result};
use crate::imap::{Connection, Fetched, Messages, Want};
use crate::model::Digest;
use crate::monitor::Monitor;
use crate::net::patiently;
use crate::replay::journal::{Change, Journal, Removing, Row, Status};

/// Size and digest.
type Content = (u64, Digest);

/// So long it is waited, at least, for what may arrive late.
const LATE: Duration = Duration::from_secs(3);

/// Looks in those of an account's folders that are in doubt, once all of them are filled, whether something came twice.
///
/// # Errors
/// Those of the journal and of the connection.
pub fn settle(
    archive: &Archive,
    jobs: &[MailJob<'_>],
    journal: &Journal,
    connect: &mut dyn FnMut() -> Result<Connection>,
    connection: &mut Option<Connection>,
    monitor: &dyn Monitor,
) -> Result<()> {
    let mut in_doubt = Vec::new();
    for job in jobs {
        if journal.find(job.name())?.is_some_and(|collection| collection.doubt.is_some()) {
            in_doubt.push(*job);
        }
    }
    if !in_doubt.is_empty() {
        sleep(LATE);
    }
    in_doubt.into_iter().try_for_each(|job| {
        patiently(
            monitor,
            connection,
            |_| 0,
            |connection| {
                let open = Connection::kept_or_new(connection, connect)?;
                let mut folder = Folder::open(archive, job, journal, open, monitor)?;
                folder.settle_late()?;
                folder.leave()?;
                *connection = Some(folder.connection);
                Ok(())
            },
        )
    })
}

impl Folder<'_> {
    /// A message is sent again, of which nobody knows what became of it.
    pub(super) fn doubt(&mut self, message: &mut Message) -> Result<()> {
        message.row.again = true;
        if self.collection.doubt.is_some() {
            return Ok(());
        }
        self.collection.doubt = Some(self.first_free);
        self.journal.change(self.collection.id, false, &[Change::Doubt(self.collection.doubt)])
    }

    /// Takes out what arrived twice.
    fn settle_late(&mut self) -> Result<()> {
        let Some(from) = self.collection.doubt else { return Ok(()) };
        let next = self.first_free;
        let sent = self.sent_since(from)?;
        let mut listed = Uids::default();
        if from < next {
            self.within(|connection| connection.fetch_from(from, Want::default(), &mut listed))?;
        }
        let is_unknown = |uid: &u32| (from..next).contains(uid) && !sent.places.contains(uid);
        let unknown: Vec<u32> = listed.0.into_iter().filter(is_unknown).collect();
        if !(unknown.is_empty() || sent.again.is_empty()) {
            self.take_out_doubles(sent, &unknown)?;
        }
        self.collection.doubt = None;
        self.journal.change(self.collection.id, false, &[Change::Doubt(None)])
    }

    fn sent_since(&self, from: u32) -> Result<SentSince> {
        let mut sent = SentSince::default();
        self.journal.rows(self.collection.id, &mut |row| {
            match (row.status, row.remote.uid) {
                (Status::Confirmed, Some(uid)) if uid >= from => _ = sent.places.insert(uid),
                (Status::Sent, _) if !row.again => *sent.unplaced.entry((row.size, row.sha256)).or_default() += 1,
                _ => {}
            }
            if row.again && matches!(row.status, Status::Confirmed | Status::Sent) {
                sent.again.push(row);
            }
            Ok(())
        })?;
        Ok(sent)
    }

    /// Looks for what was sent again among messages whose place the journal does not know.
    fn take_out_doubles(&mut self, sent: SentSince, unknown: &[u32]) -> Result<()> {
        let known = sent.again.iter().filter_map(|row| row.remote.uid);
        let wanted: BTreeSet<u32> = known.chain(unknown.iter().copied()).collect();
        let wanted: Vec<u32> = wanted.into_iter().collect();
        let mut found = Found::default();
        self.within(|connection| {
            connection.fetch(&wanted, Want { flags: false, date: false, size: false, body: true }, &mut found)
        })?;
        let contents: HashMap<u32, Content> =
            found.messages.iter().map(|(uid, size, sha256, _)| (*uid, (*size, *sha256))).collect();
        let mut strays: HashMap<Content, Vec<u32>> = HashMap::new();
        for uid in unknown {
            if let Some(content) = contents.get(uid) {
                strays.entry(*content).or_default().push(*uid);
            }
        }
        let (mut doubles, mut moved) = (Vec::new(), Vec::new());
        let mut seen = BTreeSet::new();
        for mut row in sent.again {
            // As the server gives the message back, which may be other bytes than were sent.
            let content = row.remote.uid.map_or(Some((row.size, row.sha256)), |uid| contents.get(&uid).copied());
            let Some((content, uids)) = content.and_then(|content| strays.get_mut(&content).map(|uids| (content, uids))) else {
                continue;
            };
            seen.insert(content);
            if let Some(first) = uids.pop() {
                // The place that the server told is proven to be floe's own, and is what goes.
                doubles.extend(row.remote.uid.replace(first));
                row.status = Status::Confirmed;
                moved.push(row);
            }
        }
        // What is left of the same contents came more often than twice, or belongs to others that the server told no place of.
        for content in seen {
            let uids = strays.remove(&content).unwrap_or_default();
            doubles.extend(uids.into_iter().skip(sent.unplaced.get(&content).copied().unwrap_or_default()));
        }
        doubles.sort_unstable();
        if doubles.is_empty() {
            return Ok(());
        }
        // Where single messages cannot be removed, others that are marked as deleted would go with them.
        let aside = if self.connection.has("UIDPLUS") {
            Vec::new()
        } else {
            self.within(|connection| connection.marked_deleted(&doubles))?
        };
        self.collection.removing = Removing { going: doubles, aside };
        let moved = moved.iter().map(Change::Update);
        let changes: Vec<Change<'_>> = moved.chain([Change::Removing(&self.collection.removing)]).collect();
        self.journal.change(self.collection.id, true, &changes)?;
        self.finish_removal()
    }

    /// Takes out what the journal says is going, in this run or in one before it that broke off.
    pub(super) fn finish_removal(&mut self) -> Result<()> {
        let Removing { going, aside } = std::mem::take(&mut self.collection.removing);
        if going.is_empty() {
            return Ok(());
        }
        let removed = self.within(|connection| {
            connection.mark_deleted(&aside, false)?;
            let removed = connection.remove(&going);
            if removed.as_ref().is_err_and(|e| e.kind() != Kind::Refused) {
                return removed.map(Ok);
            }
            connection.mark_deleted(&aside, true)?;
            Ok(removed)
        })?;
        self.journal.change(self.collection.id, false, &[Change::Removing(&Removing::default())])?;
        let words = match removed {
            Ok(()) => "messages that a broken line had held back came twice, and were taken out once".to_owned(),
            Err(e) => format!("messages are there twice, for a broken line had held them back: {e}"),
        };
        self.monitor.note(&format!("{}: {} {words}", self.job.to.join("/"), going.len()));
        Ok(())
    }
}

/// What the journal knows to have been sent since the folder is in doubt.
#[derive(Default)]
struct SentSince {
    /// What was sent again.
    again: Vec<Row>,
    /// Where messages are.
    places: BTreeSet<u32>,
    /// How many others the server took of a content without saying where.
    unplaced: HashMap<Content, usize>,
}

/// The UIDs that a folder has.
#[derive(Default)]
struct Uids(Vec<u32>);

impl Messages for Uids {
    fn piece(&mut self, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn message(&mut self, message: Fetched) -> Result<()> {
        self.0.push(message.uid);
        Ok(())
    }
}
