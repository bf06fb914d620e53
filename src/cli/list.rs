//! `floe list`.

use std::path::PathBuf;

use serde::Serialize;

use super::output::{Output, shown_time};
use super::unlock::KeyArgs;
use crate::archive::{AccountEntry, Archive, CollectionEntry, Snapshot};
use crate::error::{Error, Result};
use crate::export::Selection;
use crate::model::{CollectionHead, CollectionPath, Digest, Exception, Ledger, Outcome, Placement, printable};
use crate::monitor::{Monitor as _, Terminal};

/// Show what an archive holds
///
/// Without filters: the snapshots, and of the newest one the accounts and collections with their counts and bytes. With
/// --collection the items: date in UTC, size, SHA-256, flags and keywords, Message-ID or UID or path. With --exceptions what
/// was skipped or failed when the snapshot was taken, and why. Items and exceptions in JSON are an object a line.
///
/// Example: floe list acme.floe --account anna@acme.example --collection INBOX
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// Any unambiguous part of a snapshot's name; the newest otherwise
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,
    /// Only this account; may be given again
    #[arg(long = "account", value_name = "NAME")]
    accounts: Vec<String>,
    /// The items of this collection and those below it; may be given again
    #[arg(long = "collection", value_name = "NAME")]
    collections: Vec<String>,
    /// Only the snapshots
    #[arg(long, conflicts_with_all = ["accounts", "collections", "exceptions", "snapshot"])]
    snapshots: bool,
    /// What was skipped or failed
    #[arg(long)]
    exceptions: bool,
    /// The directory: domains, accounts, members, rights and rules, and what files say against one another
    #[arg(long, conflicts_with_all = ["accounts", "collections", "exceptions", "snapshots"])]
    directory: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    key: KeyArgs,
}

/// A snapshot, for JSON.
#[derive(Serialize)]
struct SnapshotLine<'a> {
    snapshot: &'a str,
    sha256: Digest,
    created: jiff::Timestamp,
    previous: Option<Digest>,
    tree: Digest,
    accounts: usize,
    ledger: &'a Ledger,
}

impl<'a> SnapshotLine<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let Snapshot { id, digest, root } = snapshot;
        let (accounts, ledger) = (root.accounts.len(), &root.ledger);
        SnapshotLine {
            snapshot: id,
            sha256: *digest,
            created: root.created,
            previous: root.previous,
            tree: root.tree,
            accounts,
            ledger,
        }
    }
}

/// A collection, for JSON.
#[derive(Serialize)]
struct CollectionLine<'a> {
    #[serde(flatten)]
    head: &'a CollectionHead,
    name: String,
    format: &'a str,
    items: u64,
    ledger: &'a Ledger,
}

/// An account, for JSON.
#[derive(Serialize)]
struct AccountLine<'a> {
    account: &'a str,
    ledger: &'a Ledger,
    collections: Vec<CollectionLine<'a>>,
}

/// A placement, for JSON.
#[derive(Serialize)]
struct ItemLine<'a> {
    account: &'a str,
    collection: &'a str,
    #[serde(flatten)]
    placement: &'a Placement,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let archive = args.key.open(&args.archive)?;
    if args.snapshots {
        return snapshots(&archive.snapshots()?, args.json, out);
    }
    let snapshot = archive.snapshot(args.snapshot.as_deref())?;
    if args.directory {
        return super::directory::list(&archive, &snapshot, args.json, out);
    }
    let mut listing = Listing { archive: &archive, snapshot: &snapshot, args, damaged: 0 };
    let accounts = listing.accounts()?;
    if args.exceptions {
        listing.exceptions(&accounts, out)?;
    } else if !args.collections.is_empty() {
        listing.items(&accounts, out)?;
    } else {
        listing.overview(&accounts, out)?;
    }
    Ok(u8::from(listing.damaged > 0))
}

