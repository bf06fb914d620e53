//! A file that a person asked for: it appears under its name when it is whole, and replaces nothing.

use std::fs::File;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Error, Kind, Result};

/// The file while it is written.
pub struct NewFile {
    file: NamedTempFile,
    out: PathBuf,
}

impl NewFile {
    /// Begins the file that will be `out`.
    ///
    /// # Errors
    /// `Kind::Usage` when there is something of this name, `Kind::Storage` when its folder cannot be written to.
    pub fn create(out: &Path) -> Result<Self> {
        if out.symlink_metadata().is_ok() {
            return Err(Error::usage("there is a file of this name already")
                .with("file", out.display())
                .hint("name another one"));
        }
        let file = NamedTempFile::with_prefix_in(".floe-", folder_of(out)).map_err(|e| failed(out, e))?;
        Ok(NewFile { file, out: out.to_owned() })
    }

    /// Where to write.
    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Makes it durable under its name; its bytes.
    ///
    /// # Errors
    /// `Kind::Storage` when that fails, or something got this name meanwhile.
    pub fn finish(self) -> Result<u64> {
        let out = self.out;
        self.file.as_file().sync_all().map_err(|e| failed(&out, e))?;
        let bytes = self.file.as_file().metadata().map_err(|e| failed(&out, e))?.len();
        self.file.persist_noclobber(&out).map_err(|e| failed(&out, e.error))?;
        File::open(folder_of(&out)).and_then(|f| f.sync_all()).map_err(|e| failed(&out, e))?;
        Ok(bytes)
    }
}

/// Why the file `out` could not be written.
pub fn failed(out: &Path, cause: std::io::Error) -> Error {
    Error::io(Kind::Storage, "cannot write the file", out, cause)
}

fn folder_of(out: &Path) -> &Path {
    out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
