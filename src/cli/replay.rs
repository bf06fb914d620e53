//! `floe replay`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::groupware::{Carry, Dav, Passwords};
use super::output::{Output, Verdict, counts};
use super::plan::sheet_of;
use super::provision::tell_written;
use super::record::record;
use super::target::Access;
use super::unlock::KeyArgs;
use crate::archive::{AccountEntry, Archive, CollectionEntry, Snapshot};
use crate::error::{Error, Kind, Result};
use crate::icewarp::api::Api;
use crate::imap::{Connection, Settings};
use crate::model::{CollectionKind, printable};
use crate::monitor::{Monitor as _, Terminal};
use crate::net::Pace;
use crate::proof::events::EventType;
use crate::replay::Filled;
use crate::replay::accounts::each_account;
use crate::replay::journal::{Journal, Key};
use crate::replay::mail::{Gone, MailJob, Removal, carry_removals, fill, settle, state_of};
use crate::replay::plan::{self, AccountPlan, FolderPlan, Part, Plan};
use crate::replay::provision;
use crate::replay::sheet::Sheet;

/// Carry an archive to the server, as the plan says
///
/// Every message is appended once, with its flags, keywords and internal date. Calendar objects, contacts and files go by DAV, each under a
/// name of its own, and no invitation is asked for. What was sent is kept in a journal beside the plan (PLAN.journal): run the same
/// command again after any interruption, and it goes on without sending anything twice. What the server refuses is listed, and the rest
/// goes on.
///
/// With a plan for a later snapshot of the same source (floe plan --update) it brings what is new, flags that changed, and moves between
/// folders. What was removed at the source stays on the server, unless --remove is given; nothing is removed but what the journal
/// proves to be sent by floe.
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
    /// Only this kind of item; may be given again
    #[arg(long, value_name = "KIND")]
    only: Vec<Only>,
    /// Only what is new, changed or removed since this snapshot of the archive; for a target that was filled without this journal. An
    /// object or file that changed takes the place of what is there only where that is as the snapshot has it
    #[arg(long, value_name = "ID")]
    since: Option<String>,
    /// Remove from the server what floe put there and the source has no more
    #[arg(long)]
    remove: bool,
    /// Items a minute at most, over all connections; by default what the capability sheet says of the server's own limit
    #[arg(long, value_name = "N")]
    rate: Option<u64>,
    /// Write down in the archive's events.jsonl that it was carried over, where the archive can be written
    #[arg(long)]
    record: bool,
    /// Say what would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Carry calendars and tasks over though the doctor saw this server mail invitations: attendees may all be written to
    #[arg(long)]
    danger_let_invitations_leave: bool,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    passwords: Passwords,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    key: KeyArgs,
}

/// A kind of item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Only {
    /// Messages
    Mail,
    /// Events and journal entries
    Calendar,
    /// Contacts
    Contacts,
    /// Tasks
    Tasks,
    /// Notes
    Notes,
    /// Files
    Files,
    /// Who may do what in which folder, once the mail is there; by itself
    Rights,
}

impl Only {
    fn of(part: Part) -> Self {
        match part {
            Part::Mail => Only::Mail,
            Part::Events | Part::Journals => Only::Calendar,
            Part::Contacts => Only::Contacts,
            Part::Tasks => Only::Tasks,
            Part::Notes => Only::Notes,
            Part::Files => Only::Files,
        }
    }
}

/// Is that part wanted?
fn wants(only: &[Only], part: Part) -> bool {
    only.is_empty() || only.contains(&Only::of(part))
}

/// What became of one account.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    account: String,
    #[serde(flatten)]
    filled: Filled,
    error: Option<String>,
    /// What to do about the error.
    #[serde(skip)]
    hint: Option<String>,
}

/// In words; what did not occur is left out.
fn words(filled: &Filled) -> String {
    counts(&[
        ("sent", filled.sent),
        ("found there", filled.claimed),
        ("there before", filled.before),
        ("changed by the server", filled.changed),
        ("refused", filled.refused),
        ("damaged in the archive", filled.damaged),
        ("flags changed", filled.restated),
        ("flags not changed, their place is not known", filled.not_restated),
        ("moved", filled.moved),
        ("removed", filled.removed),
        ("gone at the source and kept", filled.kept),
        ("gone at the source and not proven to be floe's", filled.unproven),
    ])
}

