//! `floe validate`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::groupware::{Dav, Passwords};
use super::output::{Output, Verdict as Ending};
use super::replay::{left_behind, opened};
use super::target::Access;
use crate::archive::{Archive, Snapshot, line};
use crate::error::{Error, Kind, Result};
use crate::imap::{Connection, Settings};
use crate::model::{CollectionKind, CollectionPath, Digest};
use crate::monitor::{Monitor as _, Terminal};
use crate::net::Secret;
use crate::replay::plan::{self, AccountPlan, Part, Plan};
use crate::validate::mail::{Compared, Difference, Verdict};
use crate::validate::read::compare;

/// Read everything back from the server and compare it with the archive, item by item
///
/// Every message and file is fetched and hashed, every calendar object and card compared property by property, and found to be identical, equivalent (by which rule), changed (what), missing, extra or
/// there twice. DIR/differences.jsonl lists all that is not identical. Nothing is written to the server.
///
/// Example: floe validate --plan acme.plan.toml --admin admin --password-file pw --report acme.report
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The plan
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// Only this account of the archive; may be given again
    #[arg(long = "account", value_name = "NAME")]
    accounts: Vec<String>,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    passwords: Passwords,
    /// Folder for the lists; made when it is not there
    #[arg(long, value_name = "DIR")]
    report: PathBuf,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// How often each outcome.
#[derive(Clone, Debug, Default, Serialize)]
struct Counts {
    identical: u64,
    equivalent: u64,
    changed: u64,
    missing: u64,
    duplicate: u64,
    extra: u64,
}

impl Counts {
    fn note(&mut self, verdict: &Verdict) {
        *match verdict {
            Verdict::Identical => &mut self.identical,
            Verdict::Equivalent(_) => &mut self.equivalent,
            Verdict::Changed(_) => &mut self.changed,
            Verdict::Missing => &mut self.missing,
            Verdict::Duplicate => &mut self.duplicate,
            Verdict::Extra => &mut self.extra,
        } += 1;
    }

    fn faults(&self) -> u64 {
        self.changed + self.missing + self.duplicate + self.extra
    }
}

/// One line of differences.jsonl.
#[derive(Serialize)]
struct Row<'a> {
    account: &'a str,
    folder: &'a CollectionPath,
    mailbox: &'a CollectionPath,
    outcome: &'static str,
    item: Option<Digest>,
    source: Option<&'a str>,
    uid: Option<u32>,
    message_id: Option<&'a str>,
    /// UID of a calendar object or card, or path of a file.
    name: Option<&'a str>,
    href: Option<&'a str>,
    rule: Option<&'static str>,
    differences: &'a [Difference],
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let plan = plan::read(&args.plan)?;
    let (archive, snapshot) = opened(&plan)?;
    std::fs::create_dir_all(&args.report)
        .map_err(|e| Error::io(Kind::Storage, "cannot make the report's folder", &args.report, e))?;
    let path = args.report.join("differences.jsonl");
    let failed = |e| Error::io(Kind::Storage, "cannot write the differences", &path, e);
    let mut rows = BufWriter::new(File::create(&path).map_err(failed)?);
    let settings = args.access.imap_of(&plan)?;
    let password = args.access.password()?;
    let dav = Dav::of(&plan, &args.access, &password, &args.passwords)?;
    let monitor = Terminal::new(args.json);
    monitor.phase("validate", None);
    let mut totals = BTreeMap::new();
    let accounts = plan.accounts_of(&args.accounts);
    let own = plan.login == plan::Login::Own;
    for account in &accounts {
        let counts = totals.entry(account.source.clone()).or_insert_with(Counts::default);
        check_account(args, &plan, account, &archive, &snapshot, &settings, if own { dav.own_password(&account.target) } else { &password }, &monitor, &mut |folder, compared| {
            counts.note(&compared.verdict);
            write_row(&mut rows, &compared.verdict, &row_of(account, folder, compared))
        })?;
        if dav.is_spoken() {
            dav.check(&archive, account, account.entry(&snapshot)?, &monitor, &mut |folder, compared| {
                counts.note(&compared.verdict);
                let row = Row {
                    item: compared.item,
                    source: compared.source.as_deref(),
                    name: Some(&compared.name),
                    href: compared.href.as_deref(),
                    ..Row::new(account, folder, &compared.verdict)
                };
                write_row(&mut rows, &compared.verdict, &row)
            })?;
        }
    }
    monitor.done();
    rows.flush().map_err(failed)?;
    tell(args, &totals, if dav.is_spoken() { 0 } else { left_behind(&accounts) }, &path, out)
}

