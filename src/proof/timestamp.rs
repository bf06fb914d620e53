//! Time stamps of roots (RFC 3161): the question for an authority, and whether its answer is of this root.
//!
//! Who signed an answer is not checked here: that takes the authority's certificates, and `openssl ts -verify` does it.

use std::path::Path;

use serde::Serialize;

use super::RootFile;
use super::der::{self, Reader};
use super::events::{self, Event, EventType, Outcome};
use crate::archive::{Findings, tags};
use crate::error::{Error, Kind, Result};
use crate::model::Digest;
use crate::store::{LocalStore, Store};

/// Where questions and answers lie.
pub const FOLDER: &str = "timestamps";
/// Largest question or answer that is read.
const MAX_BYTES: u64 = 1 << 20;
const NONCE_BYTES: usize = 16;

/// 2.16.840.1.101.3.4.2.1, SHA-256.
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
/// 1.2.840.113549.1.7.2, signed data.
const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// 1.2.840.113549.1.9.16.1.4, what a time stamp says.
const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];

/// A question that lies in the archive.
#[derive(Clone, Debug, Serialize)]
pub struct Question {
    /// Its file in the archive.
    pub file: String,
    /// The snapshot's name.
    pub snapshot: String,
    /// The root's file in the archive.
    pub root: String,
    /// What is asked about: the SHA-256 of the root.
    pub sha256: Digest,
    /// Was it there before?
    pub was_there: bool,
}

/// An answer that lies in the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Stamp {
    /// Its file in the archive.
    pub file: String,
    /// The snapshot's name.
    pub snapshot: String,
    /// The root's file in the archive.
    pub root: String,
    /// The time that the authority gives, UTC.
    pub at: String,
}

impl Stamp {
    /// The command that checks who gave it, for somebody in the archive's folder.
    pub fn command(&self) -> String {
        format!("openssl ts -verify -data {} -in {} -CAfile CA.pem", self.root, self.file)
    }
}

/// Writes the question for a snapshot's root, or finds the one that was written before.
///
/// # Errors
/// `Kind::Usage` when there is no such snapshot, `Kind::Locked` or `Kind::Storage` when the archive cannot be written.
pub fn request(archive: &Path, snapshot: Option<&str>) -> Result<Question> {
    let store = LocalStore::new(archive);
    let _lock = store.lock()?;
    let root = RootFile::find(&store, snapshot)?;
    let file = format!("{FOLDER}/{}.tsq", root.id);
    // A second question would have another nonce, and answers to the first would look foreign.
    let was_there = store.read(&file, MAX_BYTES)?.is_some_and(|bytes| read_question(&bytes).is_ok_and(|(d, _)| d == root.digest));
    if !was_there {
        let mut nonce = [0u8; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|e| Error::new(Kind::Storage, "the system gives no random bytes").because(e))?;
        keep(&store, &root, &file, question(&root.digest, nonce), None)?;
    }
    Ok(Question { file, snapshot: root.id, root: root.file, sha256: root.digest, was_there })
}

/// Keeps an authority's answer, if it is a granted one to this archive's question. The same answer is kept once.
///
/// # Errors
/// `Kind::Usage` when the answer is a refusal, or of something else, or cannot be read; `Kind::Locked` or `Kind::Storage` when the
/// archive cannot be written.
pub fn attach(archive: &Path, answer: &Path, snapshot: Option<&str>) -> Result<Stamp> {
    let bytes = read_answer_file(answer)?;
    let store = LocalStore::new(archive);
    let _lock = store.lock()?;
    let refused = |e: Error| Error::usage("this answer is not kept").with("file", answer.display()).because(e);
    let said = Answer::read(&bytes).map_err(refused)?;
    let roots = match snapshot {
        Some(id) => vec![RootFile::find(&store, Some(id))?],
        None => roots(&store)?,
    };
    let Some(root) = roots.into_iter().find(|root| root.digest == said.digest) else {
        return Err(Error::usage("this answer is of something else than a root of this archive")
            .with("file", answer.display())
            .with("its SHA-256", said.digest)
            .hint("'floe timestamp --request' writes the question that the authority must get"));
    };
    said.fits(&store, &root).map_err(refused)?;
    let mut n = 1;
    loop {
        let file = format!("{FOLDER}/{}.{n}.tsr", root.id);
        match store.read(&file, MAX_BYTES)? {
            Some(other) if other != bytes => n += 1,
            _ => {
                // One that an earlier version kept may be in no manifest yet.
                if !tags::agrees(&store, &file, Some(&bytes))? {
                    keep(&store, &root, &file, bytes, Some(&said.at))?;
                }
                return Ok(Stamp { file, snapshot: root.id, root: root.file, at: said.at });
            }
        }
    }
}

