//! `floe provision`.

use std::path::PathBuf;

use super::output::{Output, Verdict};
use super::target::Access;
use crate::error::Result;
use crate::icewarp::api::Api;
use crate::model::printable;
use crate::replay::plan;
use crate::replay::provision::provision;

/// Make the domains and accounts of a plan that the server does not have yet
///
/// Looks first, makes what is missing, and looks again. New accounts get passwords that meet the server's usual policy; they are
/// in the password file (mode 0600) before the accounts are made, and nowhere else. Can be run again.
///
/// Example: floe provision --plan acme.plan.toml --admin admin@acme.example --password-file pw --passwords new-passwords.csv
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The plan
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// File for the addresses and passwords of new accounts; added to when it is there
    #[arg(long, value_name = "FILE")]
    passwords: PathBuf,
    #[command(flatten)]
    access: Access,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let plan = plan::read(&args.plan)?;
    let mut api = Api::open(&plan.to.parse()?, &args.access.trust()?, args.access.admin()?, &args.access.password()?)?;
    let done = provision(&plan, &mut api, &args.passwords)?;
    api.log_out();
    let verdict = if done.refused.is_empty() {
        Verdict::Pass(format!("{} accounts are there, {} of them made now", done.there.len() + done.made.len(), done.made.len()))
    } else {
        Verdict::WithExceptions(format!("{} accounts are missing", done.refused.len()))
    };
    if args.json {
        let refused: Vec<_> =
            done.refused.iter().map(|(account, why)| serde_json::json!({ "account": account, "why": why })).collect();
        let verdict_words = verdict.words();
        out.json(&serde_json::json!({
            "domains": done.domains, "made": done.made, "there": done.there, "refused": refused, "verdict": verdict_words
        }))?;
        return Ok(verdict.code());
    }
    for domain in &done.domains {
        out.line(format_args!("made domain {}", printable(domain)))?;
    }
    for account in &done.made {
        out.line(format_args!("made account {}", printable(account)))?;
    }
    for (account, why) in &done.refused {
        out.line(format_args!("missing: {}: {why}", printable(account)))?;
    }
    out.verdict(&verdict)
}
