//! The journal: what was sent to a target and what came of it, written before anything is sent. One SQLite file, specified in
//! docs/journal.md.
//!
//! It serves every kind of collection: mail is known by UID below UIDVALIDITY, what goes by DAV by href and ETag.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};

use super::plan::{Part, Route};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionPath, Digest};

/// The version of tables that this code writes and reads.
const VERSION: i64 = 3;

const TABLES: &str = "
CREATE TABLE collection (
  id       INTEGER PRIMARY KEY,
  target   TEXT NOT NULL,
  user     TEXT NOT NULL COLLATE NOCASE,
  account  TEXT NOT NULL,
  kind     TEXT NOT NULL,
  path     TEXT NOT NULL,
  remote   TEXT NOT NULL,
  validity INTEGER,
  floor    INTEGER,
  doubt    INTEGER,
  going    TEXT NOT NULL DEFAULT '',
  aside    TEXT NOT NULL DEFAULT '',
  next     INTEGER NOT NULL DEFAULT 0,
  UNIQUE (target, user, account, kind, path)
) STRICT;
CREATE TABLE item (
  collection INTEGER NOT NULL REFERENCES collection (id),
  number     INTEGER NOT NULL,
  key        BLOB NOT NULL,
  sha256     BLOB NOT NULL,
  size       INTEGER NOT NULL,
  status     INTEGER NOT NULL,
  state      INTEGER NOT NULL,
  uid        INTEGER,
  href       TEXT,
  etag       TEXT,
  reason     TEXT,
  again      INTEGER NOT NULL,
  PRIMARY KEY (collection, number)
) STRICT, WITHOUT ROWID;
";

/// How far an item has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is about to be sent, or was: the target may hold it or not.
    Intent,
    /// The target took it and did not say where it is.
    Sent,
    /// The target holds it at a known place.
    Confirmed,
    /// The target refuses it for good.
    Failed,
    /// It was there and floe has removed it or moved it elsewhere.
    Gone,
}

impl Status {
    fn number(self) -> i64 {
        match self {
            Status::Intent => 0,
            Status::Sent => 1,
            Status::Confirmed => 2,
            Status::Failed => 3,
            Status::Gone => 4,
        }
    }

    fn of(number: i64) -> Option<Self> {
        [Status::Intent, Status::Sent, Status::Confirmed, Status::Failed, Status::Gone]
            .into_iter()
            .find(|status| status.number() == number)
    }
}

/// Which placement of a collection it is: the same in every snapshot that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub [u8; 16]);

impl Key {
    /// The n-th placement, from 0, of an item in one collection: two placements of one item have two keys.
    pub fn of_item(item: &Digest, n: u32) -> Self {
        let mut all = item.as_bytes().to_vec();
        all.extend(n.to_le_bytes());
        Key(if n == 0 { item.half() } else { Digest::of(&all).half() })
    }

    /// An object that has a name of its own in its collection: a UID of a calendar, a path of a file.
    pub fn of_name(name: &str) -> Self {
        Key(Digest::of(name.as_bytes()).half())
    }
}

/// Where an item is on the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remote {
    /// IMAP UID.
    pub uid: Option<u32>,
    /// Path of a DAV resource.
    pub href: Option<String>,
    /// ETag that the target gave.
    pub etag: Option<String>,
}

/// A row: one placement on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its number in the collection, from 0, in the order in which items were first sent.
    pub number: u32,
    /// Which placement.
    pub key: Key,
    /// SHA-256 of the bytes that were sent.
    pub sha256: Digest,
    /// Their number.
    pub size: u64,
    /// How far it has come.
    pub status: Status,
    /// What the target was told besides the bytes (flags, keywords), in a form that only equality is asked of.
    pub state: u64,
    /// Where it is.
    pub remote: Remote,
    /// Why it failed.
    pub reason: Option<String>,
    /// Was it sent again while what was sent before may still arrive?
    pub again: bool,
}

/// A collection of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Its number in the journal.
    pub id: i64,
    /// Its name on the target: a mailbox as on the wire, the href of a DAV collection.
    pub remote: String,
    /// UIDVALIDITY under which the UIDs hold.
    pub validity: Option<u32>,
    /// Whatever of this collection is not confirmed has at least this UID.
    pub floor: Option<u32>,
    /// From this UID on something may lie that was sent before a break and arrived after it.
    pub doubt: Option<u32>,
    /// What is being taken out of it.
    pub removing: Removing,
    /// The number of the next row.
    pub next: u32,
}