/// Is every question and every answer in the archive of the root that its name says? What is not is added to what a check of the archive
/// found. Gives the answers that are.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read.
pub fn check(store: &dyn Store, found: &mut Findings) -> Result<Vec<Stamp>> {
    let mut stamps = Vec::new();
    let files = store.list(FOLDER)?;
    if files.is_empty() {
        return Ok(stamps);
    }
    let roots = roots(store)?;
    for file in files {
        found.files += 1;
        let stem = file.name.strip_prefix(FOLDER).and_then(|n| n.strip_prefix('/')).unwrap_or_default();
        let known = roots.iter().find(|root| stem.strip_prefix(root.id.as_str()).is_some_and(|rest| rest.starts_with('.')));
        let Some(root) = known else {
            found.damage.push(format!("{} is of a root that is not there", file.name));
            continue;
        };
        match one(store, root, &file.name) {
            Ok(stamp) => stamps.extend(stamp),
            Err(e) => found.damage.push(format!("{}: {e}", file.name)),
        }
    }
    Ok(stamps)
}

/// All roots, without their bytes.
fn roots(store: &dyn Store) -> Result<Vec<RootFile>> {
    let mut roots = Vec::new();
    RootFile::each(store, &mut |root| roots.push(RootFile { bytes: Vec::new(), ..root }))?;
    Ok(roots)
}

/// Checks one file; the answer, if it is one.
fn one(store: &dyn Store, root: &RootFile, name: &str) -> Result<Option<Stamp>> {
    let bytes = store.read(name, MAX_BYTES)?.unwrap_or_default();
    let foreign = || Error::damage("it is of another root than its name says");
    if name.ends_with(".tsq") {
        return if read_question(&bytes)?.0 == root.digest { Ok(None) } else { Err(foreign()) };
    }
    let said = Answer::read(&bytes)?;
    if said.digest != root.digest {
        return Err(foreign());
    }
    said.fits(store, root)?;
    Ok(Some(Stamp { file: name.to_owned(), snapshot: root.id.clone(), root: root.file.clone(), at: said.at }))
}

fn read_answer_file(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|e| Error::io(Kind::Usage, "cannot read the answer", path, e))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::usage("this file is too large for a time stamp").with("file", path.display()));
    }
    Ok(bytes)
}

/// Puts a question or an answer into the archive, with its line in the tag manifest and the event that tells of it.
fn keep(store: &LocalStore, root: &RootFile, file: &str, bytes: Vec<u8>, at: Option<&str>) -> Result<()> {
    let event = Event::new(EventType::MetadataModification, Outcome::Success)
        .root(root.digest)
        .detail("file", file)
        .detail("sha256", Digest::of(&bytes).to_string())
        .detail("time stamp", if at.is_some() { "answer" } else { "question" });
    let event = if let Some(at) = at { event.detail("time", at) } else { event };
    events::commit(store, vec![(file.to_owned(), bytes)], event)
}

/// TimeStampReq: version 1, the imprint, the nonce, and the authority's certificate is wanted.
fn question(digest: &Digest, mut nonce: [u8; NONCE_BYTES]) -> Vec<u8> {
    // A positive number in its shortest form.
    nonce[0] = nonce[0] & 0x7f | 0x40;
    let algorithm = der::value(der::SEQUENCE, &[&der::value(der::OID, &[SHA256]), &der::value(der::NULL, &[])]);
    let imprint = der::value(der::SEQUENCE, &[&algorithm, &der::value(der::OCTET_STRING, &[digest.as_bytes()])]);
    let (version, certificate) = (der::value(der::INTEGER, &[&[1]]), der::value(der::BOOLEAN, &[&[0xff]]));
    der::value(der::SEQUENCE, &[&version, &imprint, &der::value(der::INTEGER, &[&nonce]), &certificate])
}

/// The imprint and the nonce of a question.
fn read_question(bytes: &[u8]) -> Result<(Digest, Vec<u8>)> {
    let mut question = Reader::new(bytes).inside(der::SEQUENCE)?;
    question.value(der::INTEGER)?;
    let digest = imprint(question.inside(der::SEQUENCE)?)?;
    Ok((digest, question.value(der::INTEGER)?.to_vec()))
}

/// The digest in a MessageImprint.
fn imprint(mut reader: Reader<'_>) -> Result<Digest> {
    if reader.inside(der::SEQUENCE)?.value(der::OID)? != SHA256 {
        return Err(Error::damage("it is not of a SHA-256"));
    }
    let digest = reader.value(der::OCTET_STRING)?;
    let digest = digest.try_into().map_err(|_| Error::damage("its SHA-256 does not have 32 bytes"))?;
    Ok(Digest::from_bytes(digest))
}

/// What a granted answer says.
struct Answer {
    digest: Digest,
    nonce: Option<Vec<u8>>,
    at: String,
}

