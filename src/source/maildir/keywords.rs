//! Keywords: Dovecot's letters `a` to `z` and their names in `dovecot-keywords`, Courier's lists by message.

use std::path::Path;

use super::uidlist::each_line;
use crate::source::disk;

/// Letters that Dovecot has for keywords; more of them exist in its index only.
const LETTERS: usize = 26;
/// More keywords than any server allows in one folder.
const MAX_COURIER: usize = 200;

/// The names of a folder's keyword letters.
#[derive(Debug, Default)]
pub(super) struct Keywords([Option<String>; LETTERS]);

impl Keywords {
    /// Reads `dovecot-keywords`: lines of a number and a name. Without the file no letter has a name.
    pub(super) fn load(dir: &Path) -> Self {
        let mut keywords = Keywords::default();
        if let Ok((file, _)) = disk::open_regular(&dir.join("dovecot-keywords")) {
            // What could be read before an error is still right; a letter without a name is noted on its message.
            let _ = each_line(file, &mut |line| {
                let text = String::from_utf8_lossy(line);
                if let Some((number, name)) = text.split_once(' ')
                    && let Ok(number) = number.parse::<usize>()
                    && let Some(slot) = keywords.0.get_mut(number)
                    && !name.is_empty()
                {
                    *slot = Some(name.to_owned());
                }
                true
            });
        }
        keywords
    }

    /// The name of a letter.
    pub(super) fn name(&self, letter: u8) -> Option<&str> {
        self.0.get(usize::from(letter.checked_sub(b'a')?))?.as_deref()
    }
}

/// Reads Courier's `courierimapkeywords/:list`: the names, an empty line, then `MESSAGE:NUMBER NUMBER` lines. Calls `f`
/// with a message's name and its numbers, which are places in the names that are returned.
pub(super) fn courier(dir: &Path, f: &mut dyn FnMut(&[u8], &[u8])) -> Vec<String> {
    let mut names = Vec::new();
    let Ok((file, _)) = disk::open_regular(&dir.join("courierimapkeywords").join(":list")) else { return names };
    let mut in_names = true;
    let mut numbers = Vec::new();
    let _ = each_line(file, &mut |line| {
        if in_names {
            if line.is_empty() {
                in_names = false;
            } else if names.len() < MAX_COURIER {
                names.push(String::from_utf8_lossy(line).into_owned());
            }
        } else if let Some(colon) = memchr::memrchr(b':', line)
            && let (Some(message), Some(rest)) = (line.get(..colon), line.get(colon + 1..))
        {
            numbers.clear();
            let places = rest.split(|&b| b == b' ').filter_map(|w| std::str::from_utf8(w).ok()?.parse::<u8>().ok());
            numbers.extend(places.filter(|&n| usize::from(n) < names.len()).take(MAX_COURIER));
            f(message, &numbers);
        }
        true
    });
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_have_the_names_of_their_numbers() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("dovecot-keywords"), "0 $Junk\n2 two words\n99 far\nx y\n25 last").unwrap();
        let keywords = Keywords::load(dir.path());
        let names: Vec<_> = [b'a', b'b', b'c', b'z', b'A', b'{'].map(|l| keywords.name(l).map(str::to_owned)).into();
        assert_eq!(names, [Some("$Junk".into()), None, Some("two words".into()), Some("last".into()), None, None]);
    }

    #[test]
    fn courier_lists_numbers_by_message() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("courierimapkeywords")).unwrap();
        std::fs::write(dir.path().join("courierimapkeywords/:list"), "one\ntwo\n\n1.M:2:1 0 7\nb:\nnothing\n").unwrap();
        let mut seen = Vec::new();
        let names = courier(dir.path(), &mut |name, numbers| seen.push((name.to_vec(), numbers.to_vec())));
        assert_eq!(names, ["one", "two"]);
        assert_eq!(seen, [(b"1.M:2".to_vec(), vec![1, 0]), (b"b".to_vec(), vec![])]);
    }
}
