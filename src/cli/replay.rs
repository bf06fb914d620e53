//! `floe replay`.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::Serialize;

use super::groupware::{Dav, Passwords};
use super::output::{Output, Verdict};
use super::plan::sheet_of;
use super::target::Access;
use crate::archive::{Archive, Snapshot};
use crate::error::{Error, Kind, Result};
use crate::imap::{Connection, Settings};
use crate::model::{CollectionKind, printable};
use crate::monitor::{Monitor as _, Terminal};
use crate::net::Secret;
use crate::replay::journal::Journal;
use crate::replay::mail::{Filled, MailJob, fill};
use crate::replay::plan::{self, AccountPlan, Part, Plan};
use crate::replay::sheet::Sheet;

/// Carry an archive to the server, as the plan says
///
/// Every message is appended once, with its flags, keywords and internal date; calendar objects, contacts and files go by DAV, each
/// under a name of its own, and no invitation is sent. What was sent is kept in a journal beside the plan
/// (PLAN.journal): run the same command again after any interruption, and it goes on without sending anything twice. What the
/// server refuses is listed, and the rest goes on.
///
/// Example: floe replay --plan acme.plan.toml --sheet acme.sheet.json --admin admin --password-file pw
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The plan
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// What floe doctor found out about the server; careful assumptions without it
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,
    /// Only this account of the archive; may be given again
    #[arg(long = "account", value_name = "NAME")]
    accounts: Vec<String>,
    /// Accounts at a time, one connection each
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    connections: u16,
    /// Say what would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    passwords: Passwords,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// What became of one account.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    account: String,
    sent: u64,
    claimed: u64,
    before: u64,
    refused: u64,
    /// Of those on the server, calendar objects, contacts and files that the server changed.
    changed: u64,
    bytes: u64,
    error: Option<String>,
}

/// What all accounts share.
struct Run<'a> {
    plan: &'a Plan,
    archive: &'a Archive,
    snapshot: &'a Snapshot,
    sheet: &'a Sheet,
    settings: &'a Settings,
    access: &'a Access,
    password: &'a Secret,
    dav: &'a Dav<'a>,
    journal: &'a Journal,
    monitor: &'a Terminal,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let plan = plan::read(&args.plan)?;
    let (archive, snapshot) = opened(&plan)?;
    let sheet = sheet_of(args.sheet.as_deref())?;
    let accounts = plan.accounts_of(&args.accounts);
    if accounts.is_empty() {
        return Err(Error::usage("no account is left to replay").hint("look at skip in the plan, and at --account"));
    }
    if args.dry_run {
        return tell_plan(&accounts, out);
    }
    let settings = args.access.imap_of(&plan)?;
    let password = args.access.password()?;
    let dav = Dav::of(&plan, &args.access, &password, &args.passwords)?;
    let journal = Journal::open(&args.plan.with_extension("journal"))?;
    let monitor = Terminal::new(args.json);
    monitor.phase("replay", Some(accounts.iter().map(|a| a.bytes).sum()));
    let run = Run {
        plan: &plan,
        archive: &archive,
        snapshot: &snapshot,
        sheet: &sheet,
        settings: &settings,
        access: &args.access,
        password: &password,
        dav: &dav,
        journal: &journal,
        monitor: &monitor,
    };
    let outcomes = run.accounts(&accounts, usize::from(args.connections));
    monitor.done();
    tell(args, &outcomes, if dav.is_spoken() { 0 } else { left_behind(&accounts) }, out)
}

/// The archive and the snapshot that a plan was made for.
pub(super) fn opened(plan: &Plan) -> Result<(Archive, Snapshot)> {
    let archive = Archive::open(Path::new(&plan.archive))?;
    let snapshot = archive.snapshot(Some(&plan.snapshot))?;
    if snapshot.digest != plan.root {
        return Err(Error::usage("the plan was made for another archive")
            .with("snapshot", &plan.snapshot)
            .hint("make a new plan with floe plan"));
    }
    Ok((archive, snapshot))
}

