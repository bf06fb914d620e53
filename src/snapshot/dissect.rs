//! From a message to objects: leaf bodies become blobs, the rest a recipe, and the proof that it gives the message back.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::{self, Write};

use base64::Engine as _;

use crate::archive::cut::pieces;
use crate::archive::pack::{ObjectForm, Sort};
use crate::archive::recipe::{BASE64, BlobRef, Recipe, RecipeBuilder, Transform};
use crate::error::Error;
use crate::mime;
use crate::model::Digest;

/// Bodies of fewer bytes stay in the recipe.
const MIN_BLOB_BYTES: usize = 2048;
/// Longer stretches are cut by content.
const MAX_PIECE_BYTES: usize = 1 << 20;

/// An object to be stored.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// Its name.
    pub digest: Digest,
    /// How it is stored.
    pub form: ObjectForm,
    /// With what it shares frames.
    pub sort: Sort,
    /// The bytes to store.
    pub bytes: Vec<u8>,
}

/// A message taken apart, and its digests.
pub struct Dissected {
    /// The message's own.
    pub digest: Digest,
    /// Those of the other forms of it that were given.
    pub forms: [Option<Digest>; 2],
    /// What holds it; the last one is the message itself.
    pub objects: Vec<NewObject>,
}

/// A step of a recipe whose blobs have no digests yet.
enum Step<'a> {
    Literal(&'a [u8]),
    /// So many of the next blobs.
    Blobs(Transform, usize),
}

#[derive(Default)]
struct Cutter<'a> {
    steps: Vec<Step<'a>>,
    blobs: Vec<Vec<u8>>,
}

impl<'a> Cutter<'a> {
    fn blobs(&mut self, transform: Transform, bytes: Cow<'_, [u8]>) {
        let before = self.blobs.len();
        if bytes.len() <= MAX_PIECE_BYTES {
            self.blobs.push(bytes.into_owned());
        } else {
            self.blobs.extend(pieces(&bytes).map(<[u8]>::to_vec));
        }
        self.steps.push(Step::Blobs(transform, self.blobs.len() - before));
    }

    fn literal(&mut self, bytes: &'a [u8]) {
        if bytes.len() > MAX_PIECE_BYTES {
            self.blobs(Transform::Copy, bytes.into());
        } else {
            self.steps.push(Step::Literal(bytes));
        }
    }

    /// The blobs as objects, and the recipe for `size` bytes that they make.
    fn finish(self, size: usize, digests: &[Digest]) -> (Vec<NewObject>, Vec<u8>) {
        let named = self.blobs.into_iter().zip(digests);
        let objects: Vec<NewObject> = named
            .map(|(bytes, digest)| NewObject { digest: *digest, form: ObjectForm::Blob, sort: sort_of(&bytes), bytes })
            .collect();
        let mut recipe = RecipeBuilder::new(size as u64);
        let mut refs = objects.iter().map(|o| BlobRef { digest: o.digest, size: o.bytes.len() as u64 });
        for step in self.steps {
            match step {
                Step::Literal(bytes) => recipe.literal(bytes),
                Step::Blobs(transform, count) => recipe.blobs(transform, &refs.by_ref().take(count).collect::<Vec<_>>()),
            }
        }
        (objects, recipe.finish())
    }

    fn leaf(&mut self, body: &'a [u8], base64: bool) {
        if base64 && let Some((text, decoded, transform)) = decode(body) {
            self.literal(&body[..text.start]);
            self.blobs(transform, decoded.into());
            self.literal(&body[text.end..]);
        } else if let Some(lf) = without_cr(body) {
            self.blobs(Transform::Lines, lf.into());
        } else {
            self.blobs(Transform::Copy, body.into());
        }
    }
}

