//! Lines of `>`s and `From ` in bodies: how often each is quoted, and what the lines around it say of who quoted it.
//!
//! mboxo puts a `>` before `From ` alone; mboxrd before `>From ` and so on too. The file itself does not say which, and
//! `>>From ` alone proves nothing: much mail was quoted in another mbox on its way. But inside a reply, which quotes with
//! `>` as well, lines next to each other carry the same number; and in plain text that comes from one hand `From ` and
//! `>From ` together are likelier than `From ` and `>>From `.

use memchr::memmem;

use crate::source::coding::body_start;

/// Lines next to a quoted one that are passed over because they are quoted `From ` lines themselves.
const MAX_PASSED: usize = 4;

/// What a body shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Quoting {
    /// There are lines of `>`s and `From `.
    pub any: bool,
    /// Some of them with more than one `>`.
    pub deep: bool,
    /// Places that a writer of mboxrd leaves so, and one of mboxo hardly ever.
    pub by_mboxrd_count: u64,
    /// Places that a writer of mboxo leaves so, and one of mboxrd hardly ever.
    pub by_mboxo_count: u64,
}

/// Looks at a message's body.
pub(super) fn look(message: &[u8]) -> Quoting {
    let body = message.get(body_start(message)..).unwrap_or_default();
    let mut seen = Quoting::default();
    // Quoted once and twice in plain text, outside of replies.
    let (mut once, mut twice) = (false, false);
    for hit in memmem::find_iter(body, b">From ") {
        let before = body.get(..hit).unwrap_or_default();
        let start = before.iter().rposition(|&b| b != b'>').map_or(0, |at| at + 1);
        if start > 0 && body.get(start - 1) != Some(&b'\n') {
            continue;
        }
        let level = hit + 1 - start;
        seen.any = true;
        seen.deep |= level > 1;
        let above = level_of(Some(body.get(..start).unwrap_or_default()), |rest| {
            let rest = rest.strip_suffix(b"\n")?;
            let at = memchr::memrchr(b'\n', rest).map_or(0, |at| at + 1);
            Some((rest.get(at..)?, rest.get(..at)?))
        });
        let end = body.get(hit..).and_then(|rest| memchr::memchr(b'\n', rest)).map_or(body.len(), |at| hit + at + 1);
        let below = level_of(body.get(end..), |rest| {
            let at = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            Some((rest.get(..at)?, rest.get(at + 1..).unwrap_or_default()))
        });
        once |= level == 1 && above == 0 && below == 0;
        twice |= level == 2 && above == 0 && below == 0;
        seen.by_mboxo_count += u64::from(above >= level && below >= level);
        seen.by_mboxrd_count += u64::from(level > 1 && above == level - 1 && below == level - 1);
    }
    seen.by_mboxrd_count += u64::from(once && twice);
    seen
}

/// How many `>`s the nearest line carries that is no quoted `From ` line. `line` parts a line off what is left.
fn level_of<'a>(mut rest: Option<&'a [u8]>, line: impl Fn(&'a [u8]) -> Option<(&'a [u8], &'a [u8])>) -> usize {
    for _ in 0..MAX_PASSED {
        let Some((text, others)) = rest.filter(|rest| !rest.is_empty()).and_then(&line) else { return 0 };
        let level = text.iter().take_while(|&&b| b == b'>').count();
        if !text.get(level..).is_some_and(|text| text.starts_with(b"From ")) {
            return level;
        }
        rest = Some(others);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn votes(body: &str) -> (bool, bool, u64, u64) {
        let seen = look(format!(">From: header\n\n{body}").as_bytes());
        (seen.any, seen.deep, seen.by_mboxrd_count, seen.by_mboxo_count)
    }

    #[test]
    fn the_lines_around_tell_who_quoted() {
        assert_eq!(votes("text\nFrom a\n >From b\nx>From c\n"), (false, false, 0, 0));
        assert_eq!(votes("text\n>From a\n"), (true, false, 0, 0), "both dialects write this");
        assert_eq!(votes("text\n>>From a\n\nmore\n"), (true, true, 0, 0), "it may have been there before");
        assert_eq!(votes("text\n>>From a\n\n>From b\n"), (true, true, 1, 0));
        assert_eq!(votes(">a reply\n>>From a\n>its end\n"), (true, true, 1, 0));
        assert_eq!(votes(">>a reply\n>>From a\n>>its end\n"), (true, true, 0, 1));
        assert_eq!(votes(">>a reply\n>>From a\n>its end\n"), (true, true, 0, 0));
        assert_eq!(votes(">a reply\r\n>From a\r\n>>From b\r\n>its end\r\n"), (true, true, 1, 1));
        assert_eq!(votes(">a reply\n>From a\n>its end"), (true, false, 0, 1));
        assert_eq!(votes(">a reply\n>From a\nmy answer\n"), (true, false, 0, 0));
        assert_eq!(votes(">>From a"), (true, true, 0, 0));
    }

    #[test]
    fn a_wall_of_such_lines_is_looked_at_in_one_pass() {
        let wall = ">>From \n".repeat(200_000);
        let begun = std::time::Instant::now();
        assert!(votes(&wall).1);
        assert!(begun.elapsed().as_secs() < 5);
        assert!(votes(&">".repeat(2_000_000)).0 || begun.elapsed().as_secs() < 5);
    }
}
