//! `floe protect`.

use std::path::PathBuf;

use serde::Serialize;

use super::output::{Output, Verdict};
use crate::error::{Error, Result};
use crate::model::printable;
use crate::monitor::Terminal;
use crate::parity::{self, Done};

/// Add recovery data to an archive, so that damage can be mended
///
/// Writes a file of recovery data for every pack and every snapshot root into the folder parity/ of the archive, in the format
/// PAR2: 'floe repair' mends with it, and so does the stock command par2. Files of up to 256 KiB get enough to be made anew when they are missing.
/// Can be repeated: only what has no recovery data yet gets some, and recovery data that is damaged is made anew. Run it after each snapshot.
///
/// Example: floe protect acme.floe --percent 5
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// How much of a file may be lost and still be mended
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=100))]
    percent: u8,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    done: &'a Done,
    percent: u8,
    verdict: String,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let done = parity::protect(&args.archive, args.percent, &Terminal::new(args.json))?;
    let damage = format!("{} files are damaged or missing and got no recovery data", done.damaged.len());
    let verdict = Verdict::Pass(format!(
        "{} files of {} bytes got {} bytes of recovery data, {} had it already",
        done.added, done.protected_bytes, done.parity_bytes, done.kept
    ));
    if args.json {
        let verdict = if done.damaged.is_empty() { verdict.words() } else { format!("FAIL: {damage}") };
        out.json(&Report { done: &done, percent: args.percent, verdict })?;
    } else {
        for name in &done.renewed {
            out.line(format_args!("made anew, it was damaged: {}", printable(name)))?;
        }
        if done.spare {
            out.line("the small files (signatures, time stamps, events, holds) lie in parity/spare.tar once more")?;
        }
        for line in &done.damaged {
            out.line(format_args!("damaged: {}", printable(line)))?;
        }
    }
    if !done.damaged.is_empty() {
        return Err(Error::damage(damage).hint("mend the archive with 'floe repair', then protect it again"));
    }
    if args.json { Ok(verdict.code()) } else { out.verdict(&verdict) }
}
