//! `floe events`.

use std::path::PathBuf;

use serde_json::Value;

use super::output::{Output, Verdict, shown_time};
use crate::archive::{Archive, Findings};
use crate::error::{Error, Result};
use crate::model::printable;
use crate::proof::events::{self, Event, Log, Outcome};

/// Show what happened to an archive, and check that record
///
/// Who captured, checked, signed, copied and carried what and when, from events.jsonl. Each event names the digest of the one before, and each snapshot
/// that of the last event before it: an event that was changed, taken out, added or moved is found and named, and ends in
/// exit code 2.
///
/// Example: floe events acme.floe
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// Print the events as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let archive = Archive::open(&args.archive)?;
    let log = Log::read(archive.store())?;
    let mut found = Findings::default();
    events::check_listed(archive.store(), &log, &mut found)?;
    events::check(&archive, &mut found)?;
    let events: Vec<&Event> = log.lines.iter().filter_map(|line| line.event.as_ref().ok()).collect();
    let verdict = match (events.len(), found.warnings.len()) {
        (0, _) => Verdict::WithExceptions("this archive has no record of events yet".to_owned()),
        (n, 0) => Verdict::Pass(format!("{n} events, none changed or missing")),
        (n, _) => Verdict::WithExceptions(format!("{n} events; see the notes above")),
    };
    let damage = format!("the record of events has {} damages", found.damage.len());
    if args.json {
        let words = if found.damage.is_empty() { verdict.words() } else { format!("FAIL: {damage}") };
        out.json(&serde_json::json!({ "events": events, "damage": found.damage, "warnings": found.warnings, "verdict": words }))?;
    } else {
        for event in events {
            out.line(printable(&words(event)))?;
        }
        for line in &found.damage {
            out.line(format_args!("damaged: {}", printable(line)))?;
        }
        for line in &found.warnings {
            out.line(format_args!("note: {}", printable(line)))?;
        }
    }
    if !found.damage.is_empty() {
        return Err(Error::damage(damage)
            .hint("copy events.jsonl and tagmanifest-sha256.txt from another copy of the archive, then check again"));
    }
    if args.json { Ok(verdict.code()) } else { out.verdict(&verdict) }
}

fn words(event: &Event) -> String {
    let outcome = match event.outcome {
        Outcome::Success => "success",
        Outcome::Warning => "warning",
        Outcome::Fail => "fail",
    };
    let root = event.root.map(|root| format!(", root {}", root.short())).unwrap_or_default();
    let detail = event.detail.iter().map(|(name, value)| match value {
        Value::String(text) => format!(", {name} {text}"),
        value => format!(", {name} {value}"),
    });
    format!(
        "{:>4}  {}  {}: {outcome}, by {} with {}{root}{}",
        event.event,
        shown_time(event.at),
        event.kind.term(),
        event.agent,
        event.tool,
        detail.collect::<String>()
    )
}
