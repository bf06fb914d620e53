//! The command line: one file per command, whose doc comment is its help; here they are only named and called.
//!
//! What a command that does or checks something prints last is its verdict, and the exit code says the same.

mod completions;
mod diff;
mod directory;
mod doctor;
mod events;
mod evidence;
mod export;
mod forget;
mod groupware;
mod handover;
mod hold;
mod identify;
mod index;
mod key;
mod list;
mod man;
mod manifest;
mod output;
mod plan;
mod protect;
mod provision;
mod receive;
mod record;
mod rehearse;
mod repair;
mod replay;
mod salvage;
mod ship;
mod show;
mod sign;
mod snapshot;
mod standin;
mod status;
mod target;
mod timestamp;
mod validate;
mod verify;

use std::io::Write;

use clap::{Parser, Subcommand};

use self::output::Output;
use crate::error::Result;

/// Carry a company's mail into an archive that can be trusted, check it, take it out again
///
/// Exit codes: 0 all well, 1 finished with exceptions that are listed, 2 failed, 64 wrong usage. The last line of a command
/// that does or checks something says the same in words: PASS, PASS WITH EXCEPTIONS or FAIL.
#[derive(Debug, Parser)]
#[command(version, name = "floe")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Identify(identify::Args),
    Snapshot(snapshot::Args),
    Verify(verify::Args),
    List(list::Args),
    Show(show::Args),
    Manifest(manifest::Args),
    Evidence(evidence::Args),
    Timestamp(timestamp::Args),
    Handover(handover::Args),
    Key(key::Args),
    Sign(sign::Args),
    Events(events::Args),
    Hold(hold::Args),
    Forget(forget::Args),
    Diff(diff::Args),
    Export(export::Args),
    Index(index::Args),
    Ship(ship::Args),
    Receive(receive::Args),
    Salvage(salvage::Args),
    Protect(protect::Args),
    Repair(repair::Args),
    Doctor(doctor::Args),
    Plan(plan::Args),
    Provision(provision::Args),
    Replay(replay::Args),
    Status(status::Args),
    Validate(validate::Args),
    Rehearse(rehearse::Args),
    StandIn(standin::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Runs the command; the exit code (0 all well, 1 finished with exceptions that are listed).
///
/// # Errors
/// When the command failed as a whole.
pub fn run(cli: Cli, out: &mut dyn Write) -> Result<u8> {
    run_with(cli, &mut Output::new(out))
}

fn run_with(cli: Cli, out: &mut Output<'_>) -> Result<u8> {
    match cli.command {
        Command::Identify(args) => identify::run(&args, out),
        Command::Snapshot(args) => snapshot::run(&args, out),
        Command::Verify(args) => verify::run(args, out),
        Command::List(args) => list::run(&args, out),
        Command::Show(args) => show::run(&args, out),
        Command::Evidence(args) => evidence::run(args, out),
        Command::Handover(args) => handover::run(&args, out),
        Command::Timestamp(args) => timestamp::run(&args, out),
        Command::Manifest(args) => manifest::run(args, out),
        Command::Key(args) => key::run(args, out),
        Command::Sign(args) => sign::run(&args, out),
        Command::Events(args) => events::run(&args, out),
        Command::Hold(args) => hold::run(&args, out),
        Command::Forget(args) => forget::run(&args, out),
        Command::Diff(args) => diff::run(&args, out),
        Command::Export(args) => export::run(args, out),
        Command::Index(args) => index::run(&args, out),
        Command::Ship(args) => ship::run(args, out),
        Command::Receive(args) => receive::run(&args, out),
        Command::Salvage(args) => salvage::run(&args, out),
        Command::Protect(args) => protect::run(&args, out),
        Command::Repair(args) => repair::run(&args, out),
        Command::Doctor(args) => doctor::run(&args, out),
        Command::Plan(args) => plan::run(&args, out),
        Command::Provision(args) => provision::run(&args, out),
        Command::Replay(args) => replay::run(&args, out),
        Command::Status(args) => status::run(&args, out),
        Command::Validate(args) => validate::run(&args, out),
        Command::Rehearse(args) => rehearse::run(args, out),
        Command::StandIn(args) => standin::run(args, out),
        Command::Completions(args) => completions::run(&args, out),
        Command::Man(args) => man::run(&args, out),
    }
}
