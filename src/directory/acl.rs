//! Dovecot's ACL files: `dovecot-acl` in a mail folder, and global files that name mailboxes by pattern.
//!
//! A line is `identifier rights`, in a global file `mailbox identifier rights`. Rights are letters, or names after a colon.

use super::model::{Account, FolderRights, Found, Who};
use super::names::Address;
use crate::source::mutf7;

/// Dovecot's letters with the names that it gives them; the letters are those of RFC 4314 and of IceWarp.
const LETTERS: [(char, &str); 11] = [
    ('l', "lookup"),
    ('r', "read"),
    ('s', "write-seen"),
    ('w', "write"),
    ('i', "insert"),
    ('p', "post"),
    ('k', "create"),
    ('t', "write-deleted"),
    ('e', "expunge"),
    ('x', "delete"),
    ('a', "admin"),
];

/// What a line means.
#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    mailbox: Option<&'a str>,
    who: &'a str,
    rights: &'a str,
}

/// Why the text is a file of ACLs.
pub(super) fn evidence(name: &str, text: &str) -> Option<String> {
    let named = name == "dovecot-acl" || name.ends_with(".acl") || name.ends_with("-acl");
    let lines = lines(text).filter(|(_, l)| parse(l).is_some()).count();
    (named && lines > 0).then(|| format!("{lines} lines of identifier and rights"))
}

/// Reads the file. `owner` is whose folders these are, `folder` which one the file lies in.
pub(super) fn read(text: &str, owner: Option<&Address>, folder: &[String]) -> Found {
    let mut found = Found::default();
    for (number, line) in lines(text) {
        found.records += 1;
        let Some(parsed) = parse(line) else {
            found.cannot(number, owner, "not a line of an ACL file");
            continue;
        };
        let Some(owner) = owner else {
            found.cannot(number, None, "rights of a folder whose owner the file does not name");
            continue;
        };
        match rights_of(&parsed, owner, folder) {
            Ok(rights) => found.accounts.push((owner.clone(), Account { rights: vec![rights], ..Account::default() })),
            Err(why) => found.cannot(number, Some(owner), why),
        }
    }
    found
}

fn rights_of(line: &Line<'_>, owner: &Address, folder: &[String]) -> Result<FolderRights, String> {
    let who = who(line.who, owner)?;
    let letters = letters(line.rights)?;
    let folder = match line.mailbox {
        None => folder.to_vec(),
        Some("*") => Vec::new(),
        Some(pattern) if pattern.contains(['*', '%', '?']) => return Err("rights of a pattern of folders".to_owned()),
        Some(name) => path_of(name, '/'),
    };
    Ok(FolderRights { folder, who, letters })
}

/// The folder that a Maildir++ folder's name means: `.Kunden.M&APw-ller`; the inbox for the Maildir itself.
pub(super) fn folder_of(directory: &str) -> Vec<String> {
    match directory.strip_prefix('.') {
        Some(name) if !name.is_empty() => path_of(name, '.'),
        _ => vec!["INBOX".to_owned()],
    }
}

fn path_of(name: &str, separator: char) -> Vec<String> {
    name.split(separator).map(|part| mutf7::decode(part).unwrap_or_else(|| part.to_owned())).collect()
}

fn lines(text: &str) -> impl Iterator<Item = (u32, &str)> {
    text.lines().zip(1..).map(|(line, number)| (number, line.trim())).filter(|(_, l)| !l.is_empty() && !l.starts_with('#'))
}

fn is_identifier(word: &str) -> bool {
    let word = word.strip_prefix('-').unwrap_or(word);
    matches!(word, "owner" | "anyone" | "authenticated")
        || ["user=", "group=", "group-override="].iter().any(|kind| word.starts_with(kind))
}

/// Takes one word off the front, also one in quotes.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    match text.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"'),
        None if text.is_empty() => None,
        None => Some(text.split_once(char::is_whitespace).unwrap_or((text, ""))),
    }
}

fn parse(line: &str) -> Option<Line<'_>> {
    let (first, rest) = word(line)?;
    if is_identifier(first) {
        return Some(Line { mailbox: None, who: first, rights: rest.trim() });
    }
    let (second, rights) = word(rest)?;
    is_identifier(second).then(|| Line { mailbox: Some(first), who: second, rights: rights.trim() })
}

