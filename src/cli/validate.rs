//! `floe validate`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::groupware::{Dav, Passwords};
use super::output::{Output, Verdict, counts};
use super::record::record;
use super::replay::opened;
use super::target::Access;
use super::unlock::KeyArgs;
use crate::error::{Error, Kind, Result};
use crate::imap::Connection;
use crate::model::printable;
use crate::monitor::{Monitor as _, Terminal};
use crate::net::PATIENT_TRIES;
use crate::proof::events::EventType;
use crate::replay::journal::Journal;
use crate::replay::plan::{self, AccountPlan, ForecastFile, Plan};
use crate::report::{self, Class, Compared, Example, Fixity, Outcome, Report};
use crate::validate::{self, Job};

/// Read everything back from the server and compare it with the archive, item by item
///
/// Every message and file is fetched and hashed, every calendar object and card compared property by property, and found to be identical,
/// equivalent (by which rule), changed (what), missing, extra or there twice; and that is held against the plan's forecast. The report in
/// DIR is a page to read and print (report.html), JSON and CSV; items.csv has a line an item. Nothing is written to the server.
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
    /// Compare only so many items, drawn by the seed; what is on the server besides is not looked at then
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    sample: Option<u32>,
    /// Draws the same sample again
    #[arg(long, value_name = "S", default_value_t = 1, requires = "sample")]
    seed: u64,
    /// Accounts at a time, one connection each
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    connections: u16,
    #[command(flatten)]
    access: Access,
    #[command(flatten)]
    passwords: Passwords,
    /// Folder for the report; made when it is not there
    #[arg(long, value_name = "DIR")]
    report: PathBuf,
    /// Write down in the archive's events.jsonl that the server was compared with it, where the archive can be written
    #[arg(long)]
    record: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    key: KeyArgs,
}

/// How the comparison is made.
const METHOD: &str = "SHA-256 of what the target gives back, flags, keywords and internal date of every message; calendar objects and \
                      cards property by property; SHA-256 and modification time of every file";

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let plan = plan::read(&args.plan)?;
    let (archive, snapshot) = opened(&plan, &args.key)?;
    let accounts = plan.accounts_of(&args.accounts);
    if accounts.is_empty() {
        return Err(Error::usage("no account is left to compare").hint("look at skip in the plan, and at --account"));
    }
    let settings = args.access.imap_of(&plan)?;
    let password = args.access.password()?;
    let dav = Dav::of(&plan, &args.access, &password, &args.passwords)?;
    dav.reach(&settings, &accounts, |_| true)?;
    let mut builder =
        report::begin(&args.report, report::Job::Validate, (&archive, Path::new(&plan.archive)), &snapshot, options(args))?;
    builder.compare_method(METHOD);
    describe(args, &plan, &mut builder);
    let forecast = forecast_of(&args.plan, &mut builder)?;
    let connect = |account: &AccountPlan| {
        let password = dav.password_of(&account.target);
        Connection::open(&settings, &args.access.login(plan.login, &account.target, password)?)
    };
    let enter = |account: &AccountPlan| {
        let (client, homes) = dav.enter(&account.target)?;
        Ok((client.with_tries(PATIENT_TRIES), homes))
    };
    let monitor = Terminal::new(args.json);
    let bytes = args.sample.is_none().then(|| accounts.iter().map(|a| a.bytes).sum());
    monitor.phase("validate", bytes);
    let journal = journal_of(&args.plan, &monitor);
    let begun = Instant::now();
    let job = Job {
        plan: &plan,
        archive: &archive,
        snapshot: &snapshot,
        forecast: forecast.as_ref(),
        journal: journal.as_ref(),
        accounts: &accounts,
        sample: args.sample.map(|items| (items as usize, args.seed)),
        connections: usize::from(args.connections),
        connect: &connect,
        enter: if dav.is_spoken() { Some(&enter) } else { None },
        monitor: &monitor,
    };
    let builder = Mutex::new(builder);
    let left = validate::run(&job, &builder)?;
    monitor.done();
    let mut builder = builder.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(fixity) = &mut builder.fixity {
        fixity.elapsed_ms = begun.elapsed().as_millis() as u64;
    }
    if left > 0 {
        let detail = format!("{left} calendar objects, contacts and files");
        let example = Example { account: String::new(), folder: String::new(), place: String::new(), detail };
        builder.exception(Class::Note, "not compared: the server speaks no DAV", example)?;
    }
    let outcome = "this comparison; see the verdict".to_owned();
    builder.event(report::just_now(EventType::Validation, snapshot.digest, outcome));
    let report = builder.finish()?;
    let ended = tell(args, &report, out);
    if args.record {
        let compared = report.compare.as_ref().map_or(0, |compare| compare.all.identical + compare.all.equivalent);
        record(Path::new(&plan.archive), EventType::Validation, snapshot.digest, compared, &ended);
    }
    ended
}

