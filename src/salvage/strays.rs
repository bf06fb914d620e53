//! What no surviving root leads to: accounts and collections whose listings are left without a root, and single items.
//!
//! They are added to a last snapshot that holds what the newest one held and, beside it, accounts called `salvaged`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Write;

use super::roots::Rebuilder;
use crate::archive::pack::ObjectForm;
use crate::archive::{AccountEntry, CollectionEntry, ListingWriter, Root, line};
use crate::error::Result;
use crate::model::{CollectionHead, CollectionKind, CollectionPath, Digest, Ledger, Place, Placement};
use crate::snapshot::known_by_bytes;

/// The account of what is left over, and what the names of the others begin with.
const ACCOUNT: &str = "salvaged";
/// What of an object is looked at.
const BEGINNING_BYTES: usize = 64 << 10;
/// Messages up to this size are read whole.
const WHOLE_BYTES: u64 = 32 << 20;

/// An object that nothing names.
struct Stray {
    digest: Digest,
    form: ObjectForm,
}

/// Gives a name to everything that has none; commits the snapshot that holds it.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be written.
pub(super) fn name(to: &mut Rebuilder<'_>, parts: &HashSet<Digest>) -> Result<()> {
    let strays = strays(to, parts)?;
    let taken: BTreeSet<String> = to.newest.iter().flat_map(|(root, _)| &root.accounts).map(|a| a.account.clone()).collect();
    let free = |wanted: String| {
        let numbered = (2..).map(|n| format!("{wanted}-{n}"));
        std::iter::once(wanted.clone()).chain(numbered).find(|name| !taken.contains(name)).unwrap_or(wanted)
    };
    let mut accounts = account_listings(to, &strays, &free)?;
    let mut collections = collection_listings(to, &strays)?;
    collections.extend(items(to, &strays)?);
    if !collections.is_empty() {
        collections.sort_by(|a, b| a.head.path.cmp(&b.head.path));
        accounts.push(to.account_of(&free(ACCOUNT.to_owned()), &collections)?);
    }
    if accounts.is_empty() { Ok(()) } else { commit(to, accounts) }
}

fn strays(to: &Rebuilder<'_>, parts: &HashSet<Digest>) -> Result<Vec<Stray>> {
    let mut strays = BTreeMap::new();
    to.reader.index().each(to.reader.store(), &mut |digest, at, _| {
        if !to.named.contains(&digest) && !parts.contains(&digest) {
            strays.insert(digest, at.form);
        }
        Ok(())
    })?;
    Ok(strays.into_iter().map(|(digest, form)| Stray { digest, form }).collect())
}

/// The first line of an object, if it could be a listing.
fn first_line(to: &Rebuilder<'_>, stray: &Stray) -> Option<Vec<u8>> {
    if stray.form == ObjectForm::Blob {
        return None;
    }
    let beginning = beginning(to, stray.digest)?.bytes;
    let end = memchr::memchr(b'\n', &beginning)?;
    (beginning.starts_with(b"{")).then(|| beginning[..end].to_vec())
}

/// Accounts whose listing is left, but no root that says whose it is.
fn account_listings(to: &mut Rebuilder<'_>, strays: &[Stray], free: &dyn Fn(String) -> String) -> Result<Vec<AccountEntry>> {
    let mut accounts = Vec::new();
    for stray in strays {
        let Some(first) = first_line(to, stray) else { continue };
        if serde_json::from_slice::<CollectionEntry>(&first).is_err() {
            continue;
        }
        let account = free(format!("{ACCOUNT}-{}", &stray.digest.to_string()[..12]));
        let mut entry = AccountEntry { account, listing: stray.digest, collections: 0, ledger: Ledger::default() };
        let Ok(collections) = to.reader.collections(&entry) else { continue };
        entry.collections = collections.len() as u64;
        collections.iter().for_each(|c| entry.ledger.add(&c.ledger));
        accounts.extend(to.account(&entry)?);
    }
    Ok(accounts)
}

/// Collections whose listing is left, but no account that says what they were called.
fn collection_listings(to: &mut Rebuilder<'_>, strays: &[Stray]) -> Result<Vec<CollectionEntry>> {
    let mut collections = Vec::new();
    for stray in strays.iter().filter(|s| s.form != ObjectForm::Blob) {
        if to.named.contains(&stray.digest) {
            continue;
        }
        let Some(first) = first_line(to, stray) else { continue };
        let Ok(first) = serde_json::from_slice::<Placement>(&first) else { continue };
        let kind = match (&first.component, first.mode) {
            (Some(component), _) if component == "VCARD" => CollectionKind::AddressBook,
            (Some(_), _) => CollectionKind::Calendar,
            (None, Some(_)) => CollectionKind::Files,
            (None, None) => CollectionKind::Mail,
        };
        let name = format!("listing {}", &stray.digest.to_string()[..12]);
        let mut entry = collection(name, kind, stray.digest);
        let all = entry.clone();
        let ledger = &mut entry.ledger;
        let read = to.reader.placements(&all, &mut |item| {
            ledger.found += 1;
            ledger.bytes += item.size;
            Ok(())
        });
        if read.is_err() {
            continue;
        }
        entry.ledger.captured = entry.ledger.found;
        entry.items = entry.ledger.found;
        collections.push(to.collection(ACCOUNT, &entry)?);
    }
    Ok(collections)
}

