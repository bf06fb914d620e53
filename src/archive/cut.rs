//! Where long bytes are cut into blobs: by their content, so that the same stretch is found again in another place.
//!
//! The sizes are a promise of the format (docs/format.md section 4): cutting otherwise would still be read, but would share nothing
//! with what earlier snapshots stored.

use std::io::Read;

use fastcdc::v2020::{FastCDC, StreamCDC};

const MIN_BYTES: usize = 256 << 10;
const USUAL_BYTES: usize = 1 << 20;
/// No piece is longer.
pub const MAX_PIECE_BYTES: usize = 4 << 20;

/// The pieces of bytes in memory.
pub fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    FastCDC::new(bytes, MIN_BYTES, USUAL_BYTES, MAX_PIECE_BYTES).map(|cut| &bytes[cut.offset..cut.offset + cut.length])
}

/// Bytes of the first piece; the same whatever follows after [`MAX_PIECE_BYTES`].
pub fn first_piece(bytes: &[u8]) -> usize {
    pieces(bytes).next().map_or(0, <[u8]>::len)
}

/// The same pieces of a stream, one in memory at a time.
pub fn pieces_of_stream<R: Read>(stream: R) -> impl Iterator<Item = Result<Vec<u8>, fastcdc::v2020::Error>> {
    StreamCDC::new(stream, MIN_BYTES, USUAL_BYTES, MAX_PIECE_BYTES).map(|piece| piece.map(|p| p.data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_cut_where_the_bytes_are() {
        let bytes: Vec<u8> = (0..3_000_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
        let streamed: Vec<Vec<u8>> = pieces_of_stream(bytes.as_slice()).map(Result::unwrap).collect();
        assert!(streamed.len() > 3);
        assert_eq!(pieces(&bytes).collect::<Vec<_>>(), streamed);
        assert_eq!(streamed.concat(), bytes);
        assert_eq!(first_piece(&bytes[..MAX_PIECE_BYTES]), streamed[0].len());
    }
}