fn who(identifier: &str, owner: &Address) -> Result<Who, String> {
    let shown = crate::model::printable(identifier);
    if identifier.starts_with('-') {
        return Err(format!("negative rights of {shown}: IceWarp has none"));
    }
    let address = |name: &str| {
        let full = if name.contains('@') { name.to_owned() } else { format!("{name}@{}", owner.domain()) };
        Address::parse(&full).ok_or_else(|| format!("{shown} is no account"))
    };
    match identifier.split_once('=') {
        None if identifier == "anyone" => Ok(Who::Anyone),
        None if identifier == "authenticated" => Ok(Who::Authenticated),
        None => Ok(Who::Owner),
        Some(("user", name)) => address(name).map(Who::User),
        Some(("group", name)) => address(name).map(Who::Group),
        Some(_) => Err(format!("{shown}: IceWarp knows no overriding rights")),
    }
}

/// Dovecot's rights in IceWarp's letters, in its order. `d` and `c` are the older words (RFC 4314 2.1.1) for `tex` and `kx`, and
/// IceWarp's own presets carry them.
fn letters(rights: &str) -> Result<String, String> {
    let mut names = rights.split(':');
    let mut given = String::new();
    for letter in names.next().unwrap_or_default().trim().chars() {
        if !LETTERS.iter().any(|(l, _)| *l == letter) {
            return Err(format!("the right '{}' is not known", crate::model::printable(&letter.to_string())));
        }
        given.push(letter);
    }
    for name in names.flat_map(str::split_whitespace) {
        match LETTERS.iter().find(|(_, n)| *n == name) {
            Some((letter, _)) => given.push(*letter),
            None => return Err(format!("the right '{}' is not known", crate::model::printable(name))),
        }
    }
    let has = |all: &str| all.chars().all(|c| given.contains(c));
    let extra = |letter: char| (letter == 'd' && has("tex")) || (letter == 'c' && has("kx"));
    Ok("lrswipktexadc".chars().filter(|&c| given.contains(c) || extra(c)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anna() -> Address {
        Address::parse("anna@acme.example").unwrap()
    }

    #[test]
    fn letters_and_names_become_icewarp_letters() {
        assert_eq!(letters("lr").as_deref(), Ok("lr"));
        assert_eq!(letters(":lookup read").as_deref(), Ok("lr"));
        assert_eq!(letters("lrwstipekxa").as_deref(), Ok("lrswipktexadc"));
        assert_eq!(letters("lrwstipek").as_deref(), Ok("lrswipkte"));
        assert!(letters("lq").is_err());
    }

    #[test]
    fn each_identifier_is_mapped_or_listed() {
        let text =
            "# shared\nuser=boris lr\ngroup=sales@acme.example lrwi\nanyone l\n-user=carla r\nowner lrwstipekxa\nnonsense\n";
        let found = read(text, Some(&anna()), &folder_of(".Kunden.M&APw-ller"));
        let rights: Vec<_> = found.accounts.iter().flat_map(|(_, a)| a.rights.clone()).collect();
        assert_eq!(rights.len(), 4);
        assert_eq!(rights[0].folder, ["Kunden", "Müller"]);
        assert_eq!(rights[0].who, Who::User(Address::parse("boris@acme.example").unwrap()));
        assert_eq!(found.unmapped.iter().map(|(line, ..)| *line).collect::<Vec<_>>(), [5, 7]);
        assert_eq!(found.records, 6);
    }

    #[test]
    fn a_global_file_names_the_folder_in_each_line() {
        let found = read("Projects/Secret user=boris lr\n\"My Folder\" anyone l\nTeam* anyone l\n", Some(&anna()), &[]);
        let folders: Vec<_> = found.accounts.iter().map(|(_, a)| a.rights[0].folder.clone()).collect();
        assert_eq!(folders, [vec!["Projects".to_owned(), "Secret".to_owned()], vec!["My Folder".to_owned()]]);
        assert_eq!(found.unmapped.len(), 1);
    }
}
