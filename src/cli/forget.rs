//! `floe forget`.

use std::path::PathBuf;

use super::output::{Output, Verdict};
use crate::error::{Error, Result};
use crate::monitor::Terminal;
use crate::net::Secret;
use crate::proof::forget::{self, Request};
use crate::proof::key;

/// Remove snapshots or an account for good, and leave a signed tombstone
///
/// An archive is append-only: without --remove-for-good this only says how much would go. With it, the packs are written anew without what
/// only the chosen listings need; what any other listing needs stays. The roots stay as they are, so signatures and the chain hold; a
/// tombstone signed with --key says what was removed, when, for whom and why, and floe verify accepts what is missing because of it,
/// as an exception. Accounts that are held (floe hold) are refused, and so is a damaged archive. Other copies of the archive are not
/// touched, and what a directory or the list of exceptions of a kept snapshot says of an account stays.
///
/// Example: floe forget acme.floe --account anna@acme.example --why "erasure request 12" --who "B. Legal" --key operator.key --remove-for-good
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// Any unambiguous part of the name of a snapshot to forget as a whole; may be given again
    #[arg(long = "snapshot", value_name = "ID", required_unless_present = "account")]
    snapshots: Vec<String>,
    /// An account to forget in all snapshots
    #[arg(long, value_name = "NAME", conflicts_with = "snapshots")]
    account: Option<String>,
    /// Why; it is kept in the archive
    #[arg(long, value_name = "TEXT")]
    why: String,
    /// Who decided it; it is kept in the archive
    #[arg(long, value_name = "NAME")]
    who: String,
    /// The private key that signs the tombstone, in OpenSSH's format
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// File whose first line is the key's passphrase; asked for on the terminal without it
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Do it: nothing brings back what is removed
    #[arg(long)]
    remove_for_good: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    if args.why.trim().is_empty() || args.who.trim().is_empty() {
        return Err(Error::usage("a removal needs a reason and a name").hint("say them with --why and --who"));
    }
    let key = key::read(&args.key, &|| match &args.passphrase_file {
        Some(file) => Secret::from_file(file),
        None => Secret::ask(&format!("Passphrase of {}: ", args.key.display())),
    })?;
    let request = Request {
        snapshots: args.snapshots.clone(),
        account: args.account.clone(),
        why: args.why.clone(),
        who: args.who.clone(),
    };
    let done = forget::run(&args.archive, &request, args.remove_for_good.then_some(&key), &Terminal::new(args.json))?;
    let (items, objects) = (done.counts.items, done.counts.objects);
    let verdict = match &done.tombstone {
        Some(_) => {
            Verdict::Pass(format!("{objects} objects are gone for good, with {items} items in {} listings", done.listings))
        }
        None if done.listings == 0 => Verdict::Pass("nothing is left of it: it was removed before".to_owned()),
        None if objects == 0 => Verdict::WithExceptions("nothing was removed: other listings need all of it".to_owned()),
        None => Verdict::Pass(format!(
            "{objects} objects with {items} items would be removed, nothing was: an archive is append-only without --remove-for-good"
        )),
    };
    if args.json {
        out.json(&serde_json::json!({ "forgotten": done, "verdict": verdict.words() }))?;
        return Ok(verdict.code());
    }
    if let Some(file) = &done.tombstone {
        out.line(format_args!("tombstone {file}"))?;
    }
    out.verdict(&verdict)
}
