//! Names of mailboxes on the wire, and which mailbox serves what: delimiter, prefix, modified UTF-7, special use.

use super::connection::{Connection, Piece, expect_ok};
use super::response::{Condition, Response, Value};
use crate::error::{Error, Kind, Result};
use crate::source::mutf7;

/// Mailboxes of one account that are taken in; more is no account.
const FOLDERS_MAX: usize = 200_000;

/// A mailbox as the server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its name on the wire.
    pub name: String,
    /// Its name in levels, without the namespace's prefix; what is no modified UTF-7 stays as it is.
    pub path: Vec<String>,
    /// Attributes such as `\Noselect` and `\Sent`.
    pub attributes: Vec<String>,
}

impl Folder {
    /// Has it the attribute, in whatever case?
    pub fn is(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|a| a.eq_ignore_ascii_case(attribute))
    }
}

/// How names are written on a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// What stands between levels, where there are levels.
    pub delimiter: Option<char>,
    /// What stands before every name of the user's own mailboxes but INBOX (`INBOX.`), often nothing.
    pub prefix: String,
}

impl Names {
    /// The name of a mailbox on the wire. A first level `INBOX`, in whatever case, is the inbox.
    ///
    /// # Errors
    /// `Kind::Refused` when a level is empty or holds the delimiter or a control character, or there are levels and the server
    /// has none.
    pub fn write(&self, path: &[String]) -> Result<String> {
        let refuse = |why: &str| Err(Error::new(Kind::Refused, why).with("folder", path.join(" / ")));
        if path.iter().any(String::is_empty) || path.is_empty() {
            return refuse("a folder's name is empty");
        }
        if path.iter().any(|level| level.chars().any(char::is_control)) {
            return refuse("a folder's name holds a control character");
        }
        let inbox = path[0].eq_ignore_ascii_case("INBOX");
        if path.len() == 1 && inbox {
            return Ok("INBOX".to_owned());
        }
        let Some(delimiter) = self.delimiter else {
            return if path.len() == 1 { Ok(mutf7::encode(&path[0])) } else { refuse("the server has no folders in folders") };
        };
        if path.iter().any(|level| mutf7::encode(level).contains(delimiter)) {
            return refuse("a folder's name holds the character that the server puts between levels");
        }
        let mut levels: Vec<String> = path.iter().map(|level| mutf7::encode(level)).collect();
        if inbox {
            levels[0] = "INBOX".to_owned();
        }
        let name = levels.join(&delimiter.to_string());
        let prefixed = inbox && name.starts_with(&self.prefix);
        Ok(if prefixed { name } else { format!("{}{name}", self.prefix) })
    }

    /// The levels of a name on the wire.
    pub fn read(&self, name: &str) -> Vec<String> {
        let level = |text: &str| mutf7::decode(text).unwrap_or_else(|| text.to_owned());
        if name.eq_ignore_ascii_case("INBOX") {
            return vec!["INBOX".to_owned()];
        }
        let own = name.strip_prefix(&self.prefix).filter(|rest| !rest.is_empty()).unwrap_or(name);
        match self.delimiter {
            Some(delimiter) => own.split(delimiter).map(level).collect(),
            None => vec![level(own)],
        }
    }
}

impl Connection {
    /// How names are written here.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Asks for the namespace (RFC 2342), or for the delimiter where there is none.
    pub(super) fn learn_names(&mut self) -> Result<()> {
        let mut names = Names::default();
        if self.has("NAMESPACE") {
            self.run_with("NAMESPACE", &mut |response| {
                if let Response::Data(word, mut values) = response
                    && word == "NAMESPACE"
                    && !values.is_empty()
                    && let Some(own) = values.swap_remove(0).list().and_then(|spaces| spaces.into_iter().next()?.list())
                {
                    names.prefix = own.first().and_then(Value::text).unwrap_or_default();
                    names.delimiter = own.get(1).and_then(Value::text).and_then(|d| d.chars().next());
                }
                Ok(())
            })?;
        }
        if names.delimiter.is_none() {
            let status = self.run_with("LIST \"\" \"\"", &mut |response| {
                if let Some(folder) = listed(response) {
                    names.delimiter = folder.1;
                }
                Ok(())
            })?;
            expect_ok(&status, "LIST")?;
        }
        self.names = names;
        Ok(())
    }

    /// All mailboxes of the account, with their special use where the server knows it (RFC 6154, or the older XLIST).
    ///
    /// # Errors
    /// As every command.
    pub fn list(&mut self) -> Result<Vec<Folder>> {
        let command = if self.has("SPECIAL-USE") && self.has("LIST-EXTENDED") {
            "LIST \"\" \"*\" RETURN (SPECIAL-USE)"
        } else if self.has("XLIST") && !self.has("SPECIAL-USE") {
            "XLIST \"\" \"*\""
        } else {
            "LIST \"\" \"*\""
        };
        let names = self.names.clone();
        let mut folders = Vec::new();
        let status = self.run_with(command, &mut |response| {
            if let Some((name, _, attributes)) = listed(response) {
                if folders.len() >= FOLDERS_MAX {
                    return Err(Error::new(Kind::Protocol, "the server lists mailboxes without end"));
                }
                folders.push(Folder { path: names.read(&name), name, attributes });
            }
            Ok(())
        })?;
        expect_ok(&status, "LIST")?;
        Ok(folders)
    }

