//! Directory files: what each one is, by evidence, and all of them together as one directory.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::beside::Beside;
use super::merge::Merger;
use super::model::{Directory, FileNote, Found};
use super::names::Address;
use super::{acl, csv, ldif, passwd, sieve, text};
use crate::error::{Error, Kind, Result};

/// Largest file that is read: a directory of a million people in LDIF.
const MAX_BYTES: u64 = 1 << 30;
/// Most files of a folder that is named.
const MAX_FILES: usize = 10_000;

/// What a directory file can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table of accounts or members.
    Csv,
    /// LDIF.
    Ldif,
    /// Dovecot's passwd-file.
    PasswdFile,
    /// A Sieve script.
    Sieve,
    /// Dovecot's ACL file.
    Acl,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Format::Csv => "csv",
            Format::Ldif => "ldif",
            Format::PasswdFile => "passwd-file",
            Format::Sieve => "sieve",
            Format::Acl => "dovecot-acl",
        })
    }
}

impl Format {
    /// Does a file's name say that it is of this format?
    fn is_named(self, name: &str) -> bool {
        match self {
            Format::Csv => name.ends_with(".csv") || name.ends_with(".tsv"),
            Format::Ldif => name.ends_with(".ldif"),
            Format::PasswdFile => name.ends_with("passwd") || name.ends_with(".users"),
            Format::Sieve => name.ends_with(".sieve"),
            Format::Acl => name == "dovecot-acl" || name.ends_with(".acl") || name.ends_with("-acl"),
        }
    }
}

/// A file that is named, and whose it is where that was said: `anna@acme.example=rules.sieve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// A file, or a folder of them.
    pub path: PathBuf,
    /// Whose scripts and rights they are, or which list a table of members is of.
    pub owner: Option<Address>,
}

impl std::str::FromStr for Input {
    type Err = std::convert::Infallible;

    /// `FILE` or `ADDRESS=FILE`; what stands before the first `=` is an address or part of the file's name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = text.split_once('=').and_then(|(owner, path)| Some((Address::parse(owner)?, path)));
        let is_file = Path::new(text).exists();
        Ok(match named.filter(|_| !is_file) {
            Some((owner, path)) => Input { path: PathBuf::from(path), owner: Some(owner) },
            None => Input { path: PathBuf::from(text), owner: None },
        })
    }
}

/// What a file can be, and why; nothing for what is no directory file. A name that says what a file is decides where its text could be
/// several things.
pub fn identify(path: &Path, bytes: &[u8]) -> Vec<(Format, Vec<String>)> {
    let (text, encoding) = text::decode(bytes);
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let mut found: Vec<(Format, Vec<String>)> = [
        (Format::Acl, acl::evidence(&name, &text).map(|why| vec![why])),
        (Format::Ldif, ldif::evidence(&text).map(|why| vec![why])),
        (Format::Sieve, sieve::evidence(&name, &text).map(|why| vec![why])),
        (Format::PasswdFile, passwd::evidence(&text).map(|why| vec![why])),
        (Format::Csv, csv::evidence(&text)),
    ]
    .into_iter()
    .filter_map(|(format, because)| Some((format, because?)))
    .collect();
    if found.len() > 1 && found.iter().any(|(format, _)| format.is_named(&name)) {
        found.retain(|(format, _)| format.is_named(&name));
    }
    for (_, because) in &mut found {
        because.extend(encoding.map(|e| format!("encoded in {e}")));
    }
    found
}

/// Reads all files into one directory: those that are named, then those that lie `beside` the mail of `stores`, the accounts that an
/// archive holds.
///
/// # Errors
/// `Kind::Usage` when a named file cannot be read, is no directory file, or could be two things; what is odd inside of one is listed
/// instead.
pub fn read(inputs: &[Input], beside: &[Beside], stores: &[String]) -> Result<Directory> {
    let mut merger = Merger::default();
    for input in inputs {
        let is_folder = input.path.is_dir();
        for path in if is_folder { files_of(&input.path)? } else { vec![input.path.clone()] } {
            let bytes = bytes_of(&path)?;
            let mut formats = identify(&path, &bytes);
            match (formats.pop(), formats.as_slice()) {
                (Some((format, because)), []) => {
                    let found = found_in(format, &path, &bytes, input.owner.as_ref(), None);
                    merger.add(note(&path, format, because, &found), found);
                }
                (Some((last, _)), others) => return Err(two_things(&path, last, others)),
                (None, _) if is_folder => merger.unknown_file(path.display().to_string()),
                (None, _) => return Err(not_a_directory(&path)),
            }
        }
    }
    for file in beside {
        let owner = merger.owner_of_store(&file.store);
        let found = match bytes_of(&file.path) {
            Ok(bytes) => found_in(file.format, &file.path, &bytes, owner.as_ref(), Some(file.folder.as_slice())),
            Err(e) => {
                let mut found = Found::default();
                found.cannot(0, owner.as_ref(), e.to_string());
                found
            }
        };
        merger.add(note(&file.path, file.format, vec![format!("lies beside the mail of {}", file.store)], &found), found);
    }
    Ok(merger.finish(stores))
}

fn note(path: &Path, format: Format, because: Vec<String>, found: &Found) -> FileNote {
    let (records, passed_over) = (found.records, found.passed_over.clone());
    FileNote { path: path.display().to_string(), format: format.to_string(), because, records, passed_over }
}

