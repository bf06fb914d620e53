//! Recipes: how an object is rebuilt from literals and blobs (docs/format.md section 4).
//!
//! A recipe refers to blobs only, so that rebuilding never recurses. Rebuilding streams: it holds one blob at a time.

use std::io::{self, Write};

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::PAD;
use base64::engine::simd::Simd;

use crate::error::{Error, Result};
use crate::model::Digest;

const MAGIC: &[u8; 3] = b"R1\n";

/// base64 as recipes mean it (RFC 4648 section 4, padded, nothing else taken), by the fastest instructions of this machine.
pub static BASE64: LazyLock<Simd> = LazyLock::new(|| Simd::standard(PAD));

/// A blob that a recipe refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobRef {
    /// Its name.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

/// What happens to blobs when an object is rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transform {
    /// Nothing.
    Copy,
    /// Each LF becomes CR LF.
    Lines,
    /// base64 in lines of `line` characters (0: one line without end), which end in CR LF or LF, all but the last.
    Base64 {
        /// Characters a line.
        line: u32,
        /// Line ends are CR LF.
        crlf: bool,
    },
}

/// One step of a recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// These bytes.
    Literal(&'a [u8]),
    /// These blobs, concatenated and then transformed.
    Blobs(Transform, Vec<BlobRef>),
}

/// Writes a recipe op by op.
pub struct RecipeBuilder {
    bytes: Vec<u8>,
}

fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

impl RecipeBuilder {
    /// A recipe for an object of `size` bytes.
    pub fn new(size: u64) -> Self {
        let mut bytes = MAGIC.to_vec();
        put_varint(&mut bytes, size);
        RecipeBuilder { bytes }
    }

    /// Appends literal bytes.
    pub fn literal(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.bytes.push(0);
            put_varint(&mut self.bytes, bytes.len() as u64);
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// Appends blobs under a transform.
    pub fn blobs(&mut self, transform: Transform, refs: &[BlobRef]) {
        match transform {
            Transform::Copy => self.bytes.push(1),
            Transform::Lines => self.bytes.push(2),
            Transform::Base64 { line, crlf } => {
                self.bytes.push(3);
                put_varint(&mut self.bytes, u64::from(line));
                self.bytes.push(u8::from(crlf));
            }
        }
        put_varint(&mut self.bytes, refs.len() as u64);
        for r in refs {
            put_varint(&mut self.bytes, r.size);
            self.bytes.extend_from_slice(r.digest.as_bytes());
        }
    }

    /// The recipe's bytes.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// A parsed recipe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe<'a> {
    /// Bytes of the object.
    pub size: u64,
    /// Its steps.
    pub ops: Vec<Op<'a>>,
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, n: u64) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(usize::try_from(n).ok()?)?;
        self.0 = rest;
        Some(head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn varint(&mut self) -> Option<u64> {
        let mut n = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            n |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(n);
            }
        }
        None
    }

    fn refs(&mut self) -> Option<Vec<BlobRef>> {
        let count = self.varint()?;
        // A reference takes 33 bytes at least, so the count is bounded by what is there.
        if count == 0 || count > (self.0.len() as u64) / 33 {
            return None;
        }
        (0..count)
            .map(|_| {
                let size = self.varint()?;
                let digest = Digest::from_bytes(self.take(32)?.try_into().ok()?);
                Some(BlobRef { digest, size })
            })
            .collect()
    }

    fn op(&mut self) -> Option<Op<'a>> {
        Some(match self.byte()? {
            0 => {
                let n = self.varint()?;
                Op::Literal(self.take(n)?)
            }
            1 => Op::Blobs(Transform::Copy, self.refs()?),
            2 => Op::Blobs(Transform::Lines, self.refs()?),
            3 => {
                let line = u32::try_from(self.varint()?).ok()?;
                let crlf = match self.byte()? {
                    0 => false,
                    1 => true,
                    _ => return None,
                };
                Op::Blobs(Transform::Base64 { line, crlf }, self.refs()?)
            }
            _ => return None,
        })
    }
}

