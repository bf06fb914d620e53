//! Where a user's collections are: well-known addresses (RFC 6764), principal, homes, and IceWarp's default folders.

use super::client::Client;
use super::xml::{CALDAV, CARDDAV, DAV, Element, ICEWARP};
use crate::error::{Kind, Result};

/// Folders that IceWarp names as a user's own, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    /// Events.
    pub calendar: Option<String>,
    /// Tasks.
    pub tasks: Option<String>,
    /// Journals.
    pub journal: Option<String>,
    /// Notes.
    pub notes: Option<String>,
    /// Contacts.
    pub contacts: Option<String>,
    /// Files.
    pub files: Option<String>,
}

/// Where a user's collections lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Homes {
    /// The user as a resource.
    pub principal: Option<String>,
    /// Calendars lie in it.
    pub calendars: Option<String>,
    /// Address books lie in it.
    pub address_books: Option<String>,
    /// Folders of files lie in it.
    pub files: Option<String>,
    /// IceWarp's folders.
    pub defaults: Defaults,
}

const HOMES: &str = "<c:calendar-home-set/><a:addressbook-home-set/><w:default-calendar-URL/><w:default-tasks-URL/>\
     <w:default-journal-URL/><w:default-notes-URL/><w:default-contacts-URL/><w:default-files-URL/>";

impl Client {
    fn href_in(&self, response: &Element, space: &str, name: &str) -> Option<String> {
        let property = response.properties().0.into_iter().find(|p| p.is(space, name))?;
        let href = property.href().unwrap_or(property.text.trim());
        if href.is_empty() { None } else { self.path_of(href).ok() }
    }

    /// Asks one address for the principal; a refusal is no error, another address may know.
    fn principal_at(&mut self, path: &str) -> Result<Option<String>> {
        match self.properties(path, "<d:current-user-principal/>") {
            Ok(response) => Ok(response.and_then(|r| self.href_in(&r, DAV, "current-user-principal"))),
            Err(e) if matches!(e.kind(), Kind::Refused | Kind::Protocol) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Finds the homes: by the principal that the client's own address names, then by those of the well-known addresses. Where
    /// the server tells of no home, the client's own address is the home of all.
    ///
    /// # Errors
    /// `Kind::Login`, `Kind::Unreachable`, `Kind::Busy`; `Kind::Refused` when nothing was found at all.
    pub fn discover(&mut self) -> Result<Homes> {
        let mut homes = Homes::default();
        let direct = self.base().path.clone();
        let mut let_in = false;
        for path in [direct.as_str(), "/.well-known/caldav", "/.well-known/carddav"] {
            let principal = match self.principal_at(path) {
                // The password was right where it matters: other corners of the server may be others' business.
                Err(e) if e.kind() == Kind::Login && let_in => continue,
                found => found?,
            };
            let_in = true;
            let Some(principal) = principal else { continue };
            if let Some(response) = self.properties(&principal, HOMES).ok().flatten() {
                self.fill_homes(&mut homes, &response);
            }
            homes.principal.get_or_insert(principal);
        }
        if direct != "/" && homes.calendars.as_ref().is_none_or(|home| !direct.starts_with(home.as_str()))
            || homes.principal.is_none()
        {
            let there = self.collection(&direct)?.is_some();
            homes.files = homes.files.or(there.then(|| direct.clone()));
        }
        if homes.files.is_none() && homes.calendars == homes.address_books {
            homes.files.clone_from(&homes.calendars);
        }
        if homes == Homes::default() {
            return Err(crate::Error::new(Kind::Refused, "no DAV home was found at this address").with("server", self.base()));
        }
        Ok(homes)
    }

    fn fill_homes(&self, homes: &mut Homes, response: &Element) {
        let get = |old: &Option<String>, space, name| old.clone().or_else(|| self.href_in(response, space, name));
        homes.calendars = get(&homes.calendars, CALDAV, "calendar-home-set");
        homes.address_books = get(&homes.address_books, CARDDAV, "addressbook-home-set");
        let d = &mut homes.defaults;
        d.calendar = get(&d.calendar, ICEWARP, "default-calendar-URL");
        d.tasks = get(&d.tasks, ICEWARP, "default-tasks-URL");
        d.journal = get(&d.journal, ICEWARP, "default-journal-URL");
        d.notes = get(&d.notes, ICEWARP, "default-notes-URL");
        d.contacts = get(&d.contacts, ICEWARP, "default-contacts-URL");
        d.files = get(&d.files, ICEWARP, "default-files-URL");
    }
}