/// Messages that are being taken out of a folder, by their UIDs in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removing {
    /// Those that go.
    pub going: Vec<u32>,
    /// Others, which are marked as deleted and stay: meanwhile they are not, or they would go as well.
    pub aside: Vec<u32>,
}

/// Which collection is meant.
#[derive(Clone, Copy, Debug)]
pub struct CollectionName<'a> {
    /// Of which account, and where that goes.
    pub route: Route<'a>,
    /// Which part of the collection: a calendar that mixes kinds goes to several places.
    pub part: Part,
    /// Path at the source.
    pub path: &'a CollectionPath,
}

/// A change of rows that belong together, made as a whole or not at all.
#[derive(Debug)]
pub enum Change<'a> {
    /// A new row, before its item is sent.
    Insert(&'a Row),
    /// The row is now like this.
    Update(&'a Row),
    /// UIDVALIDITY and floor of the collection.
    Mark(u32, u32),
    /// From which UID on the collection is in doubt; none when it is no more, and nothing in it was sent again.
    Doubt(Option<u32>),
    /// What is about to be taken out of the collection.
    Removing(&'a Removing),
}

/// The journal of one run, open for writing; may be shared between threads.
pub struct Journal {
    connection: Mutex<Connection>,
    /// Does SQLite wait for the disk at each commit now? Looked at and changed only by who holds the connection.
    is_durable: AtomicBool,
    path: PathBuf,
    /// Held while the journal is open.
    _lock: Option<File>,
}

fn failed(path: &Path, e: rusqlite::Error) -> Error {
    use rusqlite::ErrorCode;
    // A full disk shows in other ways too, as when SQLite cannot make its shared memory.
    let vague = matches!(e.sqlite_error_code(), Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen));
    let full = matches!(e.sqlite_error_code(), Some(ErrorCode::DiskFull)) || (vague && is_full(path));
    let foreign = matches!(e.sqlite_error_code(), Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt));
    if full {
        return full_disk(path).because(e);
    }
    let what = if foreign { "the journal is damaged, or is none" } else { "the journal cannot be read or written" };
    let error = Error::new(if foreign { Kind::Damage } else { Kind::Storage }, what).with("path", path.display()).because(e);
    if foreign { error.hint("move it away only if the target is empty: without it everything is sent again") } else { error }
}

fn full_disk(path: &Path) -> Error {
    Error::new(Kind::Storage, "the disk is full under the journal")
        .with("path", path.display())
        .hint("free some space on that disk, then run the same command again: nothing is sent twice")
}

/// Has the disk on which a file lies no room for more than a few pages?
fn is_full(path: &Path) -> bool {
    const FEW_BYTES: u64 = 64 << 10;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    rustix::fs::statvfs(folder).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < FEW_BYTES)
}