impl<'a> Recipe<'a> {
    /// Reads a recipe.
    ///
    /// # Errors
    /// `Kind::Damage` when the bytes are not a recipe of version 1.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| Error::damage("not a recipe of version 1"))?;
        let mut cursor = Cursor(rest);
        let broken = || Error::damage("a recipe is malformed");
        let size = cursor.varint().ok_or_else(broken)?;
        let mut ops = Vec::new();
        while !cursor.0.is_empty() {
            ops.push(cursor.op().ok_or_else(broken)?);
        }
        Ok(Recipe { size, ops })
    }

    /// All blobs that it refers to, in order.
    pub fn refs(&self) -> impl Iterator<Item = &BlobRef> {
        self.ops.iter().flat_map(|op| match op {
            Op::Literal(_) => [].iter(),
            Op::Blobs(_, refs) => refs.iter(),
        })
    }

    /// Writes the object to `out`; `fetch` gives a blob to the function that it is handed. Stops with an error as soon as
    /// more than the announced size comes out, so that a hostile recipe cannot fill a disk.
    ///
    /// # Errors
    /// What `fetch` gives, `Kind::Damage` when sizes do not agree, `Kind::Storage` when `out` fails.
    pub fn rebuild(&self, fetch: &mut Fetch<'_>, out: &mut dyn Write) -> Result<()> {
        let mut out = Limited { inner: out, left: self.size };
        for op in &self.ops {
            match op {
                Op::Literal(bytes) => out.write_all(bytes).map_err(out_error)?,
                Op::Blobs(transform, refs) => {
                    let mut encoder = Encoder::new(*transform);
                    for blob in refs {
                        let mut result = Ok(());
                        fetch(blob, &mut |bytes| {
                            result = if bytes.len() as u64 == blob.size {
                                encoder.write(bytes, &mut out).map_err(out_error)
                            } else {
                                Err(Error::damage("a blob has another size than its recipe says").with("object", blob.digest))
                            };
                        })?;
                        result?;
                    }
                    encoder.finish(&mut out).map_err(out_error)?;
                }
            }
        }
        if out.left > 0 {
            return Err(Error::damage(format!("a recipe gives {} bytes less than it says", out.left)));
        }
        Ok(())
    }
}

/// Hands a blob's bytes to the function given, exactly once.
pub type Fetch<'f> = dyn FnMut(&BlobRef, &mut dyn FnMut(&[u8])) -> Result<()> + 'f;

fn out_error(e: io::Error) -> Error {
    if e.kind() == io::ErrorKind::FileTooLarge {
        return Error::damage("a recipe gives more bytes than it says");
    }
    Error::new(crate::Kind::Storage, "cannot write the object").because(e)
}

struct Limited<'a> {
    inner: &'a mut dyn Write,
    left: u64,
}

impl Write for Limited<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        self.inner.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Bytes encoded at a time: small enough to stay in the first cache levels. A multiple of 3.
const BATCH_BYTES: usize = 12 * 1024;

/// Applies a transform to bytes that come piece by piece.
pub struct Encoder {
    transform: Transform,
    /// Bytes that do not make a group of three yet.
    carry: [u8; 3],
    carried: usize,
    /// Characters on the current line.
    column: usize,
    text: Vec<u8>,
    lines: Vec<u8>,
}

impl Encoder {
    /// An encoder that has seen nothing.
    pub fn new(transform: Transform) -> Self {
        Encoder { transform, carry: [0; 3], carried: 0, column: 0, text: Vec::new(), lines: Vec::new() }
    }

