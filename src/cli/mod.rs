//! The command line: one function per command; what it prints last is the verdict, and the exit code says the same.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};

use crate::archive::{self, Archive, Check, Options, Writer};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionKind, Digest, printable, safe_file_name};
use crate::monitor::Terminal;
use crate::snapshot;
use crate::source::{Discovery, Format, discover, identify};

/// Carry a company's mail into an archive that can be trusted, check it, take it out again
#[derive(Debug, Parser)]
#[command(version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what is here without capturing it
    ///
    /// Shows formats with the evidence for them, accounts, collections, counts, bytes, dates, the biggest items and trouble
    /// to be expected. Refuses to guess when a path could be two things, and says between what.
    ///
    /// Example: floe identify mail
    Identify {
        /// Paths to look at
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// The format, where a path could be two things
        #[arg(long = "as", value_name = "FORMAT")]
        format: Option<Format>,
        /// Print everything as JSON
        #[arg(long)]
        json: bool,
    },
    /// Capture mail stores and files into an archive
    ///
    /// Reads Maildirs, mbox files and folders of them, Thunderbird folders, Google Takeout mail, trees of .eml files, and other
    /// files as they are. A PATH may hold one account or a tree of them. The source is never written to; what cannot be read is
    /// listed and counted.
    ///
    /// Example: floe snapshot --account anna@acme.example=mail/anna --archive acme.floe
    Snapshot {
        /// Stores, or trees of accounts
        paths: Vec<PathBuf>,
        /// Folder of the archive; made when it is not there
        #[arg(long)]
        archive: PathBuf,
        /// The format of all paths, where they could be two things
        #[arg(long = "as", value_name = "FORMAT")]
        format: Option<Format>,
        /// A store and the account that it belongs to; may be given again
        #[arg(long = "account", value_name = "NAME=PATH", value_parser = named)]
        accounts: Vec<(String, PathBuf)>,
        /// zstd level for text; headers take four more, attachments never more than 3
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=22))]
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
    /// Take everything out: mail as .eml, files as files
    ///
    /// Writes mail to OUT/ACCOUNT/FOLDER/NUMBER-SHA256.eml and files to OUT/ACCOUNT/files/PATH, with the internal date as the
    /// file's time. Existing files are never replaced.
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
        Command::Identify { paths, format, json } => look(&paths, format, json, out),
        Command::Snapshot { paths, archive, format, accounts, level } => {
            take(&discover(&paths, &accounts, format)?, &archive, level, out)
        }
        Command::Verify { archive, full, json } => check(&archive, full, json, out),
        Command::List { archive, snapshot } => list(&archive, snapshot.as_deref(), out),
        Command::Show { archive, sha256 } => Archive::open(&archive)?.copy(sha256, out).map(|_| 0),
        Command::Export { archive, out: to, snapshot } => export(&archive, &to, snapshot.as_deref(), out),
    }
}

fn say(out: &mut dyn Write, text: std::fmt::Arguments<'_>) -> Result<()> {
    writeln!(out, "{text}").map_err(|e| Error::new(Kind::Storage, "cannot write to standard output").because(e))
}

fn look(paths: &[PathBuf], format: Option<Format>, json: bool, out: &mut dyn Write) -> Result<u8> {
    let found = identify(&discover(paths, &[], format)?, &Terminal::new(false))?;
    if json {
        let text = serde_json::to_string(&found).map_err(|e| Error::new(Kind::Internal, "cannot write JSON").because(e))?;
        say(out, format_args!("{text}"))?;
        return Ok(0);
    }
    for evidence in &found.evidence {
        say(out, format_args!("{}: {}", evidence.format, printable(&evidence.because.join(", "))))?;
    }
    for c in &found.collections {
        let span = match (c.oldest, c.newest) {
            (Some(oldest), Some(newest)) => format!("{} to {}", oldest.strftime("%F"), newest.strftime("%F")),
            _ => String::new(),
        };
        let name = printable(&format!("{}  {}", c.account, c.collection));
        say(out, format_args!("{:>8} items {:>13} bytes  {span:24} {name}", c.items, c.bytes))?;
        if let Some((place, bytes)) = c.biggest.first().filter(|(_, bytes)| *bytes > 25 << 20) {
            say(out, format_args!("         biggest: {bytes} bytes, {place}"))?;
        }
    }
    let (items, bytes) = found.collections.iter().fold((0, 0), |(n, b), c| (n + c.items, b + c.bytes));
    say(out, format_args!("{items} items, {bytes} bytes, {} would be skipped or fail", found.trouble.len()))?;
    Ok(0)
}

fn take(found: &Discovery, archive: &Path, level: i32, out: &mut dyn Write) -> Result<u8> {
    if found.accounts.is_empty() {
        return Err(Error::usage("no account was found").hint("name a path that holds mail, or --account NAME=PATH"));
    }
    let mut writer = Writer::open(archive, level)?;
    let options = Options { level: Some(level), reread: false };
    let done = snapshot::run(found, &mut writer, options, &Terminal::new(false))?;
    let l = &done.snapshot.root.ledger;
    say(out, format_args!("snapshot {} with {} new objects", done.snapshot.id, done.new_objects))?;
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
    let found = archive::verify(&Archive::open(path)?, &Check { full, snapshot: None }, &Terminal::new(false))?;
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
            let account_folder = to.join(safe_file_name(&account.account));
            let mut items = Vec::new();
            archive.placements(&c, &mut |item| {
                items.push(item);
                Ok(())
            })?;
            for (i, item) in items.iter().enumerate() {
                let file = account_folder.join(if c.head.kind == CollectionKind::Mail {
                    let folder: PathBuf = c.head.path.0.iter().map(|s| safe_file_name(s)).collect();
                    folder.join(format!("{:06}-{}.eml", i + 1, item.sha256))
                } else {
                    let path: PathBuf = item.source.path.split('/').map(safe_file_name).collect();
                    Path::new("files").join(path)
                });
                let folder = file.parent().unwrap_or(to);
                fs::create_dir_all(folder).map_err(|e| Error::io(Kind::Storage, "cannot make the folder", folder, e))?;
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
