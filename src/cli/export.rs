//! `floe export`.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::output::{Output, Verdict};
use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::export::{Done, Format, Request, Selection, export, moment, moment_after};
use crate::model::{CollectionPath, Digest};
use crate::monitor::Terminal;

/// Take mail, calendars, contacts and files out of an archive
///
/// Writes each account to OUT/ACCOUNT: mail to Maildir, mbox or mail, events to calendars, contacts to contacts, files to
/// files with their paths, times and modes (never setuid). File times are internal dates. Whatever the format,
/// placements.jsonl has a line an item with its file and all that the archive knows of it, and collections.jsonl a line a
/// collection with its true name.
///
/// maildir: Maildir++ as Dovecot keeps it: flags, up to 26 keywords a folder, dates, UIDs and subscriptions. A dot in a
/// folder's name becomes an underscore.
///
/// mbox: a file a folder with mboxrd quoting; the subfolders of Name.mbox lie in Name. Flags and keywords change the bytes:
/// they become Status, X-Status and X-Keywords lines of messages that have none of these. No Content-Length is written.
///
/// eml: the exact bytes, NUMBER-SHA256.eml; flags and keywords are in placements.jsonl.
///
/// Nothing is overwritten and no link in OUT is followed. A file that is there already with the same bytes is counted and left
/// alone, so an export that was cut short goes on when it is started again; another file in its place is an exception (a record
/// of another export stays, and the new one gets the time in its name). What
/// cannot be written, or not be kept in the format, is listed in OUT/exceptions-TIME.jsonl, and the rest goes on.
///
/// Example: floe export acme.floe --out taken-out --format maildir --account anna@acme.example --since 2024-01-01
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// Folder to write to; made when it is not there
    #[arg(long, value_name = "PATH")]
    out: PathBuf,
    /// How mail is written
    #[arg(long, default_value = "eml")]
    format: Format,
    /// Any unambiguous part of a snapshot's name; the newest otherwise
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,
    /// Only this account; may be given again
    #[arg(long = "account", value_name = "NAME")]
    accounts: Vec<String>,
    /// Only this collection and those below it, as `floe list` writes it; may be given again
    #[arg(long = "collection", value_name = "NAME")]
    collections: Vec<String>,
    /// Only items of this day or later: 2024-01-31 or 2024-01-31T12:00:00Z, days in UTC
    #[arg(long, value_name = "DATE", value_parser = moment)]
    since: Option<Timestamp>,
    /// Only items of this day or earlier
    #[arg(long, value_name = "DATE", value_parser = moment_after)]
    until: Option<Timestamp>,
    /// Only this item; may be given again
    #[arg(long = "sha256", value_name = "HEX")]
    objects: Vec<Digest>,
    /// Only mail with this Message-ID; may be given again
    #[arg(long = "message-id", value_name = "ID")]
    message_ids: Vec<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    snapshot: &'a str,
    out: String,
    #[serde(flatten)]
    done: &'a Done,
    verdict: String,
}

pub(super) fn run(args: Args, out: &mut Output<'_>) -> Result<u8> {
    let archive = Archive::open(&args.archive)?;
    if lies_in(&args.out, &args.archive) {
        return Err(Error::usage("the target folder lies in the archive").hint("nothing but floe's own files may be in there"));
    }
    let snapshot = archive.snapshot(args.snapshot.as_deref())?;
    let selection = Selection {
        accounts: args.accounts,
        collections: args.collections.iter().map(|name| CollectionPath::parse(name)).collect(),
        since: args.since,
        before: args.until,
        objects: args.objects,
        message_ids: args.message_ids,
    };
    let request = Request { format: args.format, selection };
    let done = export(&archive, &snapshot, &request, &args.out, &Terminal::new(args.json))?;
    let verdict = verdict(&done, args.format);
    if args.json {
        let report =
            Report { snapshot: &snapshot.id, out: args.out.display().to_string(), done: &done, verdict: verdict.words() };
        out.json(&report)?;
        return Ok(verdict.code());
    }
    if done.renamed > 0 {
        out.line(format_args!("{:>8} collections have other names there: collections.jsonl has both", done.renamed))?;
    }
    for (reason, count) in &done.reasons {
        out.line(format_args!("{count:>8} {reason}"))?;
    }
    if let Some(name) = &done.exceptions {
        out.line(format_args!("listed in {}", args.out.join(name).display()))?;
    }
    out.verdict(&verdict)
}

/// Is `path`, which need not be there yet, the folder or in it?
pub(super) fn lies_in(path: &Path, folder: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else { return false };
    let there = std::path::absolute(path).ok().and_then(|path| path.ancestors().find_map(|p| p.canonicalize().ok()));
    there.is_some_and(|path| path.starts_with(folder))
}

fn verdict(done: &Done, format: Format) -> Verdict {
    let mut what = format!("{} items written, {} bytes", done.written, done.bytes);
    if done.already_there > 0 {
        what = format!("{} items written, {} were there, {} bytes", done.written, done.already_there, done.bytes);
    }
    if done.originals > 0 {
        what.push_str(&format!(", {} original files", done.originals));
    }
    if done.exceptions.is_none() {
        if format == Format::Mbox {
            what.push_str("; in the mboxes From lines are quoted and flags are header lines");
        }
        return Verdict::Pass(what);
    }
    if done.failed > 0 {
        what.push_str(&format!(", {} could not be written", done.failed));
    }
    if done.altered > 0 {
        what.push_str(&format!(", {} could not be kept exactly", done.altered));
    }
    Verdict::WithExceptions(what)
}