/// What all accounts share.
struct Run<'a> {
    plan: &'a Plan,
    archive: &'a Archive,
    snapshot: &'a Snapshot,
    sheet: &'a Sheet,
    settings: &'a Settings,
    access: &'a Access,
    dav: &'a Dav<'a>,
    journal: &'a Journal,
    monitor: &'a Terminal,
    since: Option<&'a Snapshot>,
    only: &'a [Only],
    remove: bool,
    pace: &'a Pace,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let plan = plan::read(&args.plan)?;
    let (archive, snapshot) = opened(&plan, &args.key)?;
    let sheet = sheet_of(args.sheet.as_deref())?;
    let accounts = plan.accounts_of(&args.accounts);
    if accounts.is_empty() {
        return Err(Error::usage("no account is left to replay").hint("look at skip in the plan, and at --account"));
    }
    if args.only.contains(&Only::Rights) {
        return rights(args, &plan, &accounts, out);
    }
    if args.dry_run {
        return tell_plan(&accounts, &args.only, out);
    }
    if !args.danger_let_invitations_leave {
        keep_invitations(&sheet, &accounts, &args.only)?;
    }
    let since = args.since.as_ref().map(|id| archive.snapshot(Some(id))).transpose()?;
    let throttle = sheet.mail.as_ref().and_then(|mail| mail.appends_per_minute);
    let pace = Pace::per_minute(args.rate.or(throttle).unwrap_or(0));
    let settings = args.access.imap_of(&plan)?;
    let password = args.access.password()?;
    let dav = Dav::of(&plan, &args.access, &password, &args.passwords)?;
    dav.reach(&settings, &accounts, |part| wants(&args.only, part))?;
    let journal = Journal::open(&args.plan.with_extension("journal"))?;
    let monitor = Terminal::new(args.json).listing("the report of floe validate lists all of them");
    monitor.phase("replay", Some(accounts.iter().map(|a| a.bytes).sum()));
    let run = Run {
        plan: &plan,
        archive: &archive,
        snapshot: &snapshot,
        sheet: &sheet,
        settings: &settings,
        access: &args.access,
        dav: &dav,
        journal: &journal,
        monitor: &monitor,
        since: since.as_ref(),
        only: &args.only,
        remove: args.remove,
        pace: &pace,
    };
    let outcomes = run.accounts(&accounts, usize::from(args.connections));
    monitor.done();
    let ended = tell(args, &outcomes, if dav.is_spoken() { 0 } else { left_behind(&accounts, &args.only) }, out);
    if args.record {
        let sent = outcomes.iter().map(|o| o.filled.sent).sum();
        record(Path::new(&plan.archive), EventType::Migration, snapshot.digest, sent, &ended);
    }
    ended
}

/// Writes rights by the admin API. They have nothing to do with items, and no journal.
fn rights(args: &Args, plan: &Plan, accounts: &[&AccountPlan], out: &mut Output<'_>) -> Result<u8> {
    if args.only.len() > 1 || args.dry_run {
        return Err(Error::usage("--only rights goes by itself, and not with --dry-run")
            .hint("carry the items first, then the rights; the plan lists both"));
    }
    let mut api = Api::open(&plan.to.parse()?, &args.access.trust()?, args.access.admin()?, &args.access.password()?)?;
    let done = provision::rights(accounts, &mut api)?;
    api.log_out();
    let kept = format!(
        "{} folders have the rights of the plan, {} written now",
        done.written.len() as u64 + done.as_planned,
        done.written.len()
    );
    let verdict = match done.refused.len() {
        0 => Verdict::Pass(kept),
        n => Verdict::WithExceptions(format!("{kept}; {n} have not")),
    };
    if args.json {
        out.json(&serde_json::json!({ "written": done.written, "as_planned": done.as_planned, "refused": done.refused, "verdict": verdict.words() }))?;
        return Ok(verdict.code());
    }
    tell_written(&done, out)?;
    out.verdict(&verdict)
}

/// Refuses to carry what a server would mail to everybody.
fn keep_invitations(sheet: &Sheet, accounts: &[&AccountPlan], only: &[Only]) -> Result<()> {
    let leave = sheet.dav.as_ref().is_some_and(|dav| dav.invitations_leave == Some(true));
    let inviting = |part| matches!(part, Part::Events | Part::Tasks) && wants(only, part);
    if leave && accounts.iter().any(|account| account.folders.iter().any(|folder| !folder.skip && inviting(folder.part))) {
        return Err(Error::new(Kind::Refused, "this server mails invitations though it is asked not to: nothing was sent").hint(
            "carry the rest with --only; for the calendars stop the server's outgoing mail, and say --danger-let-invitations-leave",
        ));
    }
    Ok(())
}

