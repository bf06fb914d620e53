//! A secret that prints as dots, and the ways it comes in: never on a command line.

use std::fmt;
use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};

use crate::error::{Error, Kind, Result};

/// A password or key. Wiped from memory when dropped; neither `Display` nor `Debug` shows it.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// From its text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(SecretString::from(text.into()))
    }

    /// The first line of a file, without its line end.
    ///
    /// # Errors
    /// `Kind::Usage` when the file cannot be read, is not UTF-8 or has an empty first line.
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(Kind::Usage, "cannot read the password file", path, e))?;
        let text = SecretString::from(text);
        match text.expose_secret().lines().next() {
            Some(line) if !line.is_empty() => Ok(Secret::new(line)),
            _ => Err(Error::usage("the password file has an empty first line").with("path", path.display())),
        }
    }

    /// Asks on the terminal, without showing what is typed.
    ///
    /// # Errors
    /// `Kind::Usage` when there is no terminal to ask on.
    pub fn ask(prompt: &str) -> Result<Self> {
        rpassword::prompt_password(prompt).map(Secret::new).map_err(|e| {
            Error::usage("no password was given, and there is no terminal to ask on")
                .because(e)
                .hint("put it on the first line of a file of mode 0600 and name that file")
        })
    }

    /// The text, for the one place that sends it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_it() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(…)");
    }

    #[test]
    fn a_file_gives_its_first_line_only() {
        let file = tempfile::NamedTempFile::new().expect("temp file");
        std::fs::write(file.path(), "s3cret pass\r\nanother\n").expect("write");
        assert_eq!(Secret::from_file(file.path()).expect("secret").expose(), "s3cret pass");
        std::fs::write(file.path(), "\nanother\n").expect("write");
        assert!(Secret::from_file(file.path()).is_err());
    }
}
