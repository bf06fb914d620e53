//! The `floe` command: parse, run one command, turn the kind of error into an exit code.

use std::error::Error as _;
use std::io::{BufWriter, Write as _};
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
    let mut out = BufWriter::new(std::io::stdout().lock());
    let done = cli::run(cli, &mut out);
    let flushed = out.flush().map_err(|e| floe::Error::new(Kind::Storage, "cannot write to standard output").because(e));
    match done.and_then(|code| flushed.map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        // Whoever read the output has seen enough, as in `floe list | head`.
        Err(e) if is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            let hint = e.next_step().map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
            let _ = writeln!(std::io::stderr(), "error: {e}\n{hint}FAIL");
            ExitCode::from(if e.kind() == Kind::Usage { 64 } else { 2 })
        }
    }
}

fn is_broken_pipe(e: &floe::Error) -> bool {
    std::iter::successors(e.source(), |&cause| cause.source())
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}
