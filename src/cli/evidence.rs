//! `floe evidence`.

use std::fs::File;
use std::path::PathBuf;

use serde::Serialize;

use super::export::lies_in;
use super::output::{Output, Verdict};
use super::record::append;
use super::show::resolve;
use super::unlock::KeyArgs;
use crate::error::{Error, Kind, Result};
use crate::export::dir::digest_of;
use crate::model::{CollectionPath, printable};
use crate::monitor::Terminal;
use crate::proof::events::{Event, EventType, Outcome};
use crate::proof::evidence::{Done, Wanted, evidence};

/// Show one item to somebody who may not see the others
///
/// Writes a zip with the item, a proof that it is in the snapshot's root (RFC 6962), the root, the signatures and time stamps
/// on it, a README for lawyers and a short Python script that checks it all without floe. Of other items nothing is shown; the
/// root names the accounts, but that of an encrypted archive stays encrypted and is checked without the key. It is of the newest snapshot that has the item. Where an item lies in several folders the first is
/// shown: --account and --collection choose another one.
///
/// Example: floe evidence acme.floe 5f2c81d0 --out case-17.zip
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// SHA-256 of the item, or an unambiguous beginning of eight digits or more
    #[arg(value_name = "SHA256")]
    sha256: String,
    /// The zip to write; nothing may be there yet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Any unambiguous part of a snapshot's name; the newest that has the item otherwise
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,
    /// The item as it lies in this account
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// The item as it lies in this collection, as `floe list` writes it
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    /// Write down in the archive's record of events that a bundle was made, with its SHA-256; which item is in it is not told there
    #[arg(long)]
    record: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    key: KeyArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    done: &'a Done,
    out: String,
    verdict: String,
}

pub(super) fn run(args: Args, out: &mut Output<'_>) -> Result<u8> {
    let archive = args.key.open(&args.archive)?;
    if lies_in(&args.out, &args.archive) {
        return Err(Error::usage("the bundle would lie in the archive").hint("nothing but floe's own files may be in there"));
    }
    let wanted = Wanted {
        item: resolve(&archive, &args.sha256)?,
        account: args.account,
        collection: args.collection.as_deref().map(CollectionPath::parse),
    };
    let done = evidence(&archive, args.snapshot.as_deref(), &wanted, &args.out, &Terminal::new(args.json))?;
    if args.record {
        let unread = |e| Error::io(Kind::Storage, "cannot read the bundle again", &args.out, e);
        let bundle = File::open(&args.out).and_then(digest_of).map_err(unread)?;
        let event = Event::new(EventType::Dissemination, Outcome::Success).root(done.root);
        append(&args.archive, event.detail("bundle", bundle.to_string()));
    }
    let verdict = verdict(&done);
    if args.json {
        out.json(&Report { done: &done, out: args.out.display().to_string(), verdict: verdict.words() })?;
        return Ok(verdict.code());
    }
    out.line(format_args!("{}  {} bytes", done.sha256, done.size))?;
    let (account, collection) = (printable(&done.account), printable(&done.collection));
    out.line(format_args!("as it lies in {account}, {collection}, snapshot {}", done.snapshot))?;
    if done.placements > 1 {
        let more = done.placements - 1;
        out.line(format_args!("it lies in {more} more places of that snapshot: --account and --collection choose"))?;
    }
    out.line(format_args!("root {}, {} signatures, {} time stamps", done.root, done.signatures, done.timestamps))?;
    for file in &done.broken {
        out.line(format_args!("left out, for it does not hold: {}", printable(file)))?;
    }
    if done.signatures == 0 {
        out.line("nobody has signed this root yet: who checks the bundle needs the root's fingerprint from you by another way")?;
    }
    out.verdict(&verdict)
}

fn verdict(done: &Done) -> Verdict {
    let written = format!("{} bytes of evidence; unpack it and run 'python3 check.py'", done.bytes);
    match done.broken.len() {
        0 => Verdict::Pass(written),
        n => Verdict::WithExceptions(format!("{written}; {n} signatures or time stamps do not hold and were left out")),
    }
}
