//! `floe stand-in`.

use std::io::Read as _;
use std::path::PathBuf;

use super::output::Output;
use crate::error::Result;
use crate::icewarp::standin::{Difficulties, StandIn};

/// Run the built-in stand-in for an IceWarp server
///
/// Serves the XML API, IMAP and DAV on loopback ports until its standard input closes, and keeps everything in a folder that can be
/// looked at. It is for rehearsals and tests: what it takes, a real server need not take. What it is and what it can be told to do
/// badly is in docs/stand-in.md.
///
/// Example: floe stand-in /tmp/icewarp --difficult no-uidplus,tarpit=50
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder for its state, made if need be
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// What it does badly, as a list
    #[arg(long, value_name = "LIST", default_value = "")]
    difficult: String,
}

pub(super) fn run(args: Args, out: &mut Output<'_>) -> Result<u8> {
    let standin = StandIn::start(&args.dir, args.difficult.parse::<Difficulties>()?)?;
    out.line(format_args!("http {}", standin.http()))?;
    out.line(format_args!("imap imap://{}", standin.imap()))?;
    out.line(format_args!("admin {}", standin.admin()))?;
    out.line(format_args!("password-file {}", crate::model::printable(&standin.password_file().display().to_string())))?;
    out.flush()?;
    // Whoever started it holds the other end, and ends it by going away.
    let _ = std::io::copy(&mut std::io::stdin().lock().by_ref(), &mut std::io::sink());
    Ok(0)
}
