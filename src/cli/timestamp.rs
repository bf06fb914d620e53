//! `floe timestamp`.

use std::path::PathBuf;

use serde::Serialize;

use super::output::{Output, Verdict};
use crate::archive::Archive;
use crate::error::Result;
use crate::proof::timestamp::{Question, Stamp, attach, request};

/// Have a time-stamping authority attest when a snapshot was there
///
/// --request writes a question (RFC 3161) with the SHA-256 of the snapshot's root into timestamps/ of the archive, to be
/// carried to any time-stamping authority, by whatever machine has a network. Nothing of the archive but that digest is in it.
/// --attach keeps the authority's answer there, when it is a granted one and belongs to the question. Both can be repeated, and
/// several authorities can be asked. `floe verify` checks that answers are of their roots; who gave them is checked by openssl
/// with the authority's certificate, and the command is printed.
///
/// Example: floe timestamp acme.floe --request
///
/// Example: floe timestamp acme.floe --attach answer.tsr
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["request", "attach"])))]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// Write the question
    #[arg(long)]
    request: bool,
    /// The authority's answer to keep
    #[arg(long, value_name = "FILE.tsr")]
    attach: Option<PathBuf>,
    /// Any unambiguous part of a snapshot's name; --request takes the newest otherwise, --attach the one that the answer is of
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a, T> {
    #[serde(flatten)]
    done: &'a T,
    check: String,
    verdict: String,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    // Says so where there is no archive, before a folder is made.
    drop(Archive::open(&args.archive)?);
    let snapshot = args.snapshot.as_deref();
    match &args.attach {
        Some(answer) => attached(args, &attach(&args.archive, answer, snapshot)?, out),
        None => asked(args, &request(&args.archive, snapshot)?, out),
    }
}

fn asked(args: &Args, question: &Question, out: &mut Output<'_>) -> Result<u8> {
    let file = args.archive.join(&question.file);
    let verdict = Verdict::Pass(format!("{} asks about the root of {}", file.display(), question.snapshot));
    let check = format!("openssl ts -query -in {} -text", question.file);
    if args.json {
        out.json(&Report { done: question, check, verdict: verdict.words() })?;
        return Ok(verdict.code());
    }
    if question.was_there {
        out.line("this question was written before; it is left as it is, so that answers to it fit")?;
    }
    out.line(format_args!("SHA-256 of the root: {}", question.sha256))?;
    out.line("send the file to an authority, such as with:")?;
    out.line(format_args!(
        "  curl -H 'Content-Type: application/timestamp-query' --data-binary @{} https://AUTHORITY > answer.tsr",
        file.file_name().unwrap_or_default().display()
    ))?;
    out.line("then: floe timestamp ARCHIVE --attach answer.tsr")?;
    out.verdict(&verdict)
}

fn attached(args: &Args, stamp: &Stamp, out: &mut Output<'_>) -> Result<u8> {
    let verdict = Verdict::Pass(format!("kept as {}: the root of {} was there at {}", stamp.file, stamp.snapshot, stamp.at));
    let check = stamp.command();
    if args.json {
        out.json(&Report { done: stamp, check, verdict: verdict.words() })?;
        return Ok(verdict.code());
    }
    out.line("whether the authority really gave it is checked with its certificate, in the archive's folder:")?;
    out.line(format_args!("  {check}"))?;
    out.verdict(&verdict)
}
