//! `floe hold`.

use std::path::PathBuf;

use super::output::{Output, Verdict};
use super::unlock::KeyArgs;
use crate::archive::Archive;
use crate::error::{Error, Result};
use crate::model::printable;
use crate::proof::hold;

/// Keep an account from being forgotten, or let it go again
///
/// While an account is held, floe forget refuses whatever would remove anything of it. Holds and their ends are files of
/// the archive itself, listed and told of in events.jsonl like all others; none is ever changed, and in an encrypted archive they are
/// encrypted. Without --account the holds are listed.
///
/// Example: floe hold acme.floe --account anna@acme.example --why "case 4711"
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// The account, as the snapshots name it
    #[arg(long, value_name = "NAME", requires = "why")]
    account: Option<String>,
    /// Why; it is kept in the archive
    #[arg(long, value_name = "TEXT", requires = "account")]
    why: Option<String>,
    /// End the hold
    #[arg(long, requires = "account")]
    release: bool,
    #[command(flatten)]
    key: KeyArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let keys = args.key.keys(&args.archive)?;
    let archive = Archive::open_with(&args.archive, &keys)?;
    let file = match (&args.account, &args.why) {
        (Some(account), Some(why)) => {
            let known = archive.snapshots()?.iter().any(|s| s.root.accounts.iter().any(|a| a.account == *account));
            if !known {
                return Err(Error::usage("no snapshot has this account").with("account", account).hint("see floe list"));
            }
            Some(hold::put(&args.archive, &keys, account, why, args.release)?)
        }
        _ => None,
    };
    let held = hold::held(archive.vault())?;
    let verdict = Verdict::Pass(format!("{} accounts are held", held.len()));
    if args.json {
        out.json(&serde_json::json!({ "held": held, "file": file, "verdict": verdict.words() }))?;
        return Ok(verdict.code());
    }
    for (account, why) in &held {
        out.line(format_args!("{}: {}", printable(account), printable(why)))?;
    }
    out.verdict(&verdict)
}
