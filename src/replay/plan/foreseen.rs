//! Reads a forecast file back, an account at a time.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::forecast::{Cause, Foreseen};
use crate::error::{Error, Kind, Result};
use crate::model::CollectionPath;

/// A longer line is none that floe wrote.
const LINE_MAX: u64 = 1 << 20;

/// What is foreseen for the items of one account: by collection, and by place in the source.
pub type OfAccount = HashMap<CollectionPath, HashMap<String, Vec<(Cause, String)>>>;

/// A forecast file.
pub struct ForecastFile {
    path: PathBuf,
    file: Mutex<BufReader<File>>,
    /// Where the lines of each account begin and end; `floe plan` writes one account after the other.
    accounts: HashMap<String, (u64, u64)>,
}

impl ForecastFile {
    /// Opens the file and notes where each account's lines are.
    ///
    /// # Errors
    /// `Kind::Usage` when it cannot be read or is none; with the number of the line.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io(Kind::Usage, "cannot read the forecast", path, e))?;
        let mut forecast =
            ForecastFile { path: path.to_owned(), file: Mutex::new(BufReader::new(file)), accounts: HashMap::new() };
        let mut accounts = HashMap::new();
        forecast.lines(0, u64::MAX, &mut |foreseen, from, to| {
            // What is of no item is nobody's to look up here.
            if foreseen.source.is_none() {
                return;
            }
            accounts.entry(foreseen.account).and_modify(|range: &mut (u64, u64)| range.1 = to).or_insert((from, to));
        })?;
        forecast.accounts = accounts;
        Ok(forecast)
    }

    /// What is foreseen for an account's items.
    ///
    /// # Errors
    /// As [`ForecastFile::open`].
    pub fn of_account(&self, account: &str) -> Result<OfAccount> {
        let mut all = OfAccount::new();
        let Some(&(from, to)) = self.accounts.get(account) else { return Ok(all) };
        self.lines(from, to, &mut |foreseen, _, _| {
            if let (true, Some(folder), Some(source)) = (foreseen.account == account, foreseen.folder, foreseen.source) {
                all.entry(folder).or_default().entry(source).or_default().push((foreseen.cause, foreseen.detail));
            }
        })?;
        Ok(all)
    }

    /// Hands out the lines from one offset to another, each with where it begins and ends.
    fn lines(&self, from: u64, to: u64, each: &mut dyn FnMut(Foreseen, u64, u64)) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |e| Error::io(Kind::Usage, "cannot read the forecast", &self.path, e);
        file.seek(SeekFrom::Start(from)).map_err(failed)?;
        let mut at = from;
        let mut line = Vec::new();
        while at < to {
            line.clear();
            let read = (&mut *file).take(LINE_MAX).read_until(b'\n', &mut line).map_err(failed)? as u64;
            if read == 0 {
                break;
            }
            let foreseen = serde_json::from_slice(&line).map_err(|e| {
                Error::usage("this is no line of a forecast")
                    .with("path", self.path.display())
                    .with("offset", at)
                    .because(e)
                    .hint("make the plan's forecast anew with floe plan")
            })?;
            each(foreseen, at, at + read);
            at += read;
        }
        Ok(())
    }
}