/// Does it compress? Judged by the spread of the byte values of a sample.
pub(crate) fn sort_of(bytes: &[u8]) -> Sort {
    let sample = &bytes[bytes.len() / 3..][..bytes.len().min(4096).min(bytes.len() - bytes.len() / 3)];
    let mut counts = [0u32; 256];
    for &b in sample {
        counts[usize::from(b)] += 1;
    }
    let n = sample.len() as f64;
    let bits: f64 = counts.iter().filter(|&&c| c > 0).map(|&c| f64::from(c) / n).map(|p| -p * p.log2()).sum();
    let control = sample.iter().filter(|b| b.is_ascii_control() && !b.is_ascii_whitespace()).count();
    match () {
        // Random bytes give 7.95 in a sample of this size.
        () if bits > 7.8 => Sort::Packed,
        () if control > 0 => Sort::Binary,
        () => Sort::Text,
    }
}

/// With LF only, when every LF of the bytes has a CR before it.
fn without_cr(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    for lf in memchr::memchr_iter(b'\n', bytes) {
        out.extend_from_slice(bytes[at..lf].strip_suffix(b"\r")?);
        out.push(b'\n');
        at = lf + 1;
    }
    (at > 0).then(|| {
        out.extend_from_slice(&bytes[at..]);
        out
    })
}

thread_local! {
    /// The characters of a base64 text without its line ends.
    static JOINED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The text without the line ends, if all its lines but the last have that many characters.
fn join<'a>(text: &[u8], line: usize, eol: &[u8], joined: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    joined.clear();
    for row in text.chunks(line + eol.len()) {
        joined.extend_from_slice(if row.len() > line { row.strip_suffix(eol)? } else { row });
    }
    Some(joined)
}

/// The stretch of a body that is regular base64, what it decodes to, and how to encode it again.
fn decode(body: &[u8]) -> Option<(std::ops::Range<usize>, Vec<u8>, Transform)> {
    let start = body.len() - body.trim_ascii_start().len();
    let text = body.trim_ascii();
    let (line, eol): (usize, &[u8]) = match memchr::memchr(b'\n', text) {
        None => (0, b""),
        Some(n) if n > 0 && text[n - 1] == b'\r' => (n - 1, b"\r\n"),
        Some(n) => (n, b"\n"),
    };
    let decoded = JOINED.with_borrow_mut(|joined| {
        let text = if line == 0 { text } else { join(text, line, eol, joined)? };
        BASE64.decode(text).ok().filter(|d| !d.is_empty())
    })?;
    let transform = Transform::Base64 { line: u32::try_from(line).ok()?, crlf: eol.len() == 2 };
    Some((start..start + text.len(), decoded, transform))
}

/// Takes a message apart. Other forms of it are hashed along where they are given: what is hashed side by side takes less time.
pub fn dissect(message: &[u8], forms: [Option<&[u8]>; 2]) -> Dissected {
    let mut cutter = Cutter::default();
    let mut at = 0;
    for leaf in mime::leaves(message) {
        if leaf.range.len() >= MIN_BLOB_BYTES {
            cutter.literal(&message[at..leaf.range.start]);
            cutter.leaf(&message[leaf.range.clone()], leaf.base64);
            at = leaf.range.end;
        }
    }
    cutter.literal(&message[at..]);
    let given = forms.iter().flatten().copied();
    let strings: Vec<&[u8]> = [message].into_iter().chain(given).chain(cutter.blobs.iter().map(Vec::as_slice)).collect();
    let digests = Digest::of_each(&strings);
    let (digest, mut of_others) = (digests[0], digests[1..].iter().copied());
    let forms = forms.map(|form| form.and_then(|_| of_others.next()));
    let of_blobs: Vec<Digest> = of_others.collect();
    let (mut objects, recipe) = cutter.finish(message.len(), &of_blobs);
    if !objects.is_empty() && recipe.len() < 8 << 20 && gives_back(&recipe, &objects, message) {
        objects.push(NewObject { digest, form: ObjectForm::Recipe, sort: Sort::Head, bytes: recipe });
    } else {
        objects = verbatim(message, digest);
    }
    Dissected { digest, forms, objects }
}

