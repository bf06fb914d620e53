//! `floe receive`.

use std::path::PathBuf;

use indicatif::HumanBytes;
use serde::Serialize;

use super::output::{Output, Verdict};
use super::record::append;
use super::ship::copied;
use crate::error::Result;
use crate::model::printable;
use crate::monitor::Terminal;
use crate::ship::{Received, receive};

/// Put an archive together from the disks that it travelled on
///
/// Takes the disks of 'floe ship' in any order, all at once or in several runs. Every file is checked as it is copied, and again
/// when it is read back. Until all is there the archive is marked as being received, and other commands say so; then everything
/// gets its place in one step. A later shipment of the same archive is added to it in the same way; what was there stays
/// readable in the meantime.
///
/// What is damaged or missing is named with the disk that should have it. The receipt, a small file that tells what has arrived,
/// goes back to the sender: 'floe ship --since RECEIPT' sends the rest. Without a MOUNT, the archive is compared with its own list
/// of files and the receipt is written again.
///
/// Exit code 1 says that something is still missing.
///
/// Example: floe receive /media/disk1 /media/disk2 --archive acme.floe
///
/// Example: floe receive --archive acme.floe --receipt /media/back/receipt.json
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folders of the mounted disks
    #[arg(value_name = "MOUNT")]
    disks: Vec<PathBuf>,
    /// Folder of the archive; made when it is not there
    #[arg(long, value_name = "DIR")]
    archive: PathBuf,
    /// Where the receipt goes; DIR.receipt.json beside the archive otherwise
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// Write down in the archive's record of events that it was received, once it is complete
    #[arg(long)]
    record: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    received: &'a Received,
    verdict: String,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    let received = receive(&args.disks, &args.archive, args.receipt.as_deref(), &Terminal::new(args.json))?;
    if args.record && received.complete {
        let event = copied(&args.archive)?;
        let event = event.detail("received", true).detail("shipment", received.shipment.to_string());
        append(&args.archive, event.detail("medium", received.media().join("; ")));
    }
    let verdict = verdict(&received);
    if args.json {
        out.json(&Report { received: &received, verdict: verdict.words() })?;
        return Ok(verdict.code());
    }
    for line in lines(&received) {
        out.line(printable(&line))?;
    }
    out.verdict(&verdict)
}

fn lines(received: &Received) -> Vec<String> {
    let mut lines = Vec::new();
    for disk in &received.disks {
        let bytes = HumanBytes(disk.bytes);
        lines.push(format!("disk {} in {}: {} of {} files copied, {bytes}", disk.disk, disk.mount, disk.copied, disk.files));
        if !disk.read_back_from_disk {
            lines.push(
                "note: the archive's file system keeps in memory what it was told to drop; 'floe verify' checks it again"
                    .to_owned(),
            );
        }
    }
    for file in &received.send_again {
        let size = file.size.map_or(String::new(), |n| format!(", {}", HumanBytes(n)));
        let disks: Vec<String> = file.disks.iter().map(u32::to_string).collect();
        let disks = if disks.is_empty() { String::new() } else { format!(", disk {}", disks.join(" and ")) };
        lines.push(format!("send again: {} ({}{size}{disks})", file.name, file.why));
    }
    for awaited in &received.awaited {
        let (files, bytes) = (awaited.files, HumanBytes(awaited.bytes));
        lines.push(match awaited.disk {
            Some(disk) => format!("still missing: disk {disk} with {files} files, {bytes}"),
            None => format!("still missing: {files} files, {bytes}, on disks that are not known yet"),
        });
    }
    lines.extend(received.kept_aside.iter().map(|line| format!("note: {line}")));
    lines.push(format!("receipt: {}", received.receipt.display()));
    lines
}

fn verdict(received: &Received) -> Verdict {
    let (held, files, bytes) = (received.held, received.files, HumanBytes(received.bytes));
    if received.complete {
        return Verdict::Pass(format!(
            "the archive is complete: {files} files, {bytes}; 'floe verify DIR --full' checks what is in them"
        ));
    }
    Verdict::WithExceptions(format!(
        "the archive is not complete: {held} of {files} files are here, {} must be sent again; send the receipt back",
        received.send_again.len()
    ))
}
