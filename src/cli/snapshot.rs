//! `floe snapshot`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::output::{Output, Verdict};
use super::unlock::KeyArgs;
use crate::archive::{Options, Root, Snapshot, Writer};
use crate::directory::{self, Beside, Directory};
use crate::error::{Error, Result};
use crate::model::{Digest, Ledger};
use crate::monitor::Terminal;
use crate::report::{self, Outcome};
use crate::snapshot::{self, Done};
use crate::source::{Discovery, Format, discover};
use crate::vault::{Protection, Recipient};

/// Capture mail stores and files into an archive
///
/// Reads Maildirs, mbox files and folders of them, Thunderbird folders, Google Takeout mail, trees of messages, calendars,
/// address books, and other files as they are. A PATH may hold one account or a tree of them. The source is never written to; what cannot be read is
/// listed and counted, and the rest goes on. Can be repeated: what is unchanged is not read again, what the archive has already
/// is not stored again, and earlier snapshots stay as they are.
///
/// With --recipient or --passphrase-file a new archive is encrypted (age): only who has a key of a recipient, or the passphrase,
/// can read it; later snapshots need the key too, to know again what is there.
///
/// Example: floe snapshot --account anna@acme.example=mail/anna --archive acme.floe
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Stores, or trees of accounts
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Folder of the archive; made when it is not there
    #[arg(long, value_name = "DIR")]
    archive: PathBuf,
    /// The format of all paths, where they could be two things
    #[arg(long = "as", value_name = "FORMAT")]
    format: Option<Format>,
    /// A store and the account that it belongs to; may be given again
    #[arg(long = "account", value_name = "NAME=PATH", value_parser = named)]
    accounts: Vec<(String, PathBuf)>,
    /// A file, or a folder of files, that say who there is: CSV, LDIF, Dovecot passwd-file, ACL, Sieve; with ADDRESS= before it
    /// for one account's own; may be given again
    #[arg(long = "directory", value_name = "[ADDRESS=]FILE")]
    directory: Vec<directory::Input>,
    /// zstd level for text; headers take five more, attachments never more than 3
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
    /// Read unchanged files again too, in case one changed without a new time or size
    #[arg(long)]
    reread: bool,
    /// Encrypt a new archive for this age recipient (age1...), or for those in a file of one a line; may be given again. Later
    /// snapshots are for the same ones, unless others are named
    #[arg(long = "recipient", value_name = "RECIPIENT|FILE")]
    recipients: Vec<String>,
    /// Add to an encrypted archive without its key: nothing in it can be known again, so everything is stored again
    #[arg(long)]
    store_again: bool,
    #[command(flatten)]
    key: KeyArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Write a report for auditors into this folder: HTML, JSON and CSV
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("write it as NAME=PATH")?;
    Ok((name.to_owned(), PathBuf::from(path)))
}

