//! Listings being written: lines of JSON that may be more than fit into memory.

use serde::Serialize;

use super::cut::{MAX_PIECE_BYTES, first_piece, pieces};
use super::pack::{ObjectForm, Sort};
use super::recipe::{BlobRef, RecipeBuilder, Transform};
use super::writer::Writer;
use crate::error::{Error, Kind, Result};
use crate::model::{Digest, Hasher};

/// A listing up to this size is one entry of a pack.
const ENTRY_BYTES: usize = MAX_PIECE_BYTES;

/// A line of a listing.
///
/// # Errors
/// `Kind::Internal` if the value cannot be written as JSON.
pub fn line(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut line =
        serde_json::to_vec(value).map_err(|e| Error::new(Kind::Internal, "cannot write a listing's line").because(e))?;
    line.push(b'\n');
    Ok(line)
}

/// A listing that gets line by line; what is longer than a piece goes to the archive while it grows.
#[derive(Default)]
pub struct ListingWriter {
    hasher: Hasher,
    tail: Vec<u8>,
    bytes: u64,
    pieces: Vec<BlobRef>,
}

impl ListingWriter {
    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends whole lines.
    ///
    /// # Errors
    /// `Kind::Storage` when the archive cannot be written.
    pub fn push(&mut self, writer: &mut Writer, lines: &[u8]) -> Result<()> {
        self.hasher.update(lines);
        self.bytes += lines.len() as u64;
        self.tail.extend_from_slice(lines);
        // A cut needs no more than the longest piece before it, so pieces are the same as if all lines were there.
        while self.tail.len() > 2 * MAX_PIECE_BYTES {
            let length = first_piece(&self.tail);
            self.piece(writer, length)?;
        }
        Ok(())
    }

    fn piece(&mut self, writer: &mut Writer, length: usize) -> Result<()> {
        let piece: Vec<u8> = self.tail.drain(..length).collect();
        let blob = BlobRef { digest: Digest::of(&piece), size: piece.len() as u64 };
        writer.add(Sort::Listing, ObjectForm::Blob, blob.digest, &piece)?;
        self.pieces.push(blob);
        Ok(())
    }

    /// Stores what is left; the listing's digest, or nothing when it has no lines and need not exist.
    ///
    /// # Errors
    /// As [`ListingWriter::push`].
    pub fn finish(mut self, writer: &mut Writer) -> Result<Digest> {
        let digest = std::mem::take(&mut self.hasher).finish();
        if self.bytes <= ENTRY_BYTES as u64 {
            writer.add(Sort::Listing, ObjectForm::Listing, digest, &self.tail)?;
            return Ok(digest);
        }
        let lengths: Vec<usize> = pieces(&self.tail).map(<[u8]>::len).collect();
        for length in lengths {
            self.piece(writer, length)?;
        }
        let mut recipe = RecipeBuilder::new(self.bytes);
        recipe.blobs(Transform::Copy, &self.pieces);
        writer.add(Sort::Listing, ObjectForm::Recipe, digest, &recipe.finish())?;
        Ok(digest)
    }
}
