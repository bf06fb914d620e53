//! `floe rehearse`.

use std::path::PathBuf;

use clap::Parser as _;

use super::Cli;
use super::output::Output;
use crate::error::{Error, Kind, Result};
use crate::icewarp::standin::{Difficulties, StandIn};
use crate::model::printable;

/// Go the whole way on this machine, with no server: capture, check, plan, carry over, and compare
///
/// Runs, one after the other and as they would be typed, snapshot, verify, doctor, plan, provision, replay and validate, against the
/// built-in stand-in for IceWarp. It shows what will happen on the day and how long it takes; how the real server behaves, floe doctor
/// finds out. Everything stays in the folder given with --out.
///
/// Example: floe rehearse /srv/mail --domain acme.example --out rehearsal
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Stores, or trees of accounts
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// New folder for the archive, the plan, the stand-in's state and the lists
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Files, or folders of files, that say who there is (see `floe snapshot`); may be given again
    #[arg(long, value_name = "[ADDRESS=]FILE")]
    directory: Vec<String>,
    /// Domain of the accounts whose names are no addresses
    #[arg(long, value_name = "DOMAIN", default_value = "rehearsal.test")]
    domain: String,
    /// What the stand-in does badly, as a list (docs/stand-in.md)
    #[arg(long, value_name = "LIST", default_value = "")]
    difficult: Difficulties,
}

pub(super) fn run(args: Args, out: &mut Output<'_>) -> Result<u8> {
    std::fs::create_dir_all(&args.out)
        .map_err(|e| Error::io(Kind::Storage, "cannot make the rehearsal's folder", &args.out, e))?;
    let file = |name: &str| args.out.join(name).to_string_lossy().into_owned();
    let (archive, sheet, plan) = (file("archive.floe"), file("sheet.json"), file("plan.toml"));
    let paths: Vec<String> = args.paths.iter().map(|p| p.to_string_lossy().into_owned()).collect();
    let mut snapshot = vec!["snapshot"];
    snapshot.extend(paths.iter().map(String::as_str));
    snapshot.extend(["--archive", &archive]);
    snapshot.extend(args.directory.iter().flat_map(|file| ["--directory", file.as_str()]));
    let mut worst = step(&snapshot, out)?;
    worst = worst.max(step(&["verify", &archive, "--full"], out)?);

    let server = StandIn::start(&args.out.join("icewarp"), args.difficult)?;
    let (to, imap, password) =
        (server.http(), format!("imap://{}", server.imap()), server.password_file().to_string_lossy().into_owned());
    let access = ["--admin", server.admin(), "--password-file", &password];
    let mut doctor = vec!["doctor", "--to", &to, "--imap", &imap, "--account", server.admin(), "--out", &sheet];
    doctor.extend(access);
    worst = worst.max(step(&doctor, out)?);
    let planned = ["plan", &archive, "--to", &to, "--imap", &imap, "--sheet", &sheet, "--domain", &args.domain, "--out", &plan];
    worst = worst.max(step(&planned, out)?);
    let (passwords, report) = (file("new-passwords.csv"), file("report"));
    for command in [
        vec!["provision", "--plan", &plan, "--passwords", &passwords],
        vec!["replay", "--plan", &plan, "--sheet", &sheet, "--passwords", &passwords],
        vec!["validate", "--plan", &plan, "--report", &report, "--passwords", &passwords],
        vec!["provision", "--plan", &plan, "--passwords", &passwords, "--finish"],
    ] {
        if args.directory.is_empty() && command.contains(&"--finish") {
            continue;
        }
        worst = worst.max(step(&[command.as_slice(), &access].concat(), out)?);
    }
    Ok(worst)
}

/// Runs a command as it would be typed, and shows it.
fn step(command: &[&str], out: &mut Output<'_>) -> Result<u8> {
    out.line(format_args!("\n$ floe {}", printable(&command.join(" "))))?;
    let cli = Cli::try_parse_from(std::iter::once("floe").chain(command.iter().copied()))
        .map_err(|e| Error::new(Kind::Internal, "a step of the rehearsal is no command").because(e))?;
    super::run_with(cli, out)
}
