//! `floe forget`.

use std::path::PathBuf;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use ssh_key::PrivateKey;

use super::output::{Output, Verdict};
use super::unlock::KeyArgs;
use crate::error::{Error, Result};
use crate::model::printable;
use crate::monitor::Terminal;
use crate::net::Secret;
use crate::proof::forget::{self, ByPolicy, Choice, Done, Request};
use crate::proof::{key, policy};

/// Remove snapshots or an account for good, and leave a signed tombstone
///
/// An archive is append-only: without --remove-for-good this only says how much would go. With it, the packs are written anew without what
/// only the chosen listings need; what any other listing needs stays. The roots stay as they are, so signatures and the chain hold; a
/// tombstone signed with --key says what was removed, when, for whom and why, and floe verify accepts what is missing because of it,
/// as an exception. Accounts that are held (floe hold) are refused, and so is a damaged archive. Other copies of the archive are not
/// touched, and what a directory or the list of exceptions of a kept snapshot says of an account stays.
///
/// With --policy a file of rules says how long what is kept (docs/compliance.md has an example), and each rule that removes something leaves a
/// tombstone of its own that names it. Accounts that are held are named and left out, and the others go; the exit code is 1 then.
///
/// Example: floe forget acme.floe --account anna@acme.example --why "erasure request 12" --who "B. Legal" --key operator.key --remove-for-good
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// Any unambiguous part of the name of a snapshot to forget as a whole; may be given again
    #[arg(long = "snapshot", value_name = "ID", required_unless_present_any = ["account", "policy"])]
    snapshots: Vec<String>,
    /// An account to forget in all snapshots
    #[arg(long, value_name = "NAME", conflicts_with = "snapshots")]
    account: Option<String>,
    /// Forget what the rules in this file (TOML) keep no longer
    #[arg(long, value_name = "FILE", conflicts_with_all = ["snapshots", "account", "why", "who"])]
    policy: Option<PathBuf>,
    /// Say what the policy would remove on this day (UTC) instead of now
    #[arg(long, value_name = "YYYY-MM-DD", requires = "policy", conflicts_with = "remove_for_good")]
    on: Option<Date>,
    /// Why; it is kept in the archive
    #[arg(long, value_name = "TEXT", required_unless_present = "policy")]
    why: Option<String>,
    /// Who decided it; it is kept in the archive
    #[arg(long, value_name = "NAME", required_unless_present = "policy")]
    who: Option<String>,
    /// The private key that signs the tombstone, in OpenSSH's format
    #[arg(long, value_name = "FILE", required_unless_present = "policy")]
    key: Option<PathBuf>,
    /// File whose first line is the key's passphrase; asked for on the terminal without it
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// File with an age key of one of the recipients of an encrypted archive; may be given again
    #[arg(long = "identity", value_name = "FILE", env = "FLOE_IDENTITY", hide_env_values = true)]
    identities: Vec<PathBuf>,
    /// File whose first line is the passphrase of an encrypted archive; on a terminal it is asked for
    #[arg(long, value_name = "FILE", env = "FLOE_PASSPHRASE_FILE", hide_env_values = true)]
    archive_passphrase_file: Option<PathBuf>,
    /// Do it: nothing brings back what is removed
    #[arg(long)]
    remove_for_good: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    if let Some(file) = &args.policy {
        return by_policy(args, &policy::read(file)?, out);
    }
    let (why, who) = (args.why.clone().unwrap_or_default(), args.who.clone().unwrap_or_default());
    if why.trim().is_empty() || who.trim().is_empty() {
        return Err(Error::usage("a removal needs a reason and a name").hint("say them with --why and --who"));
    }
    let key = signing_key(args)?.filter(|_| args.remove_for_good);
    let choice = match &args.account {
        Some(account) => Choice::Account(account.clone()),
        None => Choice::Snapshots(args.snapshots.clone()),
    };
    let request = Request { choice, why, who, policy: None };
    let keys = unlock(args).keys(&args.archive)?;
    let done = forget::run(&args.archive, &keys, &request, key.as_ref(), &Terminal::new(args.json))?;
    let verdict = verdict(&done);
    if args.json {
        out.json(&serde_json::json!({ "forgotten": done, "verdict": verdict.words() }))?;
        return Ok(verdict.code());
    }
    if let Some(file) = &done.tombstone {
        out.line(format_args!("tombstone {file}"))?;
    }
    out.verdict(&verdict)
}