impl Run<'_> {
    /// Several accounts at a time; one that fails does not stop the others, except that a refused login does.
    fn accounts(&self, accounts: &[&AccountPlan], connections: usize) -> Vec<Outcome> {
        let next = AtomicUsize::new(0);
        let outcomes = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..connections.min(accounts.len()) {
                scope.spawn(|| {
                    while let Some(account) = accounts.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let mut outcome = Outcome { account: account.source.clone(), ..Outcome::default() };
                        if let Err(e) = self.account(account, &mut outcome) {
                            // The same password would be refused for everybody, and servers punish guessing.
                            if e.kind() == Kind::Login && self.plan.login != plan::Login::Own {
                                next.store(accounts.len(), Ordering::Relaxed);
                            }
                            outcome.error = Some(e.to_string());
                        }
                        outcomes.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(outcome);
                    }
                });
            }
        });
        let mut outcomes = outcomes.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        for left in accounts.iter().filter(|a| !outcomes.iter().any(|o: &Outcome| o.account == a.source)).collect::<Vec<_>>() {
            let error = Some("not begun, since the login was refused".to_owned());
            outcomes.push(Outcome { account: left.source.clone(), error, ..Outcome::default() });
        }
        outcomes.sort_unstable_by(|a, b| a.account.cmp(&b.account));
        outcomes
    }

    fn account(&self, account: &AccountPlan, outcome: &mut Outcome) -> Result<()> {
        let entry = account.entry(self.snapshot)?;
        let own = self.plan.login == plan::Login::Own;
        let password = if own { self.dav.own_password(&account.target) } else { self.password };
        let mut connect =
            || Connection::open(self.settings, &self.access.login(self.plan.login, &account.target, password)?);
        let mut connection = None;
        let mail = self.sheet.mail.as_ref();
        for collection in self.archive.collections(entry)?.iter().filter(|c| c.head.kind == CollectionKind::Mail) {
            let Some(folder) = account.folder(&collection.head.path, Part::Mail) else { continue };
            let job = MailJob {
                target: &self.plan.to,
                account: &account.source,
                collection,
                to: &folder.to.0,
                largest: mail.and_then(|m| m.largest_message),
                keywords: mail.is_none_or(|m| m.keywords),
            };
            let Filled { sent, claimed, before, refused, bytes } =
                fill(self.archive, job, self.journal, &mut connect, &mut connection, self.monitor)?;
            outcome.sent += sent;
            outcome.claimed += claimed;
            outcome.before += before;
            outcome.refused += refused;
            outcome.bytes += bytes;
        }
        if let Some(connection) = connection {
            connection.logout();
        }
        if self.dav.is_spoken() {
            let run = (self.archive, self.plan, self.journal, self.sheet.dav.as_ref());
            let carried = self.dav.carry(run, account, entry, self.monitor)?;
            outcome.sent += carried.sent;
            outcome.claimed += carried.claimed;
            outcome.before += carried.before;
            outcome.refused += carried.refused;
            outcome.changed += carried.changed;
            outcome.bytes += carried.bytes;
        }
        Ok(())
    }
}

/// Calendar objects, contacts and files of these accounts, which have no way to a target that speaks no DAV.
pub(super) fn left_behind(accounts: &[&AccountPlan]) -> u64 {
    accounts.iter().flat_map(|a| &a.folders).filter(|f| f.part != Part::Mail && !f.skip).map(|f| f.items).sum()
}

fn tell_plan(accounts: &[&AccountPlan], out: &mut Output<'_>) -> Result<u8> {
    let mut items = 0;
    for account in accounts {
        for folder in account.folders.iter().filter(|f| !f.skip) {
            items += folder.items;
            let (from, to) = (printable(&folder.from.to_string()), printable(&folder.to.to_string()));
            out.line(format_args!(
                "{} {from} -> {} {to}: {} items",
                printable(&account.source),
                printable(&account.target),
                folder.items
            ))?;
        }
    }
    out.verdict(&Verdict::Pass(format!("{items} items would be sent, nothing was")))
}

fn tell(args: &Args, outcomes: &[Outcome], left: u64, out: &mut Output<'_>) -> Result<u8> {
    let sum = |f: fn(&Outcome) -> u64| outcomes.iter().map(f).sum::<u64>();
    let failed: Vec<&Outcome> = outcomes.iter().filter(|o| o.error.is_some()).collect();
    let there = sum(|o| o.sent + o.claimed + o.before);
    let (refused, changed) = (sum(|o| o.refused), sum(|o| o.changed));
    let verdict = if left > 0 {
        Verdict::WithExceptions(format!(
            "{there} items are on the server, {refused} were refused; {left} calendar objects, contacts and files have no way: the server speaks no DAV"
        ))
    } else if refused + changed == 0 {
        Verdict::Pass(format!("{there} items are on the server, {} sent now", sum(|o| o.sent)))
    } else {
        Verdict::WithExceptions(format!(
            "{there} items are on the server, {changed} of them changed by it; {refused} were refused and stay in the archive"
        ))
    };
    if args.json {
        let words = if failed.is_empty() { verdict.words() } else { format!("FAIL: {} accounts are not finished", failed.len()) };
        out.json(&serde_json::json!({ "accounts": outcomes, "verdict": words }))?;
    } else {
        for o in outcomes {
            let (account, found) = (printable(&o.account), o.claimed);
            out.line(format_args!(
                "{account}: sent {}, found there {found}, there before {}, changed by the server {}, refused {}",
                o.sent, o.before, o.changed, o.refused
            ))?;
        }
    }
    if let Some(first) = failed.first() {
        let why = first.error.as_deref().unwrap_or_default();
        return Err(Error::new(
            Kind::Unreachable,
            format!("{} accounts are not finished; the first: {}: {why}", failed.len(), printable(&first.account)),
        )
        .hint("mend the cause and run the same command again: nothing is sent twice"));
    }
    if args.json { Ok(verdict.code()) } else { out.verdict(&verdict) }
}