/// The archive and the snapshot that a plan was made for.
pub(super) fn opened(plan: &Plan, key: &KeyArgs) -> Result<(Archive, Snapshot)> {
    let archive = key.open(Path::new(&plan.archive))?;
    let snapshot = archive.snapshot(Some(&plan.snapshot))?;
    if snapshot.digest != plan.root {
        return Err(Error::usage("the plan was made for another archive")
            .with("snapshot", &plan.snapshot)
            .hint("make a new plan with floe plan"));
    }
    Ok((archive, snapshot))
}

impl Run<'_> {
    fn accounts(&self, accounts: &[&AccountPlan], connections: usize) -> Vec<Outcome> {
        let one_login = self.plan.login != plan::Login::Own;
        let ended = each_account(accounts, connections, one_login, |account, filled| self.account(account, filled));
        let mut outcomes = Vec::new();
        for (account, (filled, ended)) in accounts.iter().zip(ended) {
            let ended = ended.err();
            let hint = ended.as_ref().and_then(Error::next_step).map(str::to_owned);
            outcomes.push(Outcome { account: account.source.clone(), filled, error: ended.map(|e| e.to_string()), hint });
        }
        outcomes.sort_unstable_by(|a, b| a.account.cmp(&b.account));
        outcomes
    }

    fn account(&self, account: &AccountPlan, filled: &mut Filled) -> Result<()> {
        let entry = account.entry(self.snapshot)?;
        let password = self.dav.password_of(&account.target);
        let mut connect = || Connection::open(self.settings, &self.access.login(self.plan.login, &account.target, password)?);
        let mut connection = None;
        if wants(self.only, Part::Mail) {
            let collections = self.archive.collections(entry)?;
            let mail: Vec<&CollectionEntry> = collections.iter().filter(|c| c.head.kind == CollectionKind::Mail).collect();
            let (gone, all_filled) = self.mail(account, &mail, &mut connect, &mut connection, filled)?;
            // What moved into a folder that is refused would be nowhere on the server.
            let remove = self.remove && all_filled;
            if self.remove && !all_filled {
                self.monitor.note(&format!("{}: no message is removed, for a folder is refused", printable(&account.source)));
            }
            filled.add(self.removals(account, &mail, (gone, remove), &mut connect, &mut connection)?);
        }
        if let Some(mut connection) = connection {
            for alert in connection.take_alerts() {
                self.monitor.note(&format!("{}: the server says: {}", account.source, printable(&alert)));
            }
            connection.logout();
        }
        if self.dav.is_spoken() {
            filled.add(self.groupware(account, entry)?);
        }
        Ok(())
    }

    /// Fills the calendars, address books and folders of files of an account.
    fn groupware(&self, account: &AccountPlan, entry: &AccountEntry) -> Result<Filled> {
        let carry = Carry {
            archive: self.archive,
            plan: self.plan,
            journal: self.journal,
            sheet: self.sheet.dav.as_ref(),
            since: self.since,
            remove: self.remove,
            pace: self.pace,
            wants: &|part| wants(self.only, part),
            monitor: self.monitor,
        };
        self.dav.carry(&carry, account, entry)
    }

    /// Fills the mail folders of an account; what of them is gone at the source, and whether the target took all of the folders.
    fn mail(
        &self,
        account: &AccountPlan,
        collections: &[&CollectionEntry],
        connect: &mut dyn FnMut() -> Result<Connection>,
        connection: &mut Option<Connection>,
        filled: &mut Filled,
    ) -> Result<(Vec<Gone>, bool)> {
        let (mut all_gone, mut all_filled) = (Vec::new(), true);
        let mut jobs = Vec::new();
        for collection in collections {
            let Some(folder) = account.folder(&collection.head.path, Part::Mail) else { continue };
            let since = match self.since {
                Some(snapshot) => Some(match earlier(self.archive, snapshot, account, collection)? {
                    Some(before) => states(self.archive, &before)?,
                    None => HashMap::new(),
                }),
                None => None,
            };
            let job = self.mail_job(account, collection, folder);
            let job_since = MailJob { since: since.as_ref(), ..job };
            let (folder, gone) = fill(self.archive, job_since, self.journal, connect, connection, self.monitor)?;
            filled.add(folder);
            all_filled &= gone.is_some();
            all_gone.extend(gone.unwrap_or_default());
            jobs.push(job);
        }
        settle(self.archive, &jobs, self.journal, connect, connection, self.monitor)?;
        Ok((all_gone, all_filled))
    }

    fn mail_job<'a>(&'a self, account: &'a AccountPlan, collection: &'a CollectionEntry, folder: &'a FolderPlan) -> MailJob<'a> {
        let mail = self.sheet.mail.as_ref();
        MailJob {
            route: self.plan.route(account),
            collection,
            to: &folder.to.0,
            largest: mail.and_then(|m| m.largest_message),
            keywords: mail.is_none_or(|m| m.keywords),
            since: None,
            pace: self.pace,
        }
    }

    fn removals(
        &self,
        account: &AccountPlan,
        collections: &[&CollectionEntry],
        (gone, remove): (Vec<Gone>, bool),
        connect: &mut dyn FnMut() -> Result<Connection>,
        connection: &mut Option<Connection>,
    ) -> Result<Filled> {
        let removal = Removal {
            journal: self.journal,
            route: self.plan.route(account),
            collections: &collections.iter().map(|c| c.head.path.clone()).collect(),
            remove,
        };
        carry_removals(&removal, gone, connect, connection, self.monitor)
    }
}

