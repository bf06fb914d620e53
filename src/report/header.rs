//! Who made a report, when, with what, and about which archive.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::OnceLock;

use jiff::Timestamp;

use super::model::{ArchiveIdentity, Checkpoint, Header, Host, Job, Program};
use crate::archive::{Archive, Snapshot};
use crate::error::Result;
use crate::model::{Digest, Hasher};

/// Options for the header, by name; those that were not used are empty and left out.
pub fn options<const N: usize>(used: [(&str, String); N]) -> BTreeMap<String, String> {
    used.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The header of a report that begins now. The options must hold no secret.
pub fn header(job: Job, archive: Option<ArchiveIdentity>, options: BTreeMap<String, String>) -> Header {
    let created = Timestamp::now();
    let about = archive.as_ref().map(|a| a.checkpoint.root.to_string()).unwrap_or_default();
    let unique = Digest::of(format!("{created} {} {about}", std::process::id()).as_bytes()).to_string();
    Header {
        id: format!("{}-{}", created.strftime("%Y%m%dT%H%M%SZ"), &unique[..12]),
        job,
        created,
        clock: "system clock of this machine, in UTC; not attested by anyone".to_owned(),
        tool: Program {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("FLOE_COMMIT"),
            sha256: own_digest(),
        },
        archive,
        host: Host { os: std::env::consts::OS, arch: std::env::consts::ARCH, fingerprint: host_fingerprint() },
        operator: ["FLOE_OPERATOR", "SUDO_USER", "LOGNAME", "USER"]
            .iter()
            .find_map(|name| std::env::var(name).ok())
            .filter(|name| !name.is_empty()),
        options,
    }
}

/// Which archive, and in which state it is.
///
/// # Errors
/// `Kind::Storage` when the folder cannot be read.
pub fn archive_identity(archive: &Archive, path: &Path, snapshot: &Snapshot) -> Result<ArchiveIdentity> {
    let all = archive.snapshots()?;
    let newest = all.last().unwrap_or(snapshot);
    let id = all.first().unwrap_or(snapshot).digest;
    let info = archive.store().read("bag-info.txt", 1 << 16)?.unwrap_or_default();
    let info = String::from_utf8_lossy(&info);
    Ok(ArchiveIdentity {
        id,
        path: path.display().to_string(),
        snapshot: snapshot.id.clone(),
        checkpoint: Checkpoint {
            origin: format!("floe/{}", &id.to_string()[..16]),
            size: all.len() as u64,
            root: newest.digest,
            fingerprint: grouped(&newest.digest),
        },
        payload_oxum: info.lines().find_map(|line| line.strip_prefix("Payload-Oxum: ")).map(str::to_owned),
    })
}

/// The first 128 bits in groups of four hex digits: short enough to read out, long enough to trust.
fn grouped(digest: &Digest) -> String {
    let hex = digest.to_string();
    let groups: Vec<&str> = (0..32).step_by(4).map(|at| &hex[at..at + 4]).collect();
    groups.join(" ")
}

/// SHA-256 of the program that runs; the open file, so that an update meanwhile changes nothing.
fn own_digest() -> Option<Digest> {
    static DIGEST: OnceLock<Option<Digest>> = OnceLock::new();
    *DIGEST.get_or_init(|| {
        let mut file = File::open("/proc/self/exe").or_else(|_| File::open(std::env::current_exe()?)).ok()?;
        let mut hasher = Hasher::new();
        std::io::copy(&mut file, &mut hasher).ok()?;
        Some(hasher.finish())
    })
}

/// machine-id(5) is not to be shown; a digest of it that only floe makes tells machines apart all the same.
fn host_fingerprint() -> Option<String> {
    let id = std::fs::read_to_string("/etc/machine-id").ok().filter(|id| !id.trim().is_empty());
    let id = id.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())?;
    Some(Digest::of(format!("floe report host\n{}", id.trim()).as_bytes()).to_string()[..16].to_owned())
}