    /// Takes the next bytes.
    pub fn write(&mut self, bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
        match self.transform {
            Transform::Copy => out.write_all(bytes),
            Transform::Lines => self.write_lines(bytes, out),
            Transform::Base64 { line, crlf } => {
                let mut bytes = bytes;
                while self.carried > 0 && self.carried < 3 {
                    let Some((first, rest)) = bytes.split_first() else { return Ok(()) };
                    self.carry[self.carried] = *first;
                    self.carried += 1;
                    bytes = rest;
                }
                if self.carried == 3 {
                    let group = self.carry;
                    self.carried = 0;
                    self.encode(&group, line, crlf, out)?;
                }
                let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % 3);
                for batch in whole.chunks(BATCH_BYTES) {
                    self.encode(batch, line, crlf, out)?;
                }
                self.carry[..rest.len()].copy_from_slice(rest);
                self.carried = rest.len();
                Ok(())
            }
        }
    }

    /// Writes what is still held back.
    pub fn finish(mut self, out: &mut dyn Write) -> io::Result<()> {
        if let Transform::Base64 { line, crlf } = self.transform
            && self.carried > 0
        {
            let rest = self.carry;
            self.encode(&rest[..self.carried], line, crlf, out)?;
        }
        Ok(())
    }

    fn write_lines(&mut self, bytes: &[u8], out: &mut dyn Write) -> io::Result<()> {
        self.lines.clear();
        let mut at = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            self.lines.extend_from_slice(&bytes[at..end]);
            self.lines.extend_from_slice(b"\r\n");
            at = end + 1;
            if self.lines.len() >= 4 * BATCH_BYTES {
                out.write_all(&self.lines)?;
                self.lines.clear();
            }
        }
        self.lines.extend_from_slice(&bytes[at..]);
        out.write_all(&self.lines)
    }

    fn encode(&mut self, bytes: &[u8], line: u32, crlf: bool, out: &mut dyn Write) -> io::Result<()> {
        self.text.resize(bytes.len().div_ceil(3) * 4, 0);
        let n = BASE64.encode_slice(bytes, &mut self.text).map_err(io::Error::other)?;
        let mut text = &self.text[..n];
        let line = line as usize;
        if line == 0 {
            return out.write_all(text);
        }
        let eol: &[u8] = if crlf { b"\r\n" } else { b"\n" };
        self.lines.clear();
        while !text.is_empty() {
            if self.column == line {
                self.lines.extend_from_slice(eol);
                self.column = 0;
            }
            let (head, rest) = text.split_at(text.len().min(line - self.column));
            self.lines.extend_from_slice(head);
            self.column += head.len();
            text = rest;
        }
        out.write_all(&self.lines)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn rebuild(recipe: &[u8], blobs: &HashMap<Digest, Vec<u8>>) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        Recipe::parse(recipe)?.rebuild(
            &mut |r, give| {
                give(blobs.get(&r.digest).ok_or_else(|| Error::damage("no such blob"))?);
                Ok(())
            },
            &mut out,
        )?;
        Ok(out)
    }

    fn store(blobs: &mut HashMap<Digest, Vec<u8>>, bytes: &[u8]) -> BlobRef {
        let digest = Digest::of(bytes);
        blobs.insert(digest, bytes.to_vec());
        BlobRef { digest, size: bytes.len() as u64 }
    }

    proptest! {
        #[test]
        fn base64_over_blobs_cut_anywhere_equals_base64_of_the_whole(data in proptest::collection::vec(any::<u8>(), 0..3000),
            cuts in proptest::collection::vec(0usize..3000, 0..5), line in 0u32..90, crlf in any::<bool>()) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(data.len())).collect();
            cuts.extend([0, data.len()]);
            cuts.sort_unstable();
            let mut blobs = HashMap::new();
            let refs: Vec<BlobRef> = cuts.windows(2).map(|w| store(&mut blobs, &data[w[0]..w[1]])).collect();
            let text = base64::engine::general_purpose::STANDARD.encode(&data);
            let want = if line == 0 { text.clone().into_bytes() } else {
                text.as_bytes().chunks(line as usize).collect::<Vec<_>>().join(if crlf { &b"\r\n"[..] } else { &b"\n"[..] })
            };
            let mut builder = RecipeBuilder::new(want.len() as u64);
            builder.blobs(Transform::Base64 { line, crlf }, &refs);
            prop_assert_eq!(rebuild(&builder.finish(), &blobs).unwrap(), want);
        }

        #[test]
        fn any_bytes_are_a_recipe_or_an_error(bytes in any::<Vec<u8>>()) {
            let _ = Recipe::parse(&bytes);
            let _ = Recipe::parse(&[&MAGIC[..], &bytes].concat());
        }
    }

    #[test]
    fn every_op_rebuilds() {
        let mut blobs = HashMap::new();
        let a = store(&mut blobs, b"one\ntwo\n");
        let mut builder = RecipeBuilder::new(4 + 10 + 8 + 12 + 1);
        builder.literal(b"head");
        builder.blobs(Transform::Lines, &[a]);
        builder.blobs(Transform::Copy, &[a]);
        builder.blobs(Transform::Base64 { line: 0, crlf: false }, &[a]);
        builder.literal(b"\n");
        assert_eq!(rebuild(&builder.finish(), &blobs).unwrap(), b"headone\r\ntwo\r\none\ntwo\nb25lCnR3bwo=\n");
    }

    #[test]
    fn a_recipe_that_gives_more_or_less_than_it_says_is_damage() {
        for size in [3, 5] {
            let mut builder = RecipeBuilder::new(size);
            builder.literal(b"four");
            assert_eq!(rebuild(&builder.finish(), &HashMap::new()).unwrap_err().kind(), crate::Kind::Damage);
        }
    }

    #[test]
    fn a_recipe_cannot_make_us_allocate_more_than_it_is() {
        let mut bytes = MAGIC.to_vec();
        put_varint(&mut bytes, 1);
        bytes.push(1);
        put_varint(&mut bytes, u64::MAX);
        assert!(Recipe::parse(&bytes).is_err());
    }
}