/// The options in use, for the report; none of them is a secret.
fn options(args: &Args) -> BTreeMap<String, String> {
    report::options([
        ("plan", args.plan.display().to_string()),
        ("account", args.accounts.join(", ")),
        ("sample", args.sample.map(|sample| sample.to_string()).unwrap_or_default()),
        ("seed", args.sample.map(|_| args.seed.to_string()).unwrap_or_default()),
    ])
}

fn describe(args: &Args, plan: &Plan, builder: &mut report::Builder) {
    builder.scope.target = Some(plan.imap.clone().unwrap_or_else(|| plan.to.clone()));
    builder.fixity = Some(Fixity { level: "replay compare".to_owned(), ..Fixity::default() });
    let scope = &mut builder.scope;
    for account in plan.accounts.iter().filter(|a| a.skip) {
        scope.out_of_scope.push(format!("{}: the plan leaves the account out.", account.source));
    }
    scope.filters.extend(args.accounts.iter().map(|name| format!("account {name}")));
    if let Some(items) = args.sample {
        scope.filters.push(format!("a sample of {items} items drawn with the seed {}", args.seed));
        scope.out_of_scope.push("Items that are not in the sample, and what is on the target besides.".to_owned());
    }
}

/// The forecast beside the plan. Where there is none, nothing counts as foreseen, and the report says so.
fn forecast_of(plan: &Path, builder: &mut report::Builder) -> Result<Option<ForecastFile>> {
    let path = plan.with_extension("forecast.jsonl");
    if path.exists() {
        return ForecastFile::open(&path).map(Some);
    }
    let detail = "make it anew with floe plan".to_owned();
    let (account, folder) = (String::new(), String::new());
    let example = Example { account, folder, place: path.display().to_string(), detail };
    builder.exception(Class::Note, "there is no file of the forecast beside the plan", example)?;
    Ok(None)
}

/// The journal beside the plan. It proves nothing; without it only less is known of what cannot be paired.
fn journal_of(plan: &Path, monitor: &Terminal) -> Option<Journal> {
    let path = plan.with_extension("journal");
    let journal = path.exists().then(|| Journal::look(&path)).transpose();
    journal.unwrap_or_else(|e| {
        monitor.note(&format!("goes on without replay's journal: {e}"));
        None
    })
}

fn tell(args: &Args, report: &Report, out: &mut Output<'_>) -> Result<u8> {
    let all = report.compare.as_ref().map(|compare| compare.all.clone()).unwrap_or_default();
    let page = args.report.join("report.html");
    if !args.json {
        for account in report.totals.accounts.iter().filter(|a| !a.name.is_empty()) {
            if let Some(c) = &account.compare {
                out.line(format_args!("{}: {}", printable(&account.name), words(c)))?;
            }
        }
        for cause in report.exceptions.iter().filter(|cause| cause.class != Class::Skipped) {
            out.line(format_args!("{} {}: {}", cause.count, cause.class.word(), printable(&cause.cause)))?;
        }
        out.line(format_args!("report {}", page.display()))?;
    }
    let good = all.identical + all.equivalent;
    let verdict = match report.verdict.result {
        Outcome::Pass => Verdict::Pass(format!("{good} items are on the server as they are in the archive")),
        Outcome::PassWithExceptions => Verdict::WithExceptions(format!(
            "{good} items are as they are in the archive; the rest is listed, and none is lost unforeseen"
        )),
        Outcome::Fail => {
            let why = report.verdict.reasons.first().map(|reason| printable(reason)).unwrap_or_default();
            if args.json {
                out.json(&serde_json::json!({ "compare": report.compare, "report": page, "verdict": format!("FAIL: {why}") }))?;
            }
            return Err(Error::new(Kind::Damage, format!("the server does not hold what the archive holds: {why}"))
                .hint("the report names every item; run floe replay again for what is missing"));
        }
    };
    if args.json {
        out.json(&serde_json::json!({ "compare": report.compare, "report": page, "verdict": verdict.words() }))?;
        return Ok(verdict.code());
    }
    out.verdict(&verdict)
}

fn words(c: &Compared) -> String {
    counts(&[
        ("identical", c.identical),
        ("equivalent", c.equivalent),
        ("refused as forecast", c.refused),
        ("changed as forecast", c.altered),
        ("changed", c.changed),
        ("missing", c.missing),
        ("extra", c.extra),
        ("duplicate", c.duplicate),
    ])
}