    /// Makes a mailbox with all that it lies in. It and what had to be made for it are subscribed, for many programs show no others.
    /// Messages in it stay as they are.
    ///
    /// # Errors
    /// `Kind::Refused` with the server's words.
    pub fn create(&mut self, path: &[String]) -> Result<()> {
        for depth in 1..=path.len() {
            let name = self.names.write(&path[..depth])?;
            if name == "INBOX" {
                continue;
            }
            let status = self.run_pieces(&[Piece::Word("CREATE"), Piece::Text(&name)], &mut |_| Ok(()))?;
            let made = status.condition == Condition::Ok;
            let last = depth == path.len();
            // Whether it is there is what the last one is asked by; a parent may exist without being a mailbox.
            if last && !made && !status.is("ALREADYEXISTS") && !self.exists(&name)? {
                return Err(status.error("a new folder").with("folder", path.join(" / ")));
            }
            // The last one always: a run may have broken off between the two commands.
            if made || last {
                self.subscribe(&name).map_err(|e| e.with("folder", path.join(" / ")))?;
            }
        }
        Ok(())
    }

    /// Is there a mailbox of this name on the wire?
    ///
    /// # Errors
    /// As every command.
    pub fn exists(&mut self, name: &str) -> Result<bool> {
        let mut found = false;
        let pieces = [Piece::Word("LIST \"\""), Piece::Text(name)];
        let status = self.run_pieces(&pieces, &mut |response| {
            if let Some((listed, _, attributes)) = listed(response) {
                let gone = |a: &String| a.eq_ignore_ascii_case("\\NonExistent") || a.eq_ignore_ascii_case("\\Noselect");
                found |= listed == name && !attributes.iter().any(gone);
            }
            Ok(())
        })?;
        expect_ok(&status, "LIST")?;
        Ok(found)
    }

    /// Takes back a subscription; one that was not there is no error.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn unsubscribe(&mut self, name: &str) -> Result<()> {
        self.run_pieces(&[Piece::Word("UNSUBSCRIBE"), Piece::Text(name)], &mut |_| Ok(())).map(|_| ())
    }

    /// Subscribes a mailbox.
    ///
    /// # Errors
    /// As every command.
    pub fn subscribe(&mut self, name: &str) -> Result<()> {
        let status = self.run_pieces(&[Piece::Word("SUBSCRIBE"), Piece::Text(name)], &mut |_| Ok(()))?;
        expect_ok(&status, "a subscription")
    }
}

/// Name, delimiter and attributes of a LIST or XLIST response.
fn listed(response: Response) -> Option<(String, Option<char>, Vec<String>)> {
    let Response::Data(word, values) = response else { return None };
    if word != "LIST" && word != "XLIST" {
        return None;
    }
    let mut values = values.into_iter();
    let attributes = values.next()?.list()?.iter().filter_map(Value::text).collect();
    let delimiter = values.next()?.text().and_then(|d| d.chars().next());
    let name = match values.next()? {
        Value::Nil => "NIL".to_owned(),
        value => value.text()?,
    };
    Some((name, delimiter, attributes))
}

/// What a mailbox is for (RFC 6154).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpecialUse {
    /// `\Archive`.
    Archive,
    /// `\Drafts`.
    Drafts,
    /// `\Junk`.
    Junk,
    /// `\Sent`.
    Sent,
    /// `\Trash`.
    Trash,
}

/// By what a special folder is known, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Found {
    /// The server says so (SPECIAL-USE or XLIST).
    Announced,
    /// A mailbox with a usual name is there.
    ByName,
    /// Nothing is there; the English name.
    English,
}

impl SpecialUse {
    /// All of them.
    pub const ALL: [SpecialUse; 5] =
        [SpecialUse::Archive, SpecialUse::Drafts, SpecialUse::Junk, SpecialUse::Sent, SpecialUse::Trash];

