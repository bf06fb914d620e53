//! `floe man`.

use std::path::PathBuf;

use clap::CommandFactory as _;

use super::output::Output;
use crate::error::{Error, Kind, Result};

/// Print the manual pages
///
/// With --out, writes one file a command (floe.1, floe-export.1, ...) and replaces older ones; without, prints all pages one
/// after the other.
///
/// Example: floe man --out ~/.local/share/man/man1
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder to write to; made when it is not there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let mut command = super::Cli::command().disable_help_subcommand(true);
    if let Some(dir) = &args.out {
        let failed = |e| Error::io(Kind::Storage, "cannot write the manual pages", dir, e);
        std::fs::create_dir_all(dir).map_err(failed)?;
        clap_mangen::generate_to(command, dir).map_err(failed)?;
        return Ok(0);
    }
    // Gives the commands their full names.
    command.build();
    for page in std::iter::once(&command).chain(command.get_subcommands()) {
        clap_mangen::Man::new(page.clone())
            .render(out.bytes())
            .map_err(|e| Error::new(Kind::Storage, "cannot write to standard output").because(e))?;
    }
    Ok(0)
}