impl Answer {
    /// Reads a TimeStampResp down to its TSTInfo.
    fn read(bytes: &[u8]) -> Result<Self> {
        let mut answer = Reader::new(bytes).inside(der::SEQUENCE)?;
        granted(answer.inside(der::SEQUENCE)?)?;
        let mut token = answer.inside(der::SEQUENCE)?;
        let signed = token.value(der::OID)?;
        let mut signed_data = token.inside(der::CONTEXT_0)?.inside(der::SEQUENCE)?;
        signed_data.value(der::INTEGER)?;
        signed_data.value(der::SET)?;
        let mut content = signed_data.inside(der::SEQUENCE)?;
        if signed != SIGNED_DATA || content.value(der::OID)? != TST_INFO {
            return Err(Error::damage("it is no time stamp"));
        }
        let info = content.inside(der::CONTEXT_0)?.value(der::OCTET_STRING)?;
        Self::info(Reader::new(info).inside(der::SEQUENCE)?)
    }

    fn info(mut info: Reader<'_>) -> Result<Self> {
        info.value(der::INTEGER)?;
        info.value(der::OID)?;
        let digest = imprint(info.inside(der::SEQUENCE)?)?;
        info.value(der::INTEGER)?;
        let at = moment(info.value(der::GENERALIZED_TIME)?)?;
        info.optional(der::SEQUENCE)?;
        info.optional(der::BOOLEAN)?;
        let nonce = info.optional(der::INTEGER)?.map(<[u8]>::to_vec);
        Ok(Answer { digest, nonce, at })
    }

    /// Does it answer the question that was asked about this root?
    fn fits(&self, store: &dyn Store, root: &RootFile) -> Result<()> {
        let file = format!("{FOLDER}/{}.tsq", root.id);
        let question = store.read(&file, MAX_BYTES)?.ok_or_else(|| Error::damage(format!("its question {file} is missing")))?;
        let (_, nonce) = read_question(&question)?;
        if self.nonce.as_deref() == Some(&nonce[..]) {
            return Ok(());
        }
        Err(Error::damage(format!("it answers another question than {file}: its nonce is another one")))
    }
}

/// PKIStatusInfo: 0 is granted, 1 granted with changes; else why not.
fn granted(mut status: Reader<'_>) -> Result<()> {
    let code = status.value(der::INTEGER)?;
    if matches!(code, [0 | 1]) {
        return Ok(());
    }
    let mut why = String::new();
    if let Some(texts) = status.optional(der::SEQUENCE)? {
        let mut texts = Reader::new(texts);
        while !texts.is_empty() {
            why.push_str(&format!(": {}", String::from_utf8_lossy(texts.value(der::UTF8_STRING)?)));
        }
    }
    let code = code.iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
    Err(Error::damage(format!("the authority did not grant it (status {code}){}", crate::model::printable(&why))))
}

/// A GeneralizedTime as RFC 3339: `20261122210500Z`, seconds may have a fraction.
fn moment(text: &[u8]) -> Result<String> {
    let malformed = || Error::damage("its time is malformed");
    let text = std::str::from_utf8(text).ok().and_then(|t| t.strip_suffix('Z')).ok_or_else(malformed)?;
    let (whole, fraction) = text.split_at_checked(14).ok_or_else(malformed)?;
    let shown = jiff::civil::DateTime::strptime("%Y%m%d%H%M%S", whole).map_err(|e| malformed().because(e))?;
    if !fraction.is_empty() && !fraction.strip_prefix('.').is_some_and(|f| !f.is_empty() && f.bytes().all(|b| b.is_ascii_digit()))
    {
        return Err(malformed());
    }
    Ok(format!("{}{fraction}Z", shown.strftime("%Y-%m-%dT%H:%M:%S")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_reads_back() {
        let digest = Digest::of(b"root");
        for nonce in [[0; NONCE_BYTES], [0xff; NONCE_BYTES]] {
            let bytes = question(&digest, nonce);
            let (read, number) = read_question(&bytes).unwrap();
            assert_eq!(read, digest);
            assert!(number.len() == NONCE_BYTES && number[0] & 0xc0 == 0x40 && number[1..] == nonce[1..]);
            for cut in 0..bytes.len() {
                assert!(read_question(&bytes[..cut]).is_err(), "{cut}");
            }
        }
    }

    #[test]
    fn times_are_read_with_and_without_a_fraction() {
        assert_eq!(moment(b"20261122210500Z").unwrap(), "2026-11-22T21:05:00Z");
        assert_eq!(moment(b"20261122210500.25Z").unwrap(), "2026-11-22T21:05:00.25Z");
        for bad in
            ["20261122210500", "20261322210500Z", "2026112221050Z", "20261122210500.Z", "20261122210500+01Z", "\u{e4}\u{e4}Z"]
        {
            assert!(moment(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_refusal_says_why() {
        let text = der::value(der::SEQUENCE, &[&der::value(der::UTF8_STRING, &[b"no\x1b[2J"])]);
        let status = der::value(der::SEQUENCE, &[&der::value(der::INTEGER, &[&[2]]), &text]);
        let Err(e) = Answer::read(&der::value(der::SEQUENCE, &[&status])) else { panic!("granted") };
        let said = e.to_string();
        assert!(said.contains("status 2") && said.contains("no\\u{1b}[2J"), "{said}");
        assert!(Answer::read(b"").is_err() && Answer::read(&[0x30; 500]).is_err());
    }
}
