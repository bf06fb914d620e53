//! The `floe` command: parse, run one command, turn the kind of error into an exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use floe::Kind;
use floe::cli::{self, Cli};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            // sysexits: 64 is wrong usage; --help and --version are no errors.
            return ExitCode::from(if e.use_stderr() { 64 } else { 0 });
        }
    };
    let mut out = std::io::stdout().lock();
    match cli::run(cli, &mut out).and_then(|code| {
        out.flush().map_err(|e| floe::Error::new(Kind::Storage, "cannot write to standard output").because(e))?;
        Ok(code)
    }) {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            let hint = e.next_step().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
            // Where standard error cannot be written either, the exit code must do.
            let _ = write!(std::io::stderr(), "error: {e}\n{hint}FAIL\n");
            ExitCode::from(if e.kind() == Kind::Usage { 64 } else { 2 })
        }
    }
}