impl Journal {
    /// Opens the journal for writing, and makes it where there is none.
    ///
    /// # Errors
    /// `Kind::Locked` when another process writes to it, `Kind::Storage` or `Kind::Damage` when it cannot be used.
    pub fn open(path: &Path) -> Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(".lock");
        let lock_path = PathBuf::from(name);
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(|e| match e.kind() {
            std::io::ErrorKind::StorageFull => full_disk(path).because(e),
            _ => Error::io(Kind::Storage, "cannot open the lock of the journal", &lock_path, e),
        })?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| Error::new(Kind::Locked, "another floe writes to the journal").with("path", path.display()))?;
        let connection = Connection::open(path).map_err(|e| failed(path, e))?;
        let journal = Journal::over(connection, path, Some(lock));
        journal.set_up()?;
        Ok(journal)
    }

    /// Opens the journal for looking only, also while another process writes to it.
    ///
    /// # Errors
    /// As [`Journal::open`], and `Kind::Usage` when there is none.
    pub fn look(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Err(Error::usage("there is no journal: nothing was replayed yet").with("path", path.display()));
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|e| failed(path, e))?;
        let journal = Journal::over(connection, path, None);
        journal.check_version()?;
        Ok(journal)
    }

    fn over(connection: Connection, path: &Path, lock: Option<File>) -> Self {
        // SQLite's own beginning is FULL.
        Journal { connection: Mutex::new(connection), is_durable: AtomicBool::new(true), path: path.to_owned(), _lock: lock }
    }

    fn db(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn version(&self) -> Result<i64> {
        self.db().pragma_query_value(None, "user_version", |row| row.get(0)).map_err(|e| failed(&self.path, e))
    }

    fn set_up(&self) -> Result<()> {
        if self.version()? == 0 {
            let made = {
                let mut db = self.db();
                let make = |db: &mut Connection| {
                    db.pragma_update(None, "journal_mode", "WAL")?;
                    db.pragma_update(None, "synchronous", "FULL")?;
                    let tx = db.transaction()?;
                    tx.execute_batch(TABLES)?;
                    tx.pragma_update(None, "user_version", VERSION)?;
                    tx.commit()
                };
                make(&mut db)
            };
            made.map_err(|e| failed(&self.path, e))?;
        }
        self.check_version()
    }

    fn check_version(&self) -> Result<()> {
        let version = self.version()?;
        if version == VERSION {
            return Ok(());
        }
        Err(Error::damage("this journal was not written by this version of floe")
            .with("path", self.path.display())
            .with("version", version))
    }

    /// The collection, made where it is not there yet.
    ///
    /// # Errors
    /// `Kind::Storage` when the journal cannot be written; `Kind::Usage` when the collection went elsewhere before.
    pub fn collection(&self, name: CollectionName<'_>, remote: &str) -> Result<Collection> {
        if let Some(found) = self.find(name)? {
            if found.remote != remote {
                return Err(Error::usage("this folder was replayed to another place before")
                    .with("folder", name.path)
                    .with("before", &found.remote)
                    .with("now", remote)
                    .hint("undo the change in the plan, or use a new journal"));
            }
            return Ok(found);
        }
        let sql = "INSERT INTO collection (target, user, account, kind, path, remote) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let Route { account, target, user } = name.route;
        let values = params![target, user, account, name.part.word(), name.path.to_string(), remote];
        self.db().execute(sql, values).map_err(|e| failed(&self.path, e))?;
        self.find(name)?.ok_or_else(|| Error::new(Kind::Internal, "a row of the journal is gone"))
    }

    /// The collection, if it is there.
    ///
    /// # Errors
    /// `Kind::Storage` when the journal cannot be read.
    pub fn find(&self, name: CollectionName<'_>) -> Result<Option<Collection>> {
        let sql = "SELECT id, remote, validity, floor, next, doubt, going, aside FROM collection \
                   WHERE target=?1 AND user=?2 AND account=?3 AND kind=?4 AND path=?5";
        let Route { account, target, user } = name.route;
        let values = params![target, user, account, name.part.word(), name.path.to_string()];
        let read = |row: &rusqlite::Row<'_>| {
            let (id, remote, validity) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let removing = Removing { going: read_uids(row, 6)?, aside: read_uids(row, 7)? };
            Ok(Collection { id, remote, validity, floor: row.get(3)?, next: row.get(4)?, doubt: row.get(5)?, removing })
        };
        self.db().query_row(sql, values, read).optional().map_err(|e| failed(&self.path, e))
    }

    /// The collections of an account that went there: number, kind and path at the source.
    ///
    /// # Errors
    /// `Kind::Storage` when the journal cannot be read.
    pub fn collections(&self, route: Route<'_>) -> Result<Vec<(i64, String, String)>> {
        let db = self.db();
        let read = || -> rusqlite::Result<Vec<(i64, String, String)>> {
            let sql = "SELECT id, kind, path FROM collection WHERE target=?1 AND user=?2 AND account=?3 ORDER BY id";
            let mut statement = db.prepare(sql)?;
            statement
                .query_map([route.target, route.user, route.account], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        };
        read().map_err(|e| failed(&self.path, e))
    }

    /// The name of a collection on the target, and the UIDVALIDITY under which its UIDs hold.
    ///
    /// # Errors
    /// `Kind::Storage` when the journal cannot be read.
    pub fn place(&self, collection: i64) -> Result<(String, Option<u32>)> {
        let sql = "SELECT remote, validity FROM collection WHERE id=?1";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        self.db().query_row(sql, [collection], read).map_err(|e| failed(&self.path, e))
    }

    /// Hands the rows of a collection to `each`, in the order of their numbers. The journal must not be used meanwhile.
    ///
    /// # Errors
    /// What `each` gives, which ends it at once; `Kind::Storage` when the journal cannot be read.
    pub fn rows(&self, collection: i64, each: &mut dyn FnMut(Row) -> Result<()>) -> Result<()> {
        let sql = "SELECT number, key, sha256, size, status, state, uid, href, etag, reason, again FROM item WHERE collection=?1 ORDER BY number";
        let db = self.db();
        let mut statement = db.prepare_cached(sql).map_err(|e| failed(&self.path, e))?;
        let mut rows = statement.query([collection]).map_err(|e| failed(&self.path, e))?;
        while let Some(row) = rows.next().map_err(|e| failed(&self.path, e))? {
            each(read_row(row).map_err(|e| failed(&self.path, e))?)?;
        }
        Ok(())
    }

    /// One row.
    ///
    /// # Errors
    /// `Kind::Storage` when the journal cannot be read; `Kind::Internal` when the row is not there.
    pub fn row(&self, collection: i64, number: u32) -> Result<Row> {
        let sql = "SELECT number, key, sha256, size, status, state, uid, href, etag, reason, again FROM item WHERE collection=?1 AND number=?2";
        let db = self.db();
        let row = db.prepare_cached(sql).and_then(|mut s| s.query_row(params![collection, number], read_row).optional());
        row.map_err(|e| failed(&self.path, e))?.ok_or_else(|| Error::new(Kind::Internal, "a row of the journal is gone"))
    }

    /// How many rows of a collection have each status.
    ///
    /// # Errors
    /// `Kind::Storage` when the journal cannot be read.
    pub fn counts(&self, collection: i64) -> Result<Vec<(Status, u64)>> {
        let db = self.db();
        let read = || -> rusqlite::Result<Vec<(Option<Status>, u64)>> {
            let mut statement = db.prepare("SELECT status, count(*) FROM item WHERE collection=?1 GROUP BY status")?;
            statement
                .query_map([collection], |row| Ok((Status::of(row.get(0)?), row.get::<_, i64>(1)?.cast_unsigned())))?
                .collect()
        };
        let counts = read().map_err(|e| failed(&self.path, e))?;
        Ok(counts.into_iter().filter_map(|(status, n)| Some((status?, n))).collect())
    }

    /// Makes changes of one collection, all or none. Where a lost power supply must not undo them, `durable` is needed; a killed
    /// process undoes nothing in any case, and what a lost power supply undoes is the newest changes only.
    ///
    /// # Errors
    /// `Kind::Storage`: then nothing is changed.
    pub fn change(&self, collection: i64, durable: bool, changes: &[Change<'_>]) -> Result<()> {
        let mut db = self.db();
        let make = |db: &mut Connection| {
            if self.is_durable.load(Ordering::Relaxed) != durable {
                db.pragma_update(None, "synchronous", if durable { "FULL" } else { "NORMAL" })?;
                self.is_durable.store(durable, Ordering::Relaxed);
            }
            let tx = db.transaction()?;
            changes.iter().try_for_each(|change| make_change(&tx, collection, change))?;
            let numbers =
                changes.iter().filter_map(|change| if let Change::Insert(row) = change { Some(row.number) } else { None });
            if let Some(last) = numbers.max() {
                let next = params![collection, i64::from(last) + 1];
                tx.prepare_cached("UPDATE collection SET next=max(next, ?2) WHERE id=?1")?.execute(next)?;
            }
            tx.commit()
        };
        make(&mut db).map_err(|e| failed(&self.path, e))
    }
}

fn make_change(tx: &Connection, collection: i64, change: &Change<'_>) -> rusqlite::Result<()> {
    match change {
        Change::Insert(row) => {
            let sql = "INSERT INTO item (collection, number, key, sha256, size, status, state, uid, href, etag, reason, again)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
            put_row(tx, sql, collection, row)?;
        }
        Change::Update(row) => {
            let sql = "UPDATE item SET key=?3, sha256=?4, size=?5, status=?6, state=?7, uid=?8, href=?9, etag=?10, reason=?11,
                       again=?12
                       WHERE collection=?1 AND number=?2";
            put_row(tx, sql, collection, row)?;
        }
        Change::Mark(validity, floor) => {
            let mark = params![collection, validity, floor];
            tx.prepare_cached("UPDATE collection SET validity=?2, floor=?3 WHERE id=?1")?.execute(mark)?;
        }
        Change::Doubt(from) => {
            tx.prepare_cached("UPDATE collection SET doubt=?2 WHERE id=?1")?.execute(params![collection, from])?;
            if from.is_none() {
                tx.prepare_cached("UPDATE item SET again=0 WHERE collection=?1 AND again=1")?.execute([collection])?;
            }
        }
        Change::Removing(Removing { going, aside }) => {
            let sql = "UPDATE collection SET going=?2, aside=?3 WHERE id=?1";
            tx.prepare_cached(sql)?.execute(params![collection, uids_text(going), uids_text(aside)])?;
        }
    }
    Ok(())
}

fn uids_text(uids: &[u32]) -> String {
    uids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

fn read_uids(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<Vec<u32>> {
    let text: String = row.get(column)?;
    let uids = text.split_ascii_whitespace().map(str::parse).collect::<Result<_, std::num::ParseIntError>>();
    uids.map_err(|e| rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, e.into()))
}

fn put_row(tx: &Connection, sql: &str, collection: i64, row: &Row) -> rusqlite::Result<()> {
    let Row { number, key, sha256, size, status, state, remote, reason, again } = row;
    tx.prepare_cached(sql)?.execute(params![
        collection,
        number,
        &key.0[..],
        &sha256.as_bytes()[..],
        size.cast_signed(),
        status.number(),
        state.cast_signed(),
        remote.uid,
        remote.href,
        remote.etag,
        reason,
        again
    ])?;
    Ok(())
}

fn read_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let status: i64 = row.get(4)?;
    Ok(Row {
        number: row.get(0)?,
        key: Key(row.get(1)?),
        sha256: Digest::from_bytes(row.get(2)?),
        size: row.get::<_, i64>(3)?.cast_unsigned(),
        status: Status::of(status).ok_or(rusqlite::Error::IntegralValueOutOfRange(4, status))?,
        state: row.get::<_, i64>(5)?.cast_unsigned(),
        remote: Remote { uid: row.get(6)?, href: row.get(7)?, etag: row.get(8)? },
        reason: row.get(9)?,
        again: row.get(10)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: u32) -> Row {
        let item = Digest::of(&number.to_le_bytes());
        let remote = Remote::default();
        let key = Key::of_item(&item, 0);
        Row {
            number,
            key,
            sha256: item,
            size: u64::MAX,
            status: Status::Intent,
            state: u64::MAX,
            remote,
            reason: None,
            again: false,
        }
    }

    fn open(folder: &Path) -> (Journal, Collection) {
        let journal = Journal::open(&folder.join("j")).unwrap();
        let path = CollectionPath::new(["a/b", "ü"]);
        let route = |user| Route { account: "anna", target: "imaps://h", user };
        let name = |user| CollectionName { route: route(user), part: Part::Mail, path: &path };
        let collection = journal.collection(name("anna@x"), "a").unwrap();
        assert_eq!(journal.collection(name("Anna@X"), "b").unwrap_err().kind(), Kind::Usage);
        assert!(journal.find(name("ann@x")).unwrap().is_none() && journal.collections(route("ann@x")).unwrap().is_empty());
        (journal, collection)
    }

    #[test]
    fn rows_come_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, collection) = open(folder.path());
        let mut rows = [row(0), row(1)];
        journal.change(collection.id, true, &[Change::Mark(7, 1), Change::Insert(&rows[0]), Change::Insert(&rows[1])]).unwrap();
        rows[1].status = Status::Confirmed;
        rows[1].remote = Remote { uid: Some(u32::MAX), href: Some("/x".into()), etag: Some("\"1\"".into()) };
        journal.change(collection.id, false, &[Change::Update(&rows[1])]).unwrap();
        drop(journal);
        let (journal, collection) = open(folder.path());
        assert_eq!((collection.validity, collection.floor, collection.next), (Some(7), Some(1), 2));
        let mut read = Vec::new();
        journal
            .rows(collection.id, &mut |row| {
                read.push(row);
                Ok(())
            })
            .unwrap();
        assert_eq!(read, rows);
        assert_eq!(journal.counts(collection.id).unwrap(), [(Status::Intent, 1), (Status::Confirmed, 1)]);
        let look = Journal::look(&folder.path().join("j")).unwrap();
        assert_eq!(look.row(collection.id, 1).unwrap(), rows[1]);
    }

    #[test]
    fn a_change_that_fails_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, collection) = open(folder.path());
        let first = row(0);
        assert!(journal.change(collection.id, false, &[Change::Insert(&first), Change::Insert(&first)]).is_err());
        assert_eq!(journal.counts(collection.id).unwrap(), []);
    }

    #[test]
    fn a_second_writer_is_sent_away() {
        let folder = tempfile::tempdir().unwrap();
        let (_journal, _) = open(folder.path());
        assert_eq!(Journal::open(&folder.path().join("j")).err().unwrap().kind(), Kind::Locked);
    }

    #[test]
    fn what_is_no_journal_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("j"), "no database at all, but long enough to look like one".repeat(50)).unwrap();
        assert_eq!(Journal::open(&folder.path().join("j")).err().unwrap().kind(), Kind::Damage);
        assert_eq!(Journal::look(&folder.path().join("k")).err().unwrap().kind(), Kind::Usage);
    }

    #[test]
    fn two_placements_of_one_item_have_two_keys() {
        let item = Digest::of(b"x");
        assert_ne!(Key::of_item(&item, 0), Key::of_item(&item, 1));
        assert_ne!(Key::of_name("x"), Key::of_item(&item, 1));
    }
}
