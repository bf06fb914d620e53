//! `floe plan`.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::groupware::dav_address;
use super::output::{Output, Verdict};
use super::unlock::KeyArgs;
use crate::archive::{Snapshot, line};
use crate::error::{Error, Kind, Result};
use crate::model::printable;
use crate::net::Address;
use crate::replay::plan::{self, Cause, Change, Summary};
use crate::replay::sheet::Sheet;

/// Draft what will be done to the server, and say what it will not keep
///
/// Maps every account and folder of a snapshot to where it belongs on the server and writes the plan as a TOML file to read
/// and edit. Beside it, PLAN.forecast.jsonl lists item by item what the server will refuse or change. Nothing is sent to the server.
///
/// For the delta before cut-over, --update makes a plan for the newest snapshot out of one that was edited: what was decided in it stays;
/// what has changed at the source since then (accounts, folders, domains, aliases, members, forwards and the like) is brought in, and said.
/// The old one is kept as PLAN.old.
///
/// Example: floe plan acme.floe --to imaps://mail.acme.example --sheet acme.sheet.json --out acme.plan.toml
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder of the archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// The server
    #[arg(long, value_name = "URL")]
    to: Address,
    /// Its IMAP address, where that is not the usual port of the same host
    #[arg(long, value_name = "URL")]
    imap: Option<Address>,
    /// Its DAV address, where that is not the address of the server
    #[arg(long, value_name = "URL")]
    dav: Option<Address>,
    /// Where to write the plan; a file that is there is not overwritten
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Bring the plan in --out up to date with the snapshot
    #[arg(long)]
    update: bool,
    /// What floe doctor found out about the server; careful assumptions without it
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,
    /// Domain of the accounts whose names are no addresses
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<String>,
    /// The snapshot, by any unambiguous part of its id; the newest without it
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    key: KeyArgs,
}

/// The result as JSON.
#[derive(Serialize)]
struct Report {
    plan: String,
    forecast: String,
    accounts: usize,
    folders: usize,
    items: u64,
    touched: u64,
    entries: u64,
    causes: Vec<(Cause, u64)>,
    changes: Vec<Change>,
    verdict: String,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let archive = args.key.open(&args.archive)?;
    let snapshot = archive.snapshot(args.snapshot.as_deref())?;
    let mut sheet = sheet_of(args.sheet.as_deref())?;
    sheet.dav = sheet.dav.filter(|_| dav_address(&args.to, args.dav.as_ref()).is_some());
    let draft = |snapshot: &Snapshot| {
        plan::draft(&archive, &args.archive.to_string_lossy(), snapshot, &args.to.to_string(), args.domain.as_deref(), &sheet)
    };
    let mut drafted = draft(&snapshot)?;
    drafted.imap = args.imap.as_ref().map(Address::to_string);
    drafted.dav = args.dav.as_ref().map(Address::to_string);
    let mut changes = Vec::new();
    if args.update {
        (drafted, changes) = plan::renew(&archive, drafted, plan::read(&args.out)?, &draft)?;
        let old = args.out.with_extension("toml.old");
        std::fs::rename(&args.out, &old).map_err(|e| Error::io(Kind::Storage, "cannot keep the old plan", &old, e))?;
    }
    let list = args.out.with_extension("forecast.jsonl");
    let mut file = create(&args.out)?;
    let mut rows =
        BufWriter::new(File::create(&list).map_err(|e| Error::io(Kind::Storage, "cannot write the forecast", &list, e))?);
    let failed = |e| Error::io(Kind::Storage, "cannot write the forecast", &list, e);
    let summary =
        plan::forecast(&archive, &snapshot, &drafted, &sheet, &mut |foreseen| rows.write_all(&line(&foreseen)?).map_err(failed))?;
    rows.flush().map_err(failed)?;
    file.write_all(plan::write(&drafted, &summary).as_bytes())
        .map_err(|e| Error::io(Kind::Storage, "cannot write the plan", &args.out, e))?;
    tell(args, &drafted, &summary, changes, &list, out)
}

/// The capability sheet in a file; what is assumed of a server, without one.
pub(super) fn sheet_of(path: Option<&Path>) -> Result<Sheet> {
    let Some(path) = path else { return Ok(Sheet::assumed()) };
    let bytes = std::fs::read(path).map_err(|e| Error::io(Kind::Usage, "cannot read the capability sheet", path, e))?;
    serde_json::from_slice(&bytes).map_err(|e| {
        Error::usage("this is no capability sheet")
            .with("path", path.display())
            .because(e)
            .hint("make a new one with floe doctor")
    })
}

fn create(path: &Path) -> Result<File> {
    File::create_new(path).map_err(|e| {
        let refused = Error::io(Kind::Usage, "cannot make the plan's file", path, e);
        if path.exists() {
            refused.hint("it may hold somebody's edits: bring it up to date with --update, or name another with --out")
        } else {
            refused
        }
    })
}

fn tell(
    args: &Args,
    drafted: &plan::Plan,
    summary: &Summary,
    changes: Vec<Change>,
    list: &Path,
    out: &mut Output<'_>,
) -> Result<u8> {
    let waiting = drafted.accounts.iter().filter(|a| a.skip).count() as u64;
    let mut odd = Vec::new();
    for (count, words) in [
        (summary.touched, format!("of {} items will not arrive as they are", summary.items)),
        (summary.entries, "filters, rights, addresses and passwords are not carried as they are".to_owned()),
        (waiting, "accounts need an address from you or are left out".to_owned()),
    ] {
        if count > 0 {
            odd.push(format!("{count} {words}"));
        }
    }
    let verdict = match odd.as_slice() {
        [] => Verdict::Pass(format!("{} items, all expected to arrive as they are", summary.items)),
        odd => Verdict::WithExceptions(odd.join(", ")),
    };
    let folders = drafted.accounts.iter().map(|a| a.folders.len()).sum();
    if args.json {
        out.json(&Report {
            plan: args.out.display().to_string(),
            forecast: list.display().to_string(),
            accounts: drafted.accounts.len(),
            folders,
            items: summary.items,
            touched: summary.touched,
            entries: summary.entries,
            causes: summary.causes.iter().map(|(cause, count)| (*cause, *count)).collect(),
            changes,
            verdict: verdict.words(),
        })?;
        return Ok(verdict.code());
    }
    out.line(format_args!("plan {} for {} accounts and {folders} folders", args.out.display(), drafted.accounts.len()))?;
    for change in &changes {
        out.line(format_args!("updated   {}: {}", printable(&change.of), printable(&change.what)))?;
    }
    for (cause, count) in &summary.causes {
        out.line(format_args!("{count:>8}  {}", cause.words()))?;
    }
    out.line(format_args!("list {}", list.display()))?;
    out.verdict(&verdict)
}
