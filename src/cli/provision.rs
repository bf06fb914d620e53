//! `floe provision`.

use std::path::{Path, PathBuf};

use super::output::{Output, Verdict};
use super::target::Access;
use crate::error::{Error, Result};
use crate::icewarp::api::Api;
use crate::model::printable;
use crate::replay::plan::{self, Plan};
use crate::replay::provision::{Passwords, Provisioned, offline, provision};

/// Make what a plan says of domains, accounts, members, rights and rules, and the server does not have yet
///
/// Looks first, writes what is missing or different, and looks again; what others made there is not taken away. Can be run again at any
/// time. Without --finish it makes domains, accounts with names, cards, addresses and quotas, lists, groups and resources with their
/// members; rights, rules, forwards, responders and disabled accounts wait, since they need the folders or would act on the mail that is
/// being sent. New mailboxes get passwords that meet the server's policy; they are in the password file before the accounts are made, and
/// nowhere else. Exits 1 as long as something of the plan is not on the server, also where the plan's forecast said so: it is listed each time.
///
/// Example: floe provision --plan acme.plan.toml --admin admin@acme.example --password-file pw --passwords new-passwords.csv
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The plan
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// File for the addresses and passwords of new accounts, of mode 0600; those in it already are used again
    #[arg(long, value_name = "FILE", required_unless_present = "offline")]
    passwords: Option<PathBuf>,
    /// Encrypt that file to this age recipient (age1...); each run that makes accounts writes a new one
    #[arg(long, value_name = "RECIPIENT", requires = "passwords")]
    password_recipient: Option<String>,
    /// File of mode 0600 with passwords to be used: lines of address and password
    #[arg(long, value_name = "FILE")]
    given_passwords: Option<PathBuf>,
    /// The mail is there: set rights, rules, forwards and responders too, and disable accounts that are to be
    #[arg(long)]
    finish: bool,
    /// Speak to no server: write scripts for the server's own command line, and lists that it imports, into this new folder
    #[arg(long, value_name = "DIR", conflicts_with_all = ["finish", "password_recipient"])]
    offline: Option<PathBuf>,
    #[command(flatten)]
    access: Access,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let plan = plan::read(&args.plan)?;
    if let Some(folder) = &args.offline {
        return scripts(args, &plan, folder, out);
    }
    let file = args.passwords.as_deref().ok_or_else(|| Error::usage("name a file for new passwords with --passwords"))?;
    let passwords = Passwords::new(file, args.password_recipient.as_deref(), args.given_passwords.as_deref())?;
    let mut api = Api::open(&plan.to.parse()?, &args.access.trust()?, args.access.admin()?, &args.access.password()?)?;
    let done = provision(&plan, &mut api, &passwords, args.finish)?;
    api.log_out();
    tell(args, &done, out)
}

fn tell(args: &Args, done: &Provisioned, out: &mut Output<'_>) -> Result<u8> {
    let verdict = if done.refused.is_empty() {
        Verdict::Pass(format!(
            "{} accounts are there, {} of them made now; {} things written, {} as planned before",
            done.there.len() + done.made.len(),
            done.made.len(),
            done.written.len(),
            done.as_planned
        ))
    } else {
        Verdict::WithExceptions(format!("{} things of the plan are not on the server", done.refused.len()))
    };
    if args.json {
        let pairs = |list: &[(String, String)], name: &str| -> Vec<_> {
            list.iter().map(|(account, what)| serde_json::json!({ "account": account, name: what })).collect()
        };
        out.json(&serde_json::json!({
            "domains": done.domains, "made": done.made, "there": done.there, "written": pairs(&done.written, "what"),
            "as_planned": done.as_planned, "waiting": done.waiting, "refused": pairs(&done.refused, "why"), "verdict": verdict.words()
        }))?;
        return Ok(verdict.code());
    }
    for domain in &done.domains {
        out.line(format_args!("made domain {}", printable(domain)))?;
    }
    for account in &done.made {
        out.line(format_args!("made account {}", printable(account)))?;
    }
    tell_written(done, out)?;
    if !done.waiting.is_empty() {
        let waiting: Vec<String> = done.waiting.iter().map(|(what, count)| format!("{count} {what}")).collect();
        out.line(format_args!("waiting for --finish, when the mail is there: {}", waiting.join(", ")))?;
    }
    out.verdict(&verdict)
}

/// What was written to accounts, and what of the plan is not there.
pub(super) fn tell_written(done: &Provisioned, out: &mut Output<'_>) -> Result<()> {
    for (account, what) in &done.written {
        out.line(format_args!("wrote {}: {}", printable(account), printable(what)))?;
    }
    for (account, why) in &done.refused {
        out.line(format_args!("missing: {}: {}", printable(account), printable(why)))?;
    }
    Ok(())
}

fn scripts(args: &Args, plan: &Plan, folder: &Path, out: &mut Output<'_>) -> Result<u8> {
    let beside = folder.with_extension("passwords.csv");
    let file = args.passwords.as_deref().unwrap_or(&beside);
    let passwords = Passwords::new(file, None, args.given_passwords.as_deref())?;
    let done = offline(plan, folder, &passwords)?;
    let verdict = if done.by_hand.is_empty() {
        Verdict::Pass(format!("scripts for {} accounts", done.accounts))
    } else {
        Verdict::WithExceptions(format!(
            "scripts for {} accounts, {} things to be done otherwise",
            done.accounts,
            done.by_hand.len()
        ))
    };
    if args.json {
        let by_hand: Vec<_> =
            done.by_hand.iter().map(|(account, what)| serde_json::json!({ "account": account, "what": what })).collect();
        out.json(&serde_json::json!({ "accounts": done.accounts, "by_hand": by_hand, "verdict": verdict.words() }))?;
        return Ok(verdict.code());
    }
    out.line(format_args!("run {} on the server", folder.join("provision.sh").display()))?;
    for (account, what) in &done.by_hand {
        out.line(format_args!("by hand: {}: {}", printable(account), printable(what)))?;
    }
    out.verdict(&verdict)
}