/// The collection as an earlier snapshot holds it; none where it did not have it.
pub(super) fn earlier(
    archive: &Archive,
    snapshot: &Snapshot,
    account: &AccountPlan,
    collection: &CollectionEntry,
) -> Result<Option<CollectionEntry>> {
    let Ok(entry) = account.entry(snapshot) else { return Ok(None) };
    let same = |c: &CollectionEntry| c.head.kind == collection.head.kind && c.head.path == collection.head.path;
    Ok(archive.collections(entry)?.into_iter().find(same))
}

/// The messages of a collection: the key of each placement, and its flags and keywords.
fn states(archive: &Archive, collection: &CollectionEntry) -> Result<HashMap<Key, u64>> {
    let mut states = HashMap::new();
    archive.numbered_placements(collection, &mut |item, n| {
        states.insert(Key::of_item(&item.sha256, n), state_of(&item));
        Ok(())
    })?;
    Ok(states)
}

/// Calendar objects, contacts and files of these accounts, which have no way to a target that speaks no DAV.
fn left_behind(accounts: &[&AccountPlan], only: &[Only]) -> u64 {
    let folders = accounts.iter().flat_map(|a| &a.folders);
    folders.filter(|f| f.part != Part::Mail && !f.skip && wants(only, f.part)).map(|f| f.items).sum()
}

fn tell_plan(accounts: &[&AccountPlan], only: &[Only], out: &mut Output<'_>) -> Result<u8> {
    let mut items = 0;
    for account in accounts {
        for folder in account.folders.iter().filter(|f| !f.skip && wants(only, f.part)) {
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
    let failed: Vec<&Outcome> = outcomes.iter().filter(|o| o.error.is_some()).collect();
    let mut all = Filled::default();
    outcomes.iter().for_each(|o| all.add(o.filled));
    let done = format!("{} items are on the server, {} sent now", all.sent + all.claimed + all.before, all.sent);
    let open = [
        (all.changed, "of them read back otherwise than they were sent"),
        (all.refused, "were refused and stay in the archive"),
        (all.damaged, "are damaged in the archive and were not sent: run floe verify, mend it, and replay again"),
        (all.not_restated, "have other flags at the source, and their place on the server is not known"),
        (all.kept, "are gone at the source and stay on the server (--remove takes them away)"),
        (all.unproven, "are gone at the source and stay on the server, not proven to be sent by floe"),
        (left, "calendar objects, contacts and files have no way: the server speaks no DAV"),
    ];
    let open: Vec<String> = open.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    let verdict =
        if open.is_empty() { Verdict::Pass(done) } else { Verdict::WithExceptions(format!("{done}; {}", open.join("; "))) };
    if args.json {
        let words = if failed.is_empty() { verdict.words() } else { format!("FAIL: {} accounts are not finished", failed.len()) };
        out.json(&serde_json::json!({ "accounts": outcomes, "verdict": words }))?;
    } else {
        for o in outcomes {
            out.line(format_args!("{}: {}", printable(&o.account), words(&o.filled)))?;
        }
    }
    if let Some(first) = failed.first() {
        let why = first.error.as_deref().unwrap_or_default();
        return Err(Error::new(
            Kind::Unreachable,
            format!("{} accounts are not finished; the first: {}: {why}", failed.len(), printable(&first.account)),
        )
        .hint(first.hint.as_deref().unwrap_or("mend the cause and run the same command again: nothing is sent twice")));
    }
    if args.json { Ok(verdict.code()) } else { out.verdict(&verdict) }
}