/// The result as JSON.
#[derive(Serialize)]
struct Report<'a> {
    snapshot: &'a str,
    sha256: Digest,
    tree: Digest,
    new_objects: u64,
    ledger: &'a Ledger,
    /// For whom it is encrypted.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    recipients: &'a [String],
    accounts: BTreeMap<&'a str, &'a Ledger>,
    skipped: u64,
    failed: u64,
    unbalanced: &'a [String],
    verdict: String,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let found = discover(&args.paths, &args.accounts, args.format)?;
    if found.accounts.is_empty() {
        return Err(Error::usage("no account was found").hint("name a path that holds mail, or --account NAME=PATH"));
    }
    let directory = directory_of(&args.directory, &found)?;
    let protection = Protection {
        keys: args.key.keys(&args.archive)?,
        recipients: Recipient::all(&args.recipients)?,
        store_again: args.store_again,
        key_file: None,
    };
    let mut writer = Writer::open_with(&args.archive, args.level, &protection)?;
    let recipients_before = writer.previous().map(|p| p.recipients().to_vec()).unwrap_or_default();
    let options = Options { level: Some(args.level), reread: args.reread };
    let monitor = Terminal::new(args.json).listing("all of them are listed in the archive");
    let done = snapshot::run(&found, directory.as_ref(), &mut writer, options, &monitor)?;
    let reported = args.report.as_ref().map(|folder| {
        report::of_snapshot(folder, (writer.archive(), &args.archive), &done.snapshot, options_of(args, &done.snapshot.root))
    });
    let reported = reported.transpose()?;
    let l = &done.snapshot.root.ledger;
    let verdict = match reported.map(|report| report.verdict) {
        _ if l.failed_total() > 0 => Verdict::WithExceptions(format!("{} items could not be captured", l.failed_total())),
        Some(told) if told.result == Outcome::PassWithExceptions => Verdict::WithExceptions(told.reasons.join("; ")),
        _ => Verdict::Pass(format!("{} items, {} bytes", l.captured, l.bytes)),
    };
    if args.json {
        out.json(&result(&done, &verdict))?;
    } else {
        out.line(format_args!("snapshot {} with {} new objects", done.snapshot.id, done.new_objects))?;
        let (skipped, failed) = (l.skipped_total(), l.failed_total());
        out.line(format_args!("found {} = captured {} + skipped {skipped} + failed {failed}", l.found, l.captured))?;
        if !done.snapshot.root.recipients.is_empty() {
            out.line(format_args!("encrypted for {}", done.snapshot.root.recipients.join(", ")))?;
            for left_out in recipients_before.iter().filter(|r| !done.snapshot.root.recipients.contains(r)) {
                out.line(format_args!("note: not for {left_out}, who can read the snapshot before"))?;
            }
        }
        if let Some(d) = &directory {
            let (accounts, domains, odd) = (d.accounts.len(), d.domains.len(), d.unmapped.len() + d.contradictions.len());
            out.line(format_args!("directory of {accounts} accounts in {domains} domains, {odd} entries to look at"))?;
        }
    }
    if !done.unbalanced.is_empty() {
        return Err(Error::source(format!("the ledger does not balance: {}", done.unbalanced.join("; ")))
            .hint("the snapshot is kept; compare it with the source before you rely on it"));
    }
    if args.json { Ok(verdict.code()) } else { out.verdict(&verdict) }
}

/// The options in use, for the report; none of them is a secret.
fn options_of(args: &Args, root: &Root) -> BTreeMap<String, String> {
    let paths = |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    let accounts: Vec<String> = args.accounts.iter().map(|(name, path)| format!("{name}={}", path.display())).collect();
    let directory: Vec<PathBuf> = args.directory.iter().map(|input| input.path.clone()).collect();
    report::options([
        ("level", args.level.to_string()),
        ("reread", args.reread.to_string()),
        ("paths", paths(&args.paths)),
        ("account", accounts.join(", ")),
        ("directory", paths(&directory)),
        ("as", args.format.map(|format| format.to_string()).unwrap_or_default()),
        ("encrypted for", root.recipients.join(", ")),
    ])
}

/// The directory that the named files and those beside the mail make; none where there are no such files.
fn directory_of(inputs: &[directory::Input], found: &Discovery) -> Result<Option<Directory>> {
    let beside: Vec<Beside> = found.accounts.iter().flat_map(directory::beside).collect();
    if inputs.is_empty() && beside.is_empty() {
        return Ok(None);
    }
    let stores: Vec<String> = found.accounts.iter().map(|a| a.account.clone()).collect();
    directory::read(inputs, &beside, &stores).map(Some)
}

fn result<'a>(done: &'a Done, verdict: &Verdict) -> Report<'a> {
    let Snapshot { id, digest, root } = &done.snapshot;
    let ledger = &root.ledger;
    Report {
        snapshot: id,
        sha256: *digest,
        tree: root.tree,
        new_objects: done.new_objects,
        ledger,
        recipients: &root.recipients,
        accounts: root.accounts.iter().map(|a| (a.account.as_str(), &a.ledger)).collect(),
        skipped: ledger.skipped_total(),
        failed: ledger.failed_total(),
        unbalanced: &done.unbalanced,
        verdict: if done.unbalanced.is_empty() { verdict.words() } else { "FAIL: the ledger does not balance".to_owned() },
    }
}
