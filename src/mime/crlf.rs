//! Line ends: where a LF stands alone, and how it becomes CR LF on the way.

use std::io::Write;

/// Where in `bytes` a LF stands without a CR before it; `after_cr` says whether the bytes before these ended in one.
pub fn bare_line_feeds(bytes: &[u8], after_cr: bool) -> impl Iterator<Item = usize> + '_ {
    memchr::memchr_iter(b'\n', bytes).filter(move |&lf| !if lf == 0 { after_cr } else { bytes[lf - 1] == b'\r' })
}

/// Makes every bare LF a CR LF on the way.
pub struct CrlfWriter<'a> {
    out: &'a mut dyn Write,
    after_cr: bool,
}

impl<'a> CrlfWriter<'a> {
    /// Writes to `out`.
    pub fn new(out: &'a mut dyn Write) -> Self {
        CrlfWriter { out, after_cr: false }
    }
}

impl Write for CrlfWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut from = 0;
        for at in bare_line_feeds(bytes, self.after_cr) {
            self.out.write_all(&bytes[from..at])?;
            self.out.write_all(b"\r")?;
            from = at;
        }
        self.out.write_all(&bytes[from..])?;
        self.after_cr = bytes.last().map_or(self.after_cr, |last| *last == b'\r');
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_line_feeds_become_crlf_wherever_the_pieces_end() {
        for cut in 0..9 {
            let bytes = b"a\nb\r\n\n\rc\n";
            let mut out = Vec::new();
            let mut crlf = CrlfWriter::new(&mut out);
            crlf.write_all(&bytes[..cut]).expect("write");
            crlf.write_all(&bytes[cut..]).expect("write");
            assert_eq!(out, b"a\r\nb\r\n\r\n\rc\r\n", "cut at {cut}");
        }
    }
}
