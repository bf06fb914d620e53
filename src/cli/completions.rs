//! `floe completions`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::output::Output;
use crate::error::{Error, Kind, Result};

/// Print the completions for a shell
///
/// To be put where the shell looks for them.
///
/// Example: floe completions bash > ~/.local/share/bash-completion/completions/floe
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    // Into memory first: the generator panics when it cannot write.
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "floe", &mut text);
    out.bytes().write_all(&text).map_err(|e| Error::new(Kind::Storage, "cannot write to standard output").because(e))?;
    Ok(0)
}