fn unlock(args: &Args) -> KeyArgs {
    KeyArgs::of(args.identities.clone(), args.archive_passphrase_file.clone())
}

/// The key that signs, if one was given.
fn signing_key(args: &Args) -> Result<Option<PrivateKey>> {
    let Some(file) = &args.key else { return Ok(None) };
    let passphrase = || match &args.passphrase_file {
        Some(file) => Secret::from_file(file),
        None => Secret::ask(&format!("Passphrase of {}: ", file.display())),
    };
    key::read(file, &passphrase).map(Some)
}

fn verdict(done: &Done) -> Verdict {
    let (items, objects) = (done.counts.items, done.counts.objects);
    match &done.tombstone {
        Some(_) => {
            Verdict::Pass(format!("{objects} objects are gone for good, with {items} items in {} listings", done.listings))
        }
        None if done.listings == 0 => Verdict::Pass("nothing is left of it: it was removed before".to_owned()),
        None if objects == 0 => Verdict::WithExceptions("nothing was removed: other listings need all of it".to_owned()),
        None => Verdict::Pass(format!(
            "{objects} objects with {items} items would be removed, nothing was: an archive is append-only without --remove-for-good"
        )),
    }
}

fn by_policy(args: &Args, policy: &policy::Policy, out: &mut Output<'_>) -> Result<u8> {
    let key = signing_key(args)?.filter(|_| args.remove_for_good);
    if args.remove_for_good && key.is_none() {
        return Err(Error::usage("a removal needs a key that signs its tombstone").hint("give --key FILE"));
    }
    let now = match args.on {
        Some(day) => {
            let begins = day.to_zoned(TimeZone::UTC).map_err(|e| Error::usage("this is no day of the calendar").because(e))?;
            begins.timestamp()
        }
        None => Timestamp::now(),
    };
    let keys = unlock(args).keys(&args.archive)?;
    let found = forget::by_policy(&args.archive, &keys, (policy, now), key.as_ref(), &Terminal::new(args.json))?;
    let verdict = of_policy(&found, args.remove_for_good);
    if args.json {
        out.json(&serde_json::json!({ "policy": policy.sha256, "at": now, "found": found, "verdict": verdict.words() }))?;
        return Ok(verdict.code());
    }
    out.line(format_args!("policy {}, at {now}", policy.sha256))?;
    for outlook in &found.rules {
        out.line(format_args!("rule {}: {} listings", printable(&outlook.rule), outlook.goes.len()))?;
        for listed in &outlook.goes {
            out.line(format_args!("  {} in snapshot {}", printable(&listed.account), listed.snapshot))?;
        }
        for (account, why) in &outlook.held {
            out.line(format_args!("  held, nothing of it goes: {}: {}", printable(account), printable(why)))?;
        }
    }
    for account in &found.unnamed {
        out.line(format_args!("no rule names {}: all of it stays", printable(account)))?;
    }
    for file in found.done.iter().filter_map(|done| done.tombstone.as_ref()) {
        out.line(format_args!("tombstone {file}"))?;
    }
    out.verdict(&verdict)
}

fn of_policy(found: &ByPolicy, removes: bool) -> Verdict {
    let (items, objects) = found.done.iter().fold((0, 0), |sum, d| (sum.0 + d.counts.items, sum.1 + d.counts.objects));
    let listings: usize = found.rules.iter().map(|outlook| outlook.goes.len()).sum();
    let held: usize = found.rules.iter().map(|outlook| outlook.held.len()).sum();
    let mut words = match (listings, removes) {
        (0, _) => "nothing is past the time that the policy keeps it".to_owned(),
        _ if objects == 0 => "nothing to remove: listings that stay need all of what is past its time".to_owned(),
        (_, true) => format!("{objects} objects are gone for good, with {items} items in {listings} listings"),
        (_, false) => format!(
            "{objects} objects with {items} items in {listings} listings would be removed, nothing was: an archive is append-only \
             without --remove-for-good"
        ),
    };
    if held == 0 {
        return Verdict::Pass(words);
    }
    words.push_str(&format!("; {held} accounts are held and were left out"));
    Verdict::WithExceptions(words)
}
