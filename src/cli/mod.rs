//! The command line: one function per command; what it prints last is the verdict, and the exit code says the same.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::archive::{self, Archive, Options, Writer};
use crate::error::{Error, Kind, Result};
use crate::model::{Digest, printable, safe_file_name};
use crate::monitor::Terminal;
use crate::snapshot::{self, Account};
use crate::source::mbox;

/// Carry a company's mail into an archive that can be trusted, check it, take it out again
#[derive(Debug, Parser)]
#[command(version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Capture mail stores into an archive
    ///
    /// Reads mbox files and folders of them, Thunderbird folders and Google Takeout mail. Each PATH is one account, named by
    /// its file or folder name, or by --account. The source is never written to; what cannot be read is listed and counted.
    ///
    /// Example: floe snapshot --account anna@acme.example=mail/anna --archive acme.floe
    Snapshot {
        /// Stores to capture, one account each
        paths: Vec<PathBuf>,
        /// Folder of the archive; made when it is not there
        #[arg(long)]
        archive: PathBuf,
        /// A store and the account that it belongs to; may be given again
        #[arg(long = "account", value_name = "NAME=PATH", value_parser = named)]
        accounts: Vec<(String, PathBuf)>,
        /// zstd level for headers and text; attachments never take more than 3
        #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(i32).range(1..=22))]
        level: i32,
    },
    /// Check that an archive is intact
    ///
    /// Checks the bag files and the digest of every pack; with --full also rebuilds and hashes every object and every item of
    /// every snapshot.
    ///
    /// Example: floe verify acme.floe --full
    Verify {
        /// The archive
        archive: PathBuf,
        /// Rebuild and hash everything
        #[arg(long)]
        full: bool,
        /// Print the findings as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show what an archive holds
    ///
    /// Example: floe list acme.floe
    List {
        /// The archive
        archive: PathBuf,
        /// Any unambiguous part of a snapshot's name; the newest otherwise
        #[arg(long)]
        snapshot: Option<String>,
    },
    /// Write one item's bytes to standard output
    ///
    /// Example: floe show acme.floe 5f2c... > mail.eml
    Show {
        /// The archive
        archive: PathBuf,
        /// SHA-256 of the item
        sha256: Digest,
    },
    /// Take all mail out as .eml files
    ///
    /// Writes OUT/ACCOUNT/FOLDER/NUMBER-SHA256.eml with the internal date as the file's time. Existing files are never replaced.
    ///
    /// Example: floe export acme.floe --out taken-out
    Export {
        /// The archive
        archive: PathBuf,
        /// Folder to write to
        #[arg(long)]
        out: PathBuf,
        /// Any unambiguous part of a snapshot's name; the newest otherwise
        #[arg(long)]
        snapshot: Option<String>,
    },
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("write it as NAME=PATH")?;
    Ok((name.to_owned(), PathBuf::from(path)))
}

/// Runs the command; the exit code (0 all well, 1 finished with exceptions that are listed).
///
/// # Errors
/// When the command failed as a whole.
pub fn run(cli: Cli, out: &mut dyn Write) -> Result<u8> {
    match cli.command {
        Command::Snapshot { paths, archive, accounts, level } => take(&paths, &accounts, &archive, level, out),
        Command::Verify { archive, full, json } => check(&archive, full, json, out),
        Command::List { archive, snapshot } => list(&archive, snapshot.as_deref(), out),
        Command::Show { archive, sha256 } => Archive::open(&archive)?.copy(sha256, out).map(|_| 0),
        Command::Export { archive, out: to, snapshot } => export(&archive, &to, snapshot.as_deref(), out),
    }
}

fn say(out: &mut dyn Write, text: std::fmt::Arguments<'_>) -> Result<()> {
    writeln!(out, "{text}").map_err(|e| Error::new(Kind::Storage, "cannot write to standard output").because(e))
}

