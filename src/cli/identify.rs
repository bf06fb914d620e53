//! `floe identify`.

use std::path::PathBuf;

use super::output::{Output, Verdict};
use crate::error::Result;
use crate::model::{Outcome, printable};
use crate::monitor::Terminal;
use crate::source::{Format, discover, identify};

/// Say what is here without capturing it
///
/// Shows formats with the evidence for them, accounts, collections, counts, bytes, dates, the biggest items and trouble
/// to be expected. Refuses to guess when a path could be two things, and says between what. Nothing is written.
///
/// Example: floe identify mail
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Paths to look at
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The format, where a path could be two things
    #[arg(long = "as", value_name = "FORMAT")]
    format: Option<Format>,
    /// Print everything as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let found = identify(&discover(&args.paths, &[], args.format)?, &Terminal::new(args.json))?;
    let failing = found.trouble.iter().filter(|e| e.outcome == Outcome::Failed).count();
    let (items, bytes) = found.collections.iter().fold((0, 0), |(n, b), c| (n + c.items, b + c.bytes));
    let what = format!("{items} items, {bytes} bytes, {} would be skipped or fail", found.trouble.len());
    let verdict = if failing > 0 { Verdict::WithExceptions(what) } else { Verdict::Pass(what) };
    if args.json {
        out.json(&found)?;
        return Ok(verdict.code());
    }
    for evidence in &found.evidence {
        out.line(format_args!("{}: {}", evidence.format, printable(&evidence.because.join(", "))))?;
    }
    for c in &found.collections {
        let span = match (c.oldest, c.newest) {
            (Some(oldest), Some(newest)) => format!("{} to {}", oldest.strftime("%F"), newest.strftime("%F")),
            _ => String::new(),
        };
        let name = printable(&format!("{}  {}", c.account, c.collection));
        out.line(format_args!("{:>8} items {:>13} bytes  {span:24} {name}", c.items, c.bytes))?;
        if let Some((place, bytes)) = c.biggest.first().filter(|(_, bytes)| *bytes > 25 << 20) {
            out.line(format_args!("         biggest: {bytes} bytes, {place}"))?;
        }
    }
    out.verdict(&verdict)
}