fn two_things(path: &Path, last: Format, others: &[(Format, Vec<String>)]) -> Error {
    let between: Vec<String> = others.iter().map(|(format, _)| format).chain([&last]).map(Format::to_string).collect();
    Error::usage("this directory file could be several things")
        .with("path", path.display())
        .with("between", between.join(" or "))
        .hint("give it a name that says which: ending in .csv, .ldif, .passwd, .sieve, or dovecot-acl")
}

fn not_a_directory(path: &Path) -> Error {
    Error::usage("this is no directory file that floe knows")
        .with("path", path.display())
        .hint("a CSV needs a header line with a column of mail addresses and another one; see docs/directory.md for what is read")
}

/// The regular files of a folder and those below it, in the order of their names; links are not followed.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in walkdir::WalkDir::new(folder).max_depth(16).sort_by_file_name() {
        let entry = entry.map_err(|e| Error::usage("cannot read the folder").with("path", folder.display()).because(e))?;
        if entry.file_type().is_file() {
            files.push(entry.into_path());
        }
        if files.len() > MAX_FILES {
            return Err(Error::usage("the folder holds too many files for a directory").with("path", folder.display()));
        }
    }
    Ok(files)
}

fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    let failed = |e| Error::io(Kind::Usage, "cannot read the directory file", path, e);
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Error::usage("the directory file is larger than 1 GiB").with("path", path.display()));
    }
    Ok(bytes)
}

/// What a file says. `folder` is the one that an ACL file lies in, where that is known better than by its path.
fn found_in(format: Format, path: &Path, bytes: &[u8], owner: Option<&Address>, folder: Option<&[String]>) -> Found {
    let (text, _) = text::decode(bytes);
    let owner = owner.cloned().or_else(|| owner_of(path));
    match format {
        Format::Csv => csv::read(&text, owner.as_ref()),
        Format::Ldif => ldif::read(&text),
        Format::PasswdFile => passwd::read(&text),
        Format::Sieve => sieve::read(&text, owner.as_ref()),
        Format::Acl => {
            let parent = path.parent().and_then(Path::file_name).map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            acl::read(&text, owner.as_ref(), &folder.map_or_else(|| acl::folder_of(&parent), <[String]>::to_vec))
        }
    }
}

/// Whose the file is by its own name or that of a folder above it: `anna@acme.example.sieve`, `anna@acme.example/active.sieve`.
fn owner_of(path: &Path) -> Option<Address> {
    let endings = [".dovecot.sieve", ".sieve", ".acl", "-acl", ".csv", ".txt"];
    let mut names = path.components().rev().filter_map(|part| part.as_os_str().to_str());
    let file = names.next()?;
    let stem = endings.iter().find_map(|ending| file.strip_suffix(ending)).unwrap_or(file);
    Address::parse(stem).or_else(|| names.find_map(Address::parse))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_what_is_in_it() {
        for (name, text, want) in [
            ("x", "dn: cn=a\nmail: a@b.example\n", Some(Format::Ldif)),
            ("users.txt", "email;name\na@b.example;A\n", Some(Format::Csv)),
            ("users", "a@b.example:{PLAIN}x::::::\n", Some(Format::PasswdFile)),
            ("a.sieve", "require \"fileinto\";\nfileinto \"x\";\n", Some(Format::Sieve)),
            ("filter", "require [\"fileinto\"];\nif true { keep; }\n", Some(Format::Sieve)),
            ("dovecot-acl", "user=boris lr\n", Some(Format::Acl)),
            ("mail.eml", "Subject: a\n\nhello\n", None),
            ("empty", "", None),
        ] {
            let found: Vec<Format> = identify(Path::new(name), text.as_bytes()).into_iter().map(|(f, _)| f).collect();
            assert_eq!(found, want.into_iter().collect::<Vec<_>>(), "{name}");
        }
    }

    #[test]
    fn what_could_be_two_things_is_refused_unless_its_name_says_which() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("email,name\n{}", "a@b.example:{PLAIN}x,Anna\n".repeat(12));
        let input = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, &text).unwrap();
            [Input { path, owner: None }]
        };
        let refused = read(&input("accounts"), &[], &[]).unwrap_err().to_string();
        assert!(refused.contains("between passwd-file or csv"), "{refused}");
        assert_eq!(read(&input("accounts.csv"), &[], &[]).unwrap().files[0].format, "csv");
        assert_eq!(read(&input("passwd"), &[], &[]).unwrap().accounts.len(), 1);
    }

    #[test]
    fn a_path_says_whose_a_script_is() {
        for (path, want) in [
            ("sieve/anna@acme.example.sieve", Some("anna@acme.example")),
            ("vmail/anna@acme.example/sieve/active.sieve", Some("anna@acme.example")),
            ("u/user2@otherdomain.tld.dovecot.sieve", Some("user2@otherdomain.tld")),
            ("a/b.sieve", None),
        ] {
            assert_eq!(owner_of(Path::new(path)).map(String::from).as_deref(), want, "{path}");
        }
        let input: Input = "anna@acme.example=rules.sieve".parse().unwrap();
        assert_eq!(input.owner.map(String::from).as_deref(), Some("anna@acme.example"));
    }
}
