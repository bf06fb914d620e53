//! `floe ship`.

use std::path::{Path, PathBuf};

use indicatif::HumanBytes;
use serde::Serialize;

use super::output::{Output, Verdict};
use super::record::append;
use crate::error::{Error, Kind, Result};
use crate::model::printable;
use crate::monitor::Terminal;
use crate::proof::RootFile;
use crate::proof::events::{Event, EventType, Outcome};
use crate::ship::{Receipt, Request, Shipped, ship};
use crate::store::LocalStore;

/// Spread an archive over disks that travel
///
/// Copies all files of the archive but its cache to as many disks as are needed, several at once or one after the other: run the
/// command again with the next disk, and it goes on where the last one ended. Run with a disk that is written already, it reads
/// and checks it, and completes what is missing. Every disk says what it is: floe-disk.json lists all files of the archive and
/// which disk has which, SHA256SUMS is for 'sha256sum -c', README.txt is for people. The archive's files lie in the folder
/// 'archive' under the names that they have; what is in all these folders together is the archive.
///
/// First the archive is compared with its manifest: one that does not match is not shipped. Each file is read back from the disk
/// and hashed before it gets its name. Names and sizes are such that FAT32 and exFAT hold them: packs stay far below 4 GiB, and a
/// file of 4 GiB or more is refused.
///
/// With the receipt that 'floe receive' wrote on the other side, only what is missing there, damaged or new is sent.
///
/// Exit code 1 says that another disk is needed.
///
/// Example: floe ship acme.floe --to /media/disk1 --to /media/disk2
///
/// Example: floe ship acme.floe --to /media/disk4 --since acme.floe.receipt.json
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// Folders of mounted disks
    #[arg(long, value_name = "MOUNT", required = true, num_args = 1..)]
    to: Vec<PathBuf>,
    /// Bytes to put on a disk at most, such as 900G or 4.7GB (K, M, G, T: times 1000; KiB, MiB, ...: times 1024); its free space otherwise
    #[arg(long, value_name = "SIZE", value_parser = size)]
    capacity: Option<u64>,
    /// The receipt of what the receiver has
    #[arg(long, value_name = "RECEIPT")]
    since: Option<PathBuf>,
    /// Forget what earlier runs put on other disks, and begin again
    #[arg(long)]
    anew: bool,
    /// Write down in the archive's record of events that it was shipped, once all of it is on disks; the disks do not have that event
    #[arg(long)]
    record: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    shipped: &'a Shipped,
    verdict: String,
}

/// A size with a unit.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let power = |base: f64, letter: &str| "KMGT".find(letter).filter(|_| letter.len() == 1).map(|at| base.powi(at as i32 + 1));
    let unit = unit.trim().to_ascii_uppercase();
    let factor = match unit.strip_suffix("IB") {
        Some(letter) => power(1024.0, letter),
        None if unit.is_empty() || unit == "B" => Some(1.0),
        None => power(1000.0, unit.strip_suffix('B').unwrap_or(&unit)),
    };
    let bytes = number.parse::<f64>().ok().zip(factor).map(|(n, factor)| n * factor);
    bytes.filter(|b| *b >= 1.0).map(|b| b as u64).ok_or_else(|| "write it as 900G, 4.7GB or 64MiB".to_owned())
}

pub(super) fn run(args: Args, out: &mut Output<'_>) -> Result<u8> {
    let since = args.since.as_deref().map(Receipt::read).transpose()?;
    let request = Request { to: args.to, capacity: args.capacity, since, anew: args.anew };
    let shipped = ship(&args.archive, &request, &Terminal::new(args.json))?;
    if let (true, Some(disks), Some(shipment)) = (args.record, shipped.of, shipped.shipment) {
        let event = copied(&args.archive)?;
        let event = event.detail("disks", disks).detail("shipment", shipment.to_string());
        append(&args.archive, event.detail("medium", shipped.media.join("; ")));
    }
    let verdict = verdict(&shipped);
    if args.json {
        let verdict = match &verdict {
            Ok(verdict) => verdict.words(),
            Err(e) => format!("FAIL: {e}"),
        };
        out.json(&Report { shipped: &shipped, verdict })?;
    } else {
        for line in lines(&shipped) {
            out.line(printable(&line))?;
        }
    }
    let verdict = verdict?;
    if args.json { Ok(verdict.code()) } else { out.verdict(&verdict) }
}

/// The event of a copy of the archive as it is.
pub(super) fn copied(archive: &Path) -> Result<Event> {
    let root = RootFile::find(&LocalStore::new(archive), None)?;
    Ok(Event::new(EventType::Replication, Outcome::Success).root(root.digest))
}

fn lines(shipped: &Shipped) -> Vec<String> {
    let mut lines: Vec<String> = shipped.left_out.iter().map(|line| format!("left out: {line}")).collect();
    lines.extend(shipped.damage.iter().map(|line| format!("damaged: {line}")));
    for disk in &shipped.disks {
        let (files, bytes) = (disk.files, HumanBytes(disk.bytes));
        lines.push(format!(
            "disk {} in {}{}: {files} files, {bytes}; {} written, {} were there",
            disk.disk,
            disk.mount,
            disk.medium.as_ref().map(|name| format!(" ({name})")).unwrap_or_default(),
            disk.written,
            disk.already_there
        ));
        if !disk.read_back_from_disk {
            lines.push(format!(
                "note: disk {}: its file system keeps in memory what it was told to drop, so what was read back may not come from the disk; \
                 mount it anew and run the command again to be sure",
                disk.disk
            ));
        }
    }
    lines.extend(shipped.failed.iter().map(|line| format!("failed: {line}")));
    lines
}

fn verdict(shipped: &Shipped) -> Result<Verdict> {
    if !shipped.failed.is_empty() {
        return Err(Error::new(Kind::Storage, format!("{} disks could not be written", shipped.failed.len()))
            .hint("run the same command again, or with another disk: what is on the other disks counts"));
    }
    if !shipped.damage.is_empty() {
        return Err(Error::damage(format!("the archive is not as its manifest says: {} files", shipped.damage.len()))
            .hint("'floe verify DIR' says what the damage touches; repair it first, then ship"));
    }
    let all = format!("{} files, {}", shipped.files, HumanBytes(shipped.bytes));
    let received = match shipped.received {
        0 => String::new(),
        n => format!("; the receiver has {n} of them"),
    };
    if shipped.left_files > 0 {
        let (files, bytes) = (shipped.left_files, HumanBytes(shipped.left_bytes));
        return Ok(Verdict::WithExceptions(format!(
            "another disk is needed: {files} of {all} are on none yet, {bytes}; run the command again with the next disk"
        )));
    }
    Ok(Verdict::Pass(match shipped.of {
        Some(of) => format!("all is on disks, the last one is disk {of}: {all}{received}"),
        None => format!("there is nothing to send: {all}{received}"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        let good = [
            ("1", 1),
            ("900G", 900_000_000_000),
            ("4.7GB", 4_700_000_000),
            ("64MiB", 64 << 20),
            ("1k", 1000),
            ("2 TiB", 2 << 40),
        ];
        for (text, want) in good {
            assert_eq!(size(text), Ok(want), "{text}");
        }
        for bad in ["", "G", "-1", "0", "1X", "1GiBB", "1..2", "1e9", "1KM"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
