//! `floe status`.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::output::{Output, Verdict};
use crate::error::Result;
use crate::model::printable;
use crate::replay::journal::{Journal, Status};
use crate::replay::plan::{self, AccountPlan, Plan};

/// Say how far a replay has come
///
/// Reads the plan and the journal beside it, also while a replay is running, and asks no server. For each account: how many items the plan
/// has, how many are on the server, how many were refused, and how many were under way when the journal was last written.
///
/// Example: floe status --plan acme.plan.toml
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The plan
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// Only this account of the archive; may be given again
    #[arg(long = "account", value_name = "NAME")]
    accounts: Vec<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// How far one account has come.
#[derive(Debug, Default, Serialize)]
struct Progress {
    account: String,
    planned: u64,
    done: u64,
    refused: u64,
    under_way: u64,
    removed: u64,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let plan = plan::read(&args.plan)?;
    let path = args.plan.with_extension("journal");
    let journal = path.exists().then(|| Journal::look(&path)).transpose()?;
    let mut all = Vec::new();
    for account in plan.accounts_of(&args.accounts) {
        all.push(progress(&plan, account, journal.as_ref())?);
    }
    tell(args, &path, &all, out)
}

fn progress(plan: &Plan, account: &AccountPlan, journal: Option<&Journal>) -> Result<Progress> {
    let planned = account.folders.iter().filter(|f| !f.skip).map(|f| f.items).sum();
    let mut progress = Progress { account: account.source.clone(), planned, ..Progress::default() };
    let Some(journal) = journal else { return Ok(progress) };
    for (collection, ..) in journal.collections(plan.route(account))? {
        for (status, n) in journal.counts(collection)? {
            *match status {
                Status::Confirmed | Status::Sent => &mut progress.done,
                Status::Failed => &mut progress.refused,
                Status::Intent => &mut progress.under_way,
                Status::Gone => &mut progress.removed,
            } += n;
        }
    }
    Ok(progress)
}

fn tell(args: &Args, journal: &Path, all: &[Progress], out: &mut Output<'_>) -> Result<u8> {
    let sum = |f: fn(&Progress) -> u64| all.iter().map(f).sum::<u64>();
    let (planned, done, refused) = (sum(|p| p.planned), sum(|p| p.done), sum(|p| p.refused));
    let words = format!("{done} of {planned} items are on the server, {refused} were refused");
    let verdict = if done >= planned && refused == 0 { Verdict::Pass(words) } else { Verdict::WithExceptions(words) };
    if args.json {
        out.json(&serde_json::json!({ "accounts": all, "verdict": verdict.words() }))?;
        return Ok(verdict.code());
    }
    if !journal.exists() {
        out.line(format_args!("there is no journal yet: nothing was replayed with this plan"))?;
    }
    for p in all {
        out.line(format_args!(
            "{:>3} %  {}: {} of {}, refused {}, under way {}, removed {}",
            (p.done * 100).checked_div(p.planned).unwrap_or(100).min(100),
            printable(&p.account),
            p.done,
            p.planned,
            p.refused,
            p.under_way,
            p.removed
        ))?;
    }
    out.verdict(&verdict)
}