/// Compares the mail folders of one account.
#[expect(clippy::too_many_arguments, reason = "all of them are what one run knows; a struct would have this one user")]
fn check_account(
    args: &Args,
    plan: &Plan,
    account: &AccountPlan,
    archive: &Archive,
    snapshot: &Snapshot,
    settings: &Settings,
    password: &Secret,
    monitor: &Terminal,
    each: &mut dyn FnMut(&plan::FolderPlan, &Compared) -> Result<()>,
) -> Result<()> {
    let entry = account.entry(snapshot)?;
    // A target may have no IMAP at all.
    let mut connection = None;
    for collection in archive.collections(entry)?.iter().filter(|c| c.head.kind == CollectionKind::Mail) {
        let Some(folder) = account.folder(&collection.head.path, Part::Mail) else { continue };
        let connection = match &mut connection {
            Some(open) => open,
            None => connection.insert(Connection::open(settings, &args.access.login(plan.login, &account.target, password)?)?),
        };
        let mailbox = connection.names().write(&folder.to.0)?;
        for compared in compare(connection, &mailbox, archive, collection, monitor)? {
            each(folder, &compared)?;
        }
    }
    if let Some(connection) = connection {
        connection.logout();
    }
    Ok(())
}

impl<'a> Row<'a> {
    fn new(account: &'a AccountPlan, folder: &'a plan::FolderPlan, verdict: &'a Verdict) -> Self {
        let (outcome, differences): (_, &[Difference]) = match verdict {
            Verdict::Identical => ("identical", &[]),
            Verdict::Equivalent(_) => ("equivalent", &[]),
            Verdict::Changed(differences) => ("changed", differences),
            Verdict::Missing => ("missing", &[]),
            Verdict::Duplicate => ("duplicate", &[]),
            Verdict::Extra => ("extra", &[]),
        };
        let rule = match verdict {
            Verdict::Equivalent(rule) => Some(*rule),
            _ => None,
        };
        let (account, mailbox, folder) = (account.source.as_str(), &folder.to, &folder.from);
        let (item, source, uid, message_id, name, href) = (None, None, None, None, None, None);
        Row { account, folder, mailbox, outcome, item, source, uid, message_id, name, href, rule, differences }
    }
}

fn row_of<'a>(account: &'a AccountPlan, folder: &'a plan::FolderPlan, compared: &'a Compared) -> Row<'a> {
    let (expected, seen) = (compared.expected.as_ref(), compared.seen.as_ref());
    Row {
        item: expected.map(|e| e.item),
        source: expected.map(|e| e.source.as_str()),
        uid: seen.map(|s| s.uid),
        message_id: expected.and_then(|e| e.message_id.as_deref()).or(seen.and_then(|s| s.message_id.as_deref())),
        ..Row::new(account, folder, &compared.verdict)
    }
}

fn write_row(rows: &mut impl std::io::Write, verdict: &Verdict, row: &Row<'_>) -> Result<()> {
    if *verdict == Verdict::Identical {
        return Ok(());
    }
    rows.write_all(&line(row)?).map_err(|e| Error::new(Kind::Storage, "cannot write the differences").because(e))
}

fn tell(args: &Args, totals: &BTreeMap<String, Counts>, left: u64, list: &Path, out: &mut Output<'_>) -> Result<u8> {
    let faults: u64 = totals.values().map(Counts::faults).sum();
    let good: u64 = totals.values().map(|c| c.identical + c.equivalent).sum();
    let ending = if faults == 0 && left > 0 {
        Ending::WithExceptions(format!(
            "{good} messages are on the server as they are in the archive; {left} calendar objects, contacts and files have no way: the server speaks no DAV"
        ))
    } else if faults == 0 {
        Ending::Pass(format!("{good} items are on the server as they are in the archive"))
    } else {
        Ending::WithExceptions(format!("{good} items are as they should be, {faults} are not; see {}", list.display()))
    };
    if args.json {
        out.json(&serde_json::json!({ "accounts": totals, "differences": list, "verdict": ending.words() }))?;
        return Ok(ending.code());
    }
    for (account, c) in totals {
        out.line(format_args!(
            "{}: identical {}, equivalent {}, changed {}, missing {}, duplicate {}, extra {}",
            crate::model::printable(account),
            c.identical,
            c.equivalent,
            c.changed,
            c.missing,
            c.duplicate,
            c.extra
        ))?;
    }
    out.verdict(&ending)
}
