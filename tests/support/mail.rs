//! Made-up mail: pseudo-random, so that it neither compresses nor repeats, and the same for the same seed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use floe::model::Digest;

/// Pseudo-random numbers (SplitMix64).
pub struct Random(pub u64);

impl Random {
    /// Seeded from the clock, or from `FLOE_TEST_SEED` to repeat a run; says the seed.
    pub fn fresh(test: &str) -> Self {
        let now = || UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        let seed = std::env::var("FLOE_TEST_SEED").ok().map_or_else(now, |text| text.parse().unwrap());
        println!("{test}: FLOE_TEST_SEED={seed}");
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..n.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(n);
        bytes
    }
}

/// base64 in lines of 76.
pub fn base64_lines(data: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(data);
    text.as_bytes().chunks(76).map(|row| std::str::from_utf8(row).unwrap()).collect::<Vec<_>>().join("\n")
}

/// A message with an attachment.
pub fn message(subject: &str, attachment: &[u8]) -> Vec<u8> {
    format!(
        "From: Anna <anna@acme.example>\nTo: boris@acme.example\nSubject: {subject}\nMessage-ID: <{}@acme.example>\n\
         Date: Mon, 1 Jan 2024 10:00:00 +0100\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"b0undary\"\n\n\
         --b0undary\nContent-Type: text/plain\n\nHello, this is {subject}.\n\n--b0undary\n\
         Content-Type: application/octet-stream; name=a.bin\nContent-Transfer-Encoding: base64\n\n{}\n--b0undary--\n",
        Digest::of(subject.as_bytes()).short(),
        base64_lines(attachment)
    )
    .into_bytes()
}

/// An item that a test put into a source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Item {
    pub account: String,
    /// Name of the file that it lies in.
    pub file: String,
    pub sha256: String,
}

/// A Maildir being made.
pub struct Maildir {
    pub root: PathBuf,
    pub account: String,
    pub items: Vec<Item>,
}

impl Maildir {
    pub fn new(root: &Path, account: &str) -> Self {
        for sub in ["cur", "new", "tmp"] {
            fs::create_dir_all(root.join(sub)).unwrap();
        }
        Maildir { root: root.to_owned(), account: account.to_owned(), items: Vec::new() }
    }

    /// The path of the message `name` in a folder (`""` is INBOX, `.Sent` a folder).
    pub fn path(&self, folder: &str, name: &str) -> PathBuf {
        self.root.join(folder).join("cur").join(name)
    }

    /// Puts a message into a folder.
    pub fn put(&mut self, folder: &str, name: &str, bytes: &[u8]) {
        let path = self.path(folder, name);
        if !folder.is_empty() {
            for sub in ["cur", "new", "tmp"] {
                fs::create_dir_all(self.root.join(folder).join(sub)).unwrap();
            }
        }
        fs::write(&path, bytes).unwrap();
        let when = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        fs::File::options().write(true).open(&path).unwrap().set_modified(when).unwrap();
        let sha256 = Digest::of(bytes).to_string();
        self.items.push(Item { account: self.account.clone(), file: name.to_owned(), sha256 });
    }

    /// Puts `count` messages with attachments of up to `max_bytes` into a folder.
    pub fn fill(&mut self, random: &mut Random, folder: &str, count: u64, max_bytes: u64) {
        for n in 0..count {
            let length = max_bytes / 2 + random.below(max_bytes / 2);
            let attachment = random.bytes(length as usize);
            let name = format!("17000{:05}.M{n}P1.host{}:2,S", self.items.len(), folder.replace('.', "-"));
            self.put(folder, &name, &message(&format!("{} {folder} {n}", self.account), &attachment));
        }
    }
}