fn take(paths: &[PathBuf], named: &[(String, PathBuf)], archive: &Path, level: i32, out: &mut dyn Write) -> Result<u8> {
    let own = paths.iter().map(|p| {
        let name = p.file_stem().map_or_else(|| p.display().to_string(), |n| n.to_string_lossy().into_owned());
        (name, p.clone())
    });
    let mut accounts: Vec<Account> = Vec::new();
    for (name, path) in own.chain(named.iter().cloned()) {
        let evidence = mbox::detect(&path)?.ok_or_else(|| {
            Error::usage("nothing that floe can read is here")
                .with("path", path.display())
                .hint("floe reads mbox files and folders of them")
        })?;
        let reader = mbox::open(&path, evidence.format)?;
        match accounts.iter_mut().find(|a| a.name == name) {
            Some(_) => {
                return Err(Error::usage("two stores would be one account")
                    .with("account", name)
                    .hint("name them with --account"));
            }
            None => accounts.push(Account { name, path: path.display().to_string(), readers: vec![reader] }),
        }
    }
    if accounts.is_empty() {
        return Err(Error::usage("no store was given").hint("name a path, or --account NAME=PATH"));
    }
    let mut writer = Writer::open(archive, level)?;
    let options = Options { level: Some(level), reread: true };
    let done = snapshot::run(&accounts, &mut writer, options, &Terminal::new(false))?;
    let l = &done.root.ledger;
    say(out, format_args!("snapshot {} with {} new objects", done.id, done.new_objects))?;
    say(
        out,
        format_args!("found {} = captured {} + skipped {} + failed {}", l.found, l.captured, l.skipped_total(), l.failed_total()),
    )?;
    if !done.unbalanced.is_empty() {
        return Err(Error::source(format!("the ledger does not balance: {}", done.unbalanced.join("; ")))
            .hint("the snapshot is kept; compare it with the source before you rely on it"));
    }
    if l.failed_total() > 0 {
        say(out, format_args!("PASS WITH EXCEPTIONS: {} items could not be captured", l.failed_total()))?;
        return Ok(1);
    }
    say(out, format_args!("PASS: {} items, {} bytes", l.captured, l.bytes))?;
    Ok(0)
}

fn check(path: &Path, full: bool, json: bool, out: &mut dyn Write) -> Result<u8> {
    let found = archive::verify(&Archive::open(path)?, full)?;
    if json {
        let text = serde_json::to_string(&found).map_err(|e| Error::new(Kind::Internal, "cannot write JSON").because(e))?;
        say(out, format_args!("{text}"))?;
    } else {
        for line in &found.damage {
            say(out, format_args!("damaged: {}", printable(line)))?;
        }
    }
    if !found.damage.is_empty() {
        return Err(Error::damage(format!("the archive has {} damages", found.damage.len()))
            .hint("copy the files named above from another copy of the archive, then check again"));
    }
    if !json {
        say(
            out,
            format_args!("PASS: {} files, {} objects, {} placements are intact", found.files, found.objects, found.placements),
        )?;
    }
    Ok(0)
}

fn list(path: &Path, id: Option<&str>, out: &mut dyn Write) -> Result<u8> {
    let archive = Archive::open(path)?;
    let snapshot = archive.snapshot(id)?;
    say(out, format_args!("snapshot {}", snapshot.id))?;
    for account in &snapshot.root.accounts {
        say(out, format_args!("{}", printable(&account.account)))?;
        for c in archive.collections(account)? {
            let text = format!("  {:>7} items {:>13} bytes  {}", c.items, c.ledger.bytes, printable(&c.head.path.to_string()));
            say(out, format_args!("{text}"))?;
        }
    }
    Ok(0)
}

fn export(path: &Path, to: &Path, id: Option<&str>, out: &mut dyn Write) -> Result<u8> {
    let archive = Archive::open(path)?;
    let snapshot = archive.snapshot(id)?;
    let (mut written, mut failed) = (0u64, 0u64);
    for account in &snapshot.root.accounts {
        for c in archive.collections(account)? {
            let mut folder = to.join(safe_file_name(&account.account));
            folder.extend(c.head.path.0.iter().map(|s| safe_file_name(s)));
            fs::create_dir_all(&folder).map_err(|e| Error::io(Kind::Storage, "cannot make the folder", &folder, e))?;
            for (i, item) in archive.placements(&c)?.iter().enumerate() {
                let file = folder.join(format!("{:06}-{}.eml", i + 1, item.sha256));
                let storage = |e| Error::io(Kind::Storage, "cannot write the file", &file, e);
                let mut target = File::create_new(&file).map_err(storage)?;
                match archive.copy(item.sha256, &mut target) {
                    Ok(_) => written += 1,
                    Err(e) if e.kind() == Kind::Damage => {
                        failed += 1;
                        fs::remove_file(&file).map_err(storage)?;
                        say(out, format_args!("failed: {} {}: {e}", printable(&account.account), item.source))?;
                    }
                    Err(e) => return Err(e),
                }
                if let Some(date) = item.date.filter(|_| file.exists()) {
                    target.set_modified(date.at.into()).map_err(storage)?;
                }
            }
        }
    }
    if failed > 0 {
        say(out, format_args!("PASS WITH EXCEPTIONS: {written} items written, {failed} damaged"))?;
        return Ok(1);
    }
    say(out, format_args!("PASS: {written} items written"))?;
    Ok(0)
}