fn snapshots(all: &[Snapshot], json: bool, out: &mut Output<'_>) -> Result<u8> {
    if json {
        let lines: Vec<SnapshotLine<'_>> = all.iter().map(SnapshotLine::of).collect();
        out.json(&lines)?;
        return Ok(0);
    }
    all.iter().try_for_each(|s| out.line(words_of(s)))?;
    Ok(0)
}

fn words_of(snapshot: &Snapshot) -> String {
    let l = &snapshot.root.ledger;
    let odd = l.skipped_total() + l.failed_total();
    format!(
        "{}  {} accounts {:>8} items {:>13} bytes {odd:>6} exceptions",
        snapshot.id,
        snapshot.root.accounts.len(),
        l.captured,
        l.bytes
    )
}

/// An account with its collections.
type Account<'a> = (&'a AccountEntry, Vec<CollectionEntry>);

struct Listing<'a> {
    archive: &'a Archive,
    snapshot: &'a Snapshot,
    args: &'a Args,
    /// Listings that could not be read to their end.
    damaged: u64,
}

impl<'a> Listing<'a> {
    /// The accounts and collections that are asked for.
    fn accounts(&mut self) -> Result<Vec<Account<'a>>> {
        let collections: Vec<CollectionPath> = self.args.collections.iter().map(|name| CollectionPath::parse(name)).collect();
        let wanted = Selection { accounts: self.args.accounts.clone(), collections, ..Selection::default() };
        let mut found = Vec::new();
        for account in self.snapshot.root.accounts.iter().filter(|a| wanted.wants_account(&a.account)) {
            let mut entries = match self.archive.collections(account) {
                Ok(entries) => entries,
                Err(e) => {
                    self.damaged(&account.account, &e);
                    Vec::new()
                }
            };
            entries.retain(|c| wanted.wants_collection(&c.head.path));
            found.push((account, entries));
        }
        let nothing = found.iter().all(|(_, entries)| entries.is_empty());
        if self.damaged == 0
            && (found.is_empty() && !self.args.accounts.is_empty() || nothing && !self.args.collections.is_empty())
        {
            return Err(Error::usage("no such account or collection in the snapshot")
                .with("snapshot", &self.snapshot.id)
                .hint("`floe list` without filters names them all"));
        }
        Ok(found)
    }

    /// Says that a listing is damaged; the rest goes on.
    fn damaged(&mut self, place: &str, e: &Error) {
        self.damaged += 1;
        Terminal::new(false).note(&format!("damaged listing: {place}: {e}"));
    }

    fn overview(&self, accounts: &[Account<'_>], out: &mut Output<'_>) -> Result<()> {
        let all = if self.args.snapshot.is_some() { vec![self.snapshot.clone()] } else { self.archive.snapshots()? };
        if self.args.json {
            return self.overview_json(&all, accounts, out);
        }
        all.iter().filter(|s| s.id != self.snapshot.id).try_for_each(|s| out.line(words_of(s)))?;
        out.line(format_args!("snapshot {}", words_of(self.snapshot)))?;
        for (account, collections) in accounts {
            let l = &account.ledger;
            let (items, bytes, odd) = (l.captured, l.bytes, exceptions_of(l));
            out.line(format_args!("{:>9} items {bytes:>13} bytes  {}{odd}", items, printable(&account.account)))?;
            for c in collections {
                let (bytes, odd) = (c.ledger.bytes, exceptions_of(&c.ledger));
                let name = printable(&c.head.path.to_string());
                out.line(format_args!("{:>9} items {bytes:>13} bytes    {:12} {name}{odd}", c.items, c.head.kind))?;
            }
        }
        Ok(())
    }

    fn overview_json(&self, all: &[Snapshot], accounts: &[Account<'_>], out: &mut Output<'_>) -> Result<()> {
        #[derive(Serialize)]
        struct Overview<'a> {
            snapshots: Vec<SnapshotLine<'a>>,
            snapshot: &'a str,
            accounts: Vec<AccountLine<'a>>,
        }
        let accounts = accounts
            .iter()
            .map(|(account, entries)| AccountLine {
                account: &account.account,
                ledger: &account.ledger,
                collections: entries
                    .iter()
                    .map(|c| CollectionLine {
                        head: &c.head,
                        name: c.head.path.to_string(),
                        format: &c.format,
                        items: c.items,
                        ledger: &c.ledger,
                    })
                    .collect(),
            })
            .collect();
        out.json(&Overview { snapshots: all.iter().map(SnapshotLine::of).collect(), snapshot: &self.snapshot.id, accounts })
    }

    fn items(&mut self, accounts: &[Account<'_>], out: &mut Output<'_>) -> Result<()> {
        for (account, collections) in accounts {
            for c in collections {
                let name = c.head.path.to_string();
                if !self.args.json {
                    out.line(format_args!("{}  {}: {} items", printable(&account.account), printable(&name), c.items))?;
                }
                let mut stopped = false;
                let read = self.archive.placements(c, &mut |placement| {
                    let line = ItemLine { account: &account.account, collection: &name, placement: &placement };
                    let done = if self.args.json { out.json(&line) } else { out.line(item(&placement)) };
                    done.inspect_err(|_| stopped = true)
                });
                self.unless_stopped(read, stopped, &format!("{} {name}", account.account))?;
            }
        }
        Ok(())
    }

    fn exceptions(&mut self, accounts: &[Account<'_>], out: &mut Output<'_>) -> Result<()> {
        let mut listings: Vec<(String, Digest)> = Vec::new();
        for (account, collections) in accounts {
            let of_collection = |c: &CollectionEntry| Some((format!("{} {}", account.account, c.head.path), c.exceptions?));
            listings.extend(collections.iter().filter_map(of_collection));
        }
        let all = self.args.accounts.is_empty() && self.args.collections.is_empty();
        listings
            .extend(self.snapshot.root.leftovers.filter(|_| all).map(|digest| ("what belongs to no account".to_owned(), digest)));
        for (place, digest) in listings {
            let mut stopped = false;
            let read = self.archive.exceptions(digest, &mut |e| {
                let done = if self.args.json { out.json(&e) } else { out.line(exception(&e)) };
                done.inspect_err(|_| stopped = true)
            });
            self.unless_stopped(read, stopped, &place)?;
        }
        Ok(())
    }

    /// An error of the archive is noted, one of the output ends it.
    fn unless_stopped(&mut self, read: Result<()>, stopped: bool, place: &str) -> Result<()> {
        match read {
            Err(e) if !stopped => {
                self.damaged(place, &e);
                Ok(())
            }
            other => other,
        }
    }
}

fn exceptions_of(ledger: &Ledger) -> String {
    match (ledger.skipped_total(), ledger.failed_total()) {
        (0, 0) => String::new(),
        (skipped, failed) => format!("  ({skipped} skipped, {failed} failed)"),
    }
}

fn item(p: &Placement) -> String {
    let date = p.date.map_or_else(|| "no date".to_owned(), |d| shown_time(d.at));
    let mut words: Vec<String> = p.flags.iter().map(|flag| format!("\\{flag:?}")).collect();
    words.extend(p.keywords.iter().cloned());
    words.extend(p.labels.iter().map(|label| format!("[{label}]")));
    let name = p.message_id.as_ref().or(p.uid.as_ref()).unwrap_or(&p.source.path);
    format!("{date:19} {:>10} {}  {}  {}", p.size, p.sha256, printable(name), printable(&words.join(" "))).trim_end().to_owned()
}

fn exception(e: &Exception) -> String {
    let word = if e.outcome == Outcome::Failed { "FAILED" } else { "skipped" };
    let place = printable(&format!("{}  {}", e.account, e.collection));
    let detail = if e.detail.is_empty() { String::new() } else { format!(" ({})", printable(&e.detail)) };
    format!("{word:7}  {}  {}: {}{detail}", place.trim(), e.source, printable(&e.reason))
}