/// The objects that hold any bytes as they are: one blob, or for long bytes pieces and a recipe.
pub fn verbatim(bytes: &[u8], digest: Digest) -> Vec<NewObject> {
    if bytes.len() <= 4 * MAX_PIECE_BYTES {
        let sort = if bytes.len() < 16 << 10 { Sort::Head } else { sort_of(bytes) };
        return vec![NewObject { digest, form: ObjectForm::Blob, sort, bytes: bytes.to_vec() }];
    }
    let mut cutter = Cutter::default();
    cutter.blobs(Transform::Copy, bytes.into());
    let of_blobs = Digest::of_each(&cutter.blobs.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let (mut objects, recipe) = cutter.finish(bytes.len(), &of_blobs);
    objects.push(NewObject { digest, form: ObjectForm::Recipe, sort: Sort::Head, bytes: recipe });
    objects
}

/// The proof: does the recipe rebuild exactly these bytes?
fn gives_back(recipe: &[u8], objects: &[NewObject], message: &[u8]) -> bool {
    let mut next = objects.iter();
    let mut rest = Expected(message);
    let outcome = Recipe::parse(recipe).and_then(|r| {
        r.rebuild(
            &mut |_, give| {
                give(&next.next().ok_or_else(|| Error::damage("a recipe has more blobs than were made"))?.bytes);
                Ok(())
            },
            &mut rest,
        )
    });
    outcome.is_ok() && rest.0.is_empty()
}

/// Takes only the bytes that are expected.
struct Expected<'a>(&'a [u8]);

impl Write for Expected<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    fn mail(eol: &str, data: &[u8], width: usize) -> Vec<u8> {
        let rows: Vec<String> =
            STANDARD.encode(data).as_bytes().chunks(width).map(|r| String::from_utf8_lossy(r).into_owned()).collect();
        [
            "Content-Type: multipart/mixed; boundary=x",
            "",
            "--x",
            "Content-Transfer-Encoding: base64",
            "",
            &rows.join(eol),
            "",
            "--x--",
            "",
        ]
        .join(eol)
        .into_bytes()
    }

    #[test]
    fn an_attachment_is_one_blob_whatever_its_line_ends_and_width() {
        let data: Vec<u8> = (0..9000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        for (eol, width) in [("\n", 76), ("\r\n", 76), ("\n", 60), ("\r\n", 70)] {
            let message = mail(eol, &data, width);
            let objects = dissect(&message, [None; 2]).objects;
            assert_eq!(
                objects.iter().map(|o| o.form).collect::<Vec<_>>(),
                [ObjectForm::Blob, ObjectForm::Recipe],
                "{eol:?} {width}"
            );
            assert_eq!(objects[0].digest, Digest::of(&data));
        }
    }

    #[test]
    fn text_shares_its_part_over_line_ends() {
        let lf = format!("Subject: a\n\n{}", "a line of text\n".repeat(300));
        let crlf = lf.replace('\n', "\r\n");
        let part = |m: &str| dissect(m.as_bytes(), [None; 2]).objects[0].digest;
        assert_eq!(part(&lf), part(&crlf));
    }

    proptest! {
        #[test]
        fn a_mutated_message_is_rebuilt_or_kept_verbatim(data in proptest::collection::vec(any::<u8>(), 2000..6000), crlf in any::<bool>(),
            edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
            let mut message = mail(if crlf { "\r\n" } else { "\n" }, &data, 76);
            for (at, byte) in edits {
                let at = at.index(message.len());
                message[at] = byte;
            }
            let objects = dissect(&message, [None; 2]).objects;
            let last = objects.last().unwrap();
            if last.form == ObjectForm::Recipe {
                prop_assert!(gives_back(&last.bytes, &objects, &message));
            } else {
                prop_assert_eq!(&last.bytes, &message);
            }
        }
    }
}