    /// As the attribute is written.
    pub fn attribute(self) -> &'static str {
        match self {
            SpecialUse::Archive => "\\Archive",
            SpecialUse::Drafts => "\\Drafts",
            SpecialUse::Junk => "\\Junk",
            SpecialUse::Sent => "\\Sent",
            SpecialUse::Trash => "\\Trash",
        }
    }

    /// From an attribute, XLIST's included.
    pub fn of_attribute(attribute: &str) -> Option<Self> {
        if attribute.eq_ignore_ascii_case("\\Spam") {
            return Some(SpecialUse::Junk);
        }
        Self::ALL.into_iter().find(|use_| use_.attribute().eq_ignore_ascii_case(attribute))
    }

    /// The special use that a name tells of, when it is one that programs use; compared without case.
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        Self::ALL.into_iter().find(|use_| use_.names().iter().any(|usual| usual.to_lowercase() == name))
    }

    /// Usual names, the English one of IceWarp first.
    fn names(self) -> &'static [&'static str] {
        match self {
            SpecialUse::Archive => &["Archive", "Archives", "Archiv", "Archivo", "Archivio", "Archief", "Archiwum", "Arkiv"],
            SpecialUse::Drafts => &[
                "Drafts",
                "Entwürfe",
                "Koncepty",
                "Rozepsané",
                "Brouillons",
                "Borradores",
                "Bozze",
                "Concepten",
                "Szkice",
                "Utkast",
                "Draft",
            ],
            SpecialUse::Junk => &[
                "Spam",
                "Junk",
                "Junk E-mail",
                "Junk-E-Mail",
                "Junk Email",
                "Bulk Mail",
                "Nevyžádaná pošta",
                "Courrier indésirable",
                "Correo no deseado",
                "Posta indesiderata",
                "Ongewenste e-mail",
                "Wiadomości-śmieci",
                "Skräppost",
            ],
            SpecialUse::Sent => &[
                "Sent",
                "Sent Items",
                "Sent Messages",
                "Sent Mail",
                "Gesendet",
                "Gesendete Elemente",
                "Gesendete Objekte",
                "Odeslané",
                "Odeslaná pošta",
                "Envoyés",
                "Éléments envoyés",
                "Enviados",
                "Posta inviata",
                "Inviata",
                "Verzonden items",
                "Wysłane",
                "Skickat",
            ],
            SpecialUse::Trash => &[
                "Trash",
                "Deleted Items",
                "Deleted Messages",
                "Deleted",
                "Bin",
                "Papierkorb",
                "Gelöscht",
                "Gelöschte Elemente",
                "Gelöschte Objekte",
                "Koš",
                "Odstraněná pošta",
                "Corbeille",
                "Éléments supprimés",
                "Papelera",
                "Cestino",
                "Prullenbak",
                "Kosz",
                "Papperskorgen",
            ],
        }
    }
}

/// Which mailbox serves which special use, and by what it is known.
pub fn special_folders(folders: &[Folder]) -> Vec<(SpecialUse, Vec<String>, Found)> {
    let own = |folder: &&Folder| !folder.is("\\Noselect") && !folder.is("\\NonExistent");
    let pick = |use_: SpecialUse| {
        let announced = folders
            .iter()
            .filter(own)
            .find(|folder| folder.attributes.iter().any(|attribute| SpecialUse::of_attribute(attribute) == Some(use_)));
        if let Some(folder) = announced {
            return (use_, folder.path.clone(), Found::Announced);
        }
        let by_name = use_.names().iter().find_map(|name| {
            let fits = |folder: &&Folder| folder.path.len() == 1 && folder.path[0].to_lowercase() == name.to_lowercase();
            folders.iter().filter(own).find(fits)
        });
        match by_name {
            Some(folder) => (use_, folder.path.clone(), Found::ByName),
            None => (use_, vec![use_.names()[0].to_owned()], Found::English),
        }
    };
    SpecialUse::ALL.into_iter().map(pick).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(levels: &[&str]) -> Vec<String> {
        levels.iter().map(|&level| level.to_owned()).collect()
    }

    #[test]
    fn names_are_written_with_prefix_and_delimiter_and_read_back() {
        let plain = Names { delimiter: Some('/'), prefix: String::new() };
        let cyrus = Names { delimiter: Some('.'), prefix: "INBOX.".into() };
        for (levels, slash, dot) in [
            (&["inbox"][..], "INBOX", "INBOX"),
            (&["Kunden", "Müller & Söhne"], "Kunden/M&APw-ller &- S&APY-hne", "INBOX.Kunden.M&APw-ller &- S&APY-hne"),
            (&["Inbox", "Sub"], "INBOX/Sub", "INBOX.Sub"),
        ] {
            assert_eq!(plain.write(&path(levels)).unwrap(), slash);
            assert_eq!(cyrus.write(&path(levels)).unwrap(), dot);
        }
        assert_eq!(cyrus.read("INBOX.Kunden.M&APw-ller"), ["Kunden", "Müller"]);
        assert_eq!(plain.read("a/&bad"), ["a", "&bad"]);
        for bad in [&["a/b"][..], &[""], &["a\r\nb"], &[]] {
            assert!(plain.write(&path(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn special_folders_are_found_by_attribute_then_by_name_then_in_english() {
        let folder = |name: &str, attribute: &str| Folder {
            name: name.into(),
            path: vec![name.into()],
            attributes: vec![attribute.into()],
        };
        let folders = [folder("Sent", ""), folder("Odeslané", "\\sent"), folder("koš", ""), folder("x", "\\Spam")];
        let found = special_folders(&folders);
        assert!(found.contains(&(SpecialUse::Sent, vec!["Odeslané".into()], Found::Announced)));
        assert!(found.contains(&(SpecialUse::Trash, vec!["koš".into()], Found::ByName)));
        assert!(found.contains(&(SpecialUse::Junk, vec!["x".into()], Found::Announced)));
        assert!(found.contains(&(SpecialUse::Drafts, vec!["Drafts".into()], Found::English)));
    }
}