/// Items that no listing names: what looks like mail, and the rest as files.
fn items(to: &mut Rebuilder<'_>, strays: &[Stray]) -> Result<Vec<CollectionEntry>> {
    let mut sorted: BTreeMap<&str, (CollectionKind, ListingWriter, Ledger)> = BTreeMap::new();
    for stray in strays.iter().filter(|s| s.form != ObjectForm::Listing && !to.named.contains(&s.digest)) {
        let Some(beginning) = beginning(to, stray.digest) else { continue };
        let (collection, kind, ending) = sort(&beginning.bytes);
        let place = Place::file(format!("{}.{ending}", stray.digest));
        let mut placement = known_by_bytes(&[], false, place.clone());
        (placement.sha256, placement.size) = (stray.digest, beginning.size);
        if kind == CollectionKind::Mail && beginning.size <= WHOLE_BYTES {
            let bytes = to.reader.read(stray.digest, WHOLE_BYTES)?;
            placement = known_by_bytes(&bytes, true, place);
        }
        let (_, listing, ledger) =
            sorted.entry(collection).or_insert_with(|| (kind, ListingWriter::default(), Ledger::default()));
        listing.push(to.writer, &line(&placement)?)?;
        (ledger.found, ledger.captured, ledger.bytes) = (ledger.found + 1, ledger.captured + 1, ledger.bytes + placement.size);
    }
    let mut collections = Vec::new();
    for (name, (kind, listing, ledger)) in sorted {
        let listing = listing.finish(to.writer)?;
        let items = ledger.captured;
        collections.push(CollectionEntry { ledger, items, ..collection(name.to_owned(), kind, listing) });
    }
    Ok(collections)
}

fn collection(name: String, kind: CollectionKind, listing: Digest) -> CollectionEntry {
    CollectionEntry {
        head: CollectionHead::new(CollectionPath::new([name]), kind, ""),
        format: ACCOUNT.to_owned(),
        listing,
        items: 0,
        ledger: Ledger::default(),
        exceptions: None,
        originals: Vec::new(),
    }
}

/// The beginning of an object, and its size.
struct Beginning {
    bytes: Vec<u8>,
    size: u64,
}

impl Write for Beginning {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let room = BEGINNING_BYTES - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.size += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn beginning(to: &Rebuilder<'_>, object: Digest) -> Option<Beginning> {
    let mut beginning = Beginning { bytes: Vec::new(), size: 0 };
    to.reader.copy(object, &mut beginning).ok()?;
    Some(beginning)
}

/// Collection, kind and file ending for an item that begins like this.
fn sort(bytes: &[u8]) -> (&'static str, CollectionKind, &'static str) {
    let starts = |text: &[u8]| bytes.get(..text.len()).is_some_and(|b| b.eq_ignore_ascii_case(text));
    if starts(b"BEGIN:VCALENDAR") {
        ("calendar files", CollectionKind::Files, "ics")
    } else if starts(b"BEGIN:VCARD") {
        ("contact files", CollectionKind::Files, "vcf")
    } else if is_mail(bytes) {
        ("mail", CollectionKind::Mail, "eml")
    } else {
        ("files", CollectionKind::Files, "bin")
    }
}

/// Does it begin with header lines, one of which only mail has?
fn is_mail(bytes: &[u8]) -> bool {
    const OF_MAIL: [&[u8]; 6] = [b"from:", b"received:", b"message-id:", b"return-path:", b"date:", b"subject:"];
    let mut seen = false;
    for line in bytes.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l)) {
        if line.is_empty() {
            return seen;
        }
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            continue;
        }
        let is_header = memchr::memchr(b':', line).is_some_and(|at| at > 0 && line[..at].iter().all(|c| c.is_ascii_graphic()));
        if !is_header {
            return false;
        }
        seen |= OF_MAIL.iter().any(|name| line.get(..name.len()).is_some_and(|l| l.eq_ignore_ascii_case(name)));
    }
    seen
}

/// A last snapshot: the newest one, and these accounts.
fn commit(to: &mut Rebuilder<'_>, accounts: Vec<AccountEntry>) -> Result<()> {
    let mut root = match &to.newest {
        Some((root, digest)) => Root {
            created: root.created + jiff::SignedDuration::from_secs(1),
            previous: Some(*digest),
            tool: Root::new(root.created, None).tool,
            merkle: None,
            events: None,
            ..root.clone()
        },
        None => Root::new(jiff::Timestamp::UNIX_EPOCH, None),
    };
    for account in accounts {
        to.done.strays += account.ledger.captured;
        to.done.stray_accounts.push(account.account.clone());
        root.ledger.add(&account.ledger);
        root.accounts.push(account);
    }
    root.accounts.sort_by(|a, b| a.account.cmp(&b.account));
    root.tree = Root::tree_of(&root.accounts);
    to.writer.commit(&root)?;
    to.done.items = root.ledger.captured;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_like_mail_is_mail() {
        for good in ["From: a\nSubject: b\n\nbody", "Received: x\r\n\tmore\r\nX-Y: z\r\n\r\n", "Message-ID: <1>"] {
            assert!(is_mail(good.as_bytes()), "{good:?}");
        }
        for bad in ["", "Hello: x\n\n", "Dear Anna,\nFrom: me\n", "\nFrom: a\n", "not mail", ": x\nFrom: y\n\n"] {
            assert!(!is_mail(bad.as_bytes()), "{bad:?}");
        }
        assert_eq!(sort(b"BEGIN:VCARD\r\n").2, "vcf");
        assert_eq!(sort(b"begin:vcalendar\r\n").2, "ics");
        assert_eq!(sort(&[0, 1, 2]).2, "bin");
    }
}
