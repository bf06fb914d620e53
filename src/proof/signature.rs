//! Signatures on roots: armored SSHSIG files, which `ssh-keygen -Y verify` checks as well (docs/format.md section 10).
//!
//! What is signed are the bytes of the root's file as they lie in the archive, so no key of an encrypted archive is needed. The
//! namespace holds the signer's role: a courier's signature cannot pass as an auditor's.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _};
use serde::Serialize;
use ssh_key::private::{KeypairData, RsaKeypair};
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, HashAlg, LineEnding, PrivateKey, PublicKey, SshSig};

use super::RootFile;
use super::key::Demanded;
use crate::error::{Error, Kind, Result};
use crate::model::Digest;
use crate::store::Store;

/// Where signatures lie.
pub const FOLDER: &str = "signatures";
/// How their names end.
pub const ENDING: &str = ".sig";
/// Digits of the key's digest in a file's name.
const KEY_DIGITS: usize = 16;
/// Largest signature that is read.
const MAX_BYTES: u64 = 64 << 10;
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----\n";
const END: &str = "-----END SSH SIGNATURE-----\n";
/// Characters of base64 in a line, as ssh-keygen writes them.
const LINE: usize = 70;

/// What somebody is who signs a root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Who made the snapshot
    Operator,
    /// Who carried the disks
    Courier,
    /// Who took them in
    Receiver,
    /// Who checked it
    Auditor,
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 4] = [Role::Operator, Role::Courier, Role::Receiver, Role::Auditor];

    /// As it stands in names.
    pub fn word(self) -> &'static str {
        match self {
            Role::Operator => "operator",
            Role::Courier => "courier",
            Role::Receiver => "receiver",
            Role::Auditor => "auditor",
        }
    }

    /// The namespace of its signatures.
    pub fn namespace(self) -> String {
        format!("floe-root-{}", self.word())
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A signature file that was read and checked against its root.
#[derive(Clone, Debug, Serialize)]
pub struct Signature {
    /// Name in the archive.
    pub file: String,
    /// The snapshot whose root it says to sign.
    pub snapshot: String,
    /// What the signer is.
    pub role: Role,
    /// The signer's public key as OpenSSH writes it, where it can be read.
    pub public_key: Option<String>,
    /// Its fingerprint, `SHA256:...`.
    pub fingerprint: Option<String>,
    /// The file's text.
    #[serde(skip)]
    pub armored: String,
    /// Why it does not hold; nothing when it does.
    pub broken: Option<String>,
}

impl Signature {
    /// Does it hold?
    pub fn holds(&self) -> bool {
        self.broken.is_none()
    }

    /// Was it made with this key, in a role that the key's file allows, and does it hold?
    pub fn is_by(&self, demanded: &Demanded) -> bool {
        let key = self.public_key.as_deref().and_then(|key| PublicKey::from_openssh(key).ok());
        self.holds() && demanded.may_sign(&self.role.namespace()) && key.is_some_and(|k| k.key_data() == demanded.key.key_data())
    }
}

/// The name of the file of a signature.
///
/// # Errors
/// `Kind::Internal` when the key cannot be written down.
pub fn file_name(snapshot: &str, role: Role, key: &PublicKey) -> Result<String> {
    Ok(format!("{FOLDER}/{snapshot}.{role}.{}{ENDING}", key_digits(key)?))
}

fn key_digits(key: &PublicKey) -> Result<String> {
    let blob = key.to_bytes().map_err(|e| Error::new(Kind::Internal, "cannot write a public key").because(e))?;
    Ok(blob_digits(&blob))
}

fn blob_digits(blob: &[u8]) -> String {
    Digest::of(blob).to_string()[..KEY_DIGITS].to_owned()
}

/// Snapshot, role and digits of the key in the name of a signature's file.
fn parse_name(file: &str) -> Option<(&str, Role, &str)> {
    let name = file.strip_prefix(FOLDER)?.strip_prefix('/')?.strip_suffix(ENDING)?;
    let (rest, key) = name.rsplit_once('.')?;
    let (snapshot, role) = rest.rsplit_once('.')?;
    let role = Role::ALL.into_iter().find(|r| r.word() == role)?;
    (key.len() == KEY_DIGITS && !snapshot.is_empty()).then_some((snapshot, role, key))
}

/// Signs the bytes of a root; the armored signature.
///
/// # Errors
/// `Kind::Usage` when floe cannot sign with a key of this kind.
pub fn sign(key: &PrivateKey, role: Role, root: &[u8]) -> Result<String> {
    sign_bytes(key, &role.namespace(), root)
}

/// Signs bytes in a namespace; the armored signature.
///
/// # Errors
/// As [`sign`].
pub(super) fn sign_bytes(key: &PrivateKey, namespace: &str, root: &[u8]) -> Result<String> {
    let failed = |e: ssh_key::Error| Error::new(Kind::Internal, "cannot sign").because(e);
    let signature = match key.key_data() {
        KeypairData::Ed25519(_) | KeypairData::Ecdsa(_) => key.sign(namespace, HashAlg::Sha512, root).map_err(failed)?,
        KeypairData::Rsa(pair) => {
            let data = SshSig::signed_data(namespace, HashAlg::Sha512, root).map_err(failed)?;
            let signature = rsa_signature(pair, &data)?;
            SshSig::new(key.public_key().key_data().clone(), namespace, HashAlg::Sha512, signature).map_err(failed)?
        }
        _ => {
            return Err(Error::usage("floe cannot sign with a key of this kind").with("kind", key.algorithm()).hint(format!(
                "a key on a security token signs with: ssh-keygen -Y sign -f KEY -n {namespace} ROOT.json; put ROOT.json.sig into \
                 {FOLDER}/ under the name that docs/format.md section 10 gives; any other sort: floe key new makes a key that serves"
            )));
        }
    };
    // A fault of the machine while signing must not become a signature that nobody can check.
    key.public_key().verify(namespace, root, &signature).map_err(failed)?;
    signature.to_pem(LineEnding::LF).map_err(failed)
}

/// Signs with RSA. Not left to ssh-key, whose version 0.6 takes the first prime of the key for both of them.
fn rsa_signature(pair: &RsaKeypair, data: &[u8]) -> Result<ssh_key::Signature> {
    let failed = |why: String| Error::usage("cannot sign with this RSA key").with("why", why);
    let number = |n: &ssh_key::Mpint| {
        let bytes = n.as_positive_bytes().ok_or_else(|| failed("it has a negative part".to_owned()))?;
        Ok(rsa::BigUint::from_bytes_be(bytes))
    };
    let (public, private) = (&pair.public, &pair.private);
    let primes = vec![number(&private.p)?, number(&private.q)?];
    let key = rsa::RsaPrivateKey::from_components(number(&public.n)?, number(&public.e)?, number(&private.d)?, primes)
        .map_err(|e| failed(e.to_string()))?;
    let key = rsa::pkcs1v15::SigningKey::<rsa::sha2::Sha512>::new(key);
    // With a random number it is blinded, so that the time that it takes tells nothing of the key.
    let signature = key.try_sign_with_rng(&mut OsRng, data).map_err(|e| failed(e.to_string()))?;
    ssh_key::Signature::new(Algorithm::Rsa { hash: Some(HashAlg::Sha512) }, signature.to_vec()).map_err(|e| failed(e.to_string()))
}

/// The bytes in the armor, if it is written exactly as ssh-keygen writes it: then no bit of the file can change unseen.
fn dearmor(text: &str) -> Option<Vec<u8>> {
    let body = text.strip_prefix(BEGIN)?.strip_suffix(END)?;
    let bytes = STANDARD.decode(body.replace('\n', "")).ok()?;
    (armor(&bytes) == text).then_some(bytes)
}

fn armor(bytes: &[u8]) -> String {
    let mut text = BEGIN.to_owned();
    for line in STANDARD.encode(bytes).as_bytes().chunks(LINE) {
        text.extend(line.iter().map(|c| char::from(*c)));
        text.push('\n');
    }
    text.push_str(END);
    text
}

/// A signature that was read, and the bytes of its key as they stand in it.
struct Parsed {
    signature: SshSig,
    blob: Vec<u8>,
}

/// Reads the armored text.
fn parse(text: &str) -> Result<Parsed, String> {
    let bytes = dearmor(text).ok_or("it is not an SSH signature as ssh-keygen writes it")?;
    let blob = key_blob(&bytes).ok_or("it is no whole SSH signature of version 1")?.to_vec();
    let signature = SshSig::from_pem(text).map_err(|e| format!("it cannot be read: {e}"))?;
    Ok(Parsed { signature, blob })
}

/// The key's bytes in those of a signature, if these are exactly what PROTOCOL.sshsig says. ssh-key forgives lengths that are too large and
/// takes version 0 too, and neither is covered by what is signed.
fn key_blob(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.strip_prefix(b"SSHSIG")?.strip_prefix(&SshSig::VERSION.to_be_bytes())?;
    let (key, rest) = string(rest)?;
    let (_namespace, rest) = string(rest)?;
    let (_reserved, rest) = string(rest)?;
    let (_hash, rest) = string(rest)?;
    let (signature, end) = string(rest)?;
    let (algorithm, rest) = string(signature)?;
    let (_data, rest) = string(rest)?;
    // A security token adds its flags and its counter.
    let more = if algorithm.starts_with(b"sk-") { 5 } else { 0 };
    (end.is_empty() && rest.len() == more).then_some(key)
}

/// A string of SSH: its length, then its bytes; and what follows.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

/// Does the text of a signature hold for these bytes? The fingerprint of its key, or why it does not.
pub(super) fn check_file(armored: &[u8], namespace: &str, bytes: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(armored).map_err(|_| "it is no text")?;
    let Parsed { signature, blob } = parse(text)?;
    let key = PublicKey::from(signature.public_key().clone());
    // No name tells the key's digest here, and ssh-key forgives lengths in it that are too large.
    if key.to_bytes().ok() != Some(blob) {
        return Err("its key is not written as it should be".to_owned());
    }
    key.verify(namespace, bytes, &signature).map_err(|_| "it was not made for these bytes")?;
    Ok(key.fingerprint(HashAlg::Sha256).to_string())
}

/// Why the signature is not one of this role on this root.
fn fault(parsed: &Parsed, key: &PublicKey, role: Role, digits: &str, root: Option<&RootFile>) -> Option<String> {
    let Parsed { signature, blob } = parsed;
    if signature.namespace() != role.namespace() {
        return Some(format!("it was made for the namespace '{}', not for {}", signature.namespace(), role.namespace()));
    }
    if blob_digits(blob) != digits {
        return Some("it was made with another key than its name says".to_owned());
    }
    let Some(root) = root else { return Some("the root that it should sign is not there".to_owned()) };
    match key.verify(&role.namespace(), &root.bytes, signature) {
        Ok(()) => None,
        Err(_) if !root.is_whole() => Some("the root that it signs was changed".to_owned()),
        Err(_) => Some("it is not a signature of this root: one of the two was changed, or the signature moved".to_owned()),
    }
}

/// Reads and checks the file of a signature; nothing when its name is not that of one.
fn read(store: &dyn Store, file: &str, root: &mut Option<RootFile>) -> Result<Option<Signature>> {
    let Some((snapshot, role, digits)) = parse_name(file) else { return Ok(None) };
    // Names are sorted, so the signatures of one root follow each other.
    if root.as_ref().is_none_or(|r| r.id != snapshot) {
        *root = RootFile::of(store, snapshot)?;
    }
    let mut signature = Signature {
        file: file.to_owned(),
        snapshot: snapshot.to_owned(),
        role,
        public_key: None,
        fingerprint: None,
        armored: String::new(),
        broken: None,
    };
    let bytes = match store.read(file, MAX_BYTES) {
        Ok(bytes) => bytes.unwrap_or_default(),
        Err(e) if e.kind() == Kind::Damage => Vec::new(),
        Err(e) => return Err(e),
    };
    signature.armored = String::from_utf8(bytes).unwrap_or_default();
    match parse(&signature.armored) {
        Err(why) => signature.broken = Some(why),
        Ok(parsed) => {
            let key = PublicKey::from(parsed.signature.public_key().clone());
            signature.fingerprint = Some(key.fingerprint(HashAlg::Sha256).to_string());
            signature.broken = fault(&parsed, &key, role, digits, root.as_ref());
            signature.public_key = key.to_openssh().ok().map(|line| line.trim_end().to_owned());
        }
    }
    Ok(Some(signature))
}

/// The signatures of one root, each checked. `root` is the snapshot's name, or its root's file.
///
/// # Errors
/// `Kind::Storage` when the archive cannot be read. A signature that does not hold is no error.
pub fn of_root(store: &dyn Store, root: &str) -> Result<Vec<Signature>> {
    let name = root.rsplit('/').next().unwrap_or(root);
    let snapshot = name.split('.').next().unwrap_or(name);
    Ok(all(store)?.0.into_iter().filter(|s| s.snapshot == snapshot).collect())
}

/// All signatures, each checked, and the files beside them that are none.
///
/// # Errors
/// As [`of_root`].
pub fn all(store: &dyn Store) -> Result<(Vec<Signature>, Vec<String>)> {
    let (mut signatures, mut others, mut root) = (Vec::new(), Vec::new(), None);
    for file in store.list(FOLDER)? {
        match read(store, &file.name, &mut root)? {
            Some(signature) => signatures.push(signature),
            None => others.push(file.name),
        }
    }
    Ok((signatures, others))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(algorithm: Algorithm) -> PrivateKey {
        PrivateKey::random(&mut OsRng, algorithm).unwrap()
    }

    fn root(bytes: &[u8]) -> RootFile {
        let digest = Digest::of(bytes);
        let id = format!("20261122T210500Z-{}", &digest.to_string()[..12]);
        RootFile { file: format!("data/snapshots/{id}.json"), id, digest, bytes: bytes.to_vec() }
    }

    fn why(text: &str, role: Role, key: &PrivateKey, root: &RootFile) -> Option<String> {
        let digits = key_digits(key.public_key()).unwrap();
        match parse(text) {
            Err(why) => Some(why),
            Ok(s) => fault(&s, &PublicKey::from(s.signature.public_key().clone()), role, &digits, Some(root)),
        }
    }

    #[test]
    fn each_kind_of_key_signs_and_each_flipped_bit_of_a_signature_is_found() {
        let root = root(b"{\"a\": 1}\n");
        let curve = |curve| Algorithm::Ecdsa { curve };
        for algorithm in [Algorithm::Ed25519, curve(ssh_key::EcdsaCurve::NistP256), curve(ssh_key::EcdsaCurve::NistP384)] {
            let key = key(algorithm.clone());
            let text = sign(&key, Role::Courier, &root.bytes).unwrap();
            assert_eq!(why(&text, Role::Courier, &key, &root), None);
            for bit in 0..text.len() * 8 {
                let mut bad = text.clone().into_bytes();
                bad[bit / 8] ^= 1 << (bit % 8);
                let bad = String::from_utf8(bad).unwrap_or_default();
                assert!(why(&bad, Role::Courier, &key, &root).is_some(), "{algorithm} bit {bit}");
            }
            // The same for the bits inside of the armor.
            let bytes = dearmor(&text).unwrap();
            for bit in 0..bytes.len() * 8 {
                let mut bad = bytes.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(why(&armor(&bad), Role::Courier, &key, &root).is_some(), "{algorithm} bit {bit} inside");
            }
            assert!(why(&armor(&[bytes.as_slice(), b"x"].concat()), Role::Courier, &key, &root).is_some());
        }
    }

    #[test]
    fn a_signature_holds_for_its_role_key_and_root_only() {
        let (one, other) = (root(b"one"), root(b"other"));
        let (key, stranger) = (key(Algorithm::Ed25519), key(Algorithm::Ed25519));
        let text = sign(&key, Role::Operator, &one.bytes).unwrap();
        assert_eq!(why(&text, Role::Operator, &key, &one), None);
        assert!(why(&text, Role::Auditor, &key, &one).unwrap().contains("namespace"));
        assert!(why(&text, Role::Operator, &stranger, &one).unwrap().contains("another key"));
        assert!(why(&text, Role::Operator, &key, &other).unwrap().contains("moved"));
    }

    #[test]
    fn each_flipped_bit_of_a_signature_on_another_file_is_found() {
        let key = key(Algorithm::Ed25519);
        let bytes = dearmor(&sign_bytes(&key, "floe-tombstone", b"x").unwrap()).unwrap();
        assert!(check_file(armor(&bytes).as_bytes(), "floe-tombstone", b"x").is_ok());
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let checked = check_file(armor(&bad).as_bytes(), "floe-tombstone", b"x");
            assert!(checked.is_err(), "bit {bit}");
        }
    }

    #[test]
    fn names_read_back() {
        let key = key(Algorithm::Ed25519);
        let file = file_name("20261122T210500Z-0123456789ab", Role::Receiver, key.public_key()).unwrap();
        let (snapshot, role, digits) = parse_name(&file).unwrap();
        assert_eq!((snapshot, role), ("20261122T210500Z-0123456789ab", Role::Receiver));
        assert_eq!(digits, key_digits(key.public_key()).unwrap());
        for bad in ["signatures/x.sig", "signatures/x.king.0123456789abcdef.sig", "signatures/x.operator.0123.sig", "operator"] {
            assert!(parse_name(bad).is_none(), "{bad}");
        }
    }
}
