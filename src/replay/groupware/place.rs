//! Where a folder of the plan is on the target: the collection of that name and kind, found or made.

use crate::dav::{Client, Collection, CollectionType, Homes, Made, NewCollection, join};
use crate::error::{Error, Kind, Result};
use crate::model::{CollectionHead, Digest};
use crate::replay::plan::{Part, legal_file_name};

/// A collection of the target.
pub(super) struct Place {
    /// Its path, in percent-encoding.
    pub path: String,
    /// It was not there.
    pub is_new: bool,
}

/// What a collection for that part is, and the component that it must take.
pub fn wanted(part: Part) -> (CollectionType, &'static str) {
    match part {
        Part::Events | Part::Mail => (CollectionType::Calendar, "VEVENT"),
        Part::Tasks => (CollectionType::Calendar, "VTODO"),
        Part::Journals => (CollectionType::Calendar, "VJOURNAL"),
        Part::Notes => (CollectionType::Calendar, "VNOTE"),
        Part::Contacts => (CollectionType::AddressBook, ""),
        Part::Files => (CollectionType::Folder, ""),
    }
}

fn takes(collection: &Collection, part: Part) -> bool {
    let (is, component) = wanted(part);
    collection.is == is
        && (component.is_empty()
            || collection.components.is_empty()
            || collection.components.iter().any(|c| c.eq_ignore_ascii_case(component)))
}

/// The collection in which collections for that part lie, where the server tells of one.
pub fn home_of(homes: &Homes, part: Part) -> Option<&str> {
    match part {
        Part::Contacts => homes.address_books.as_deref(),
        Part::Files => homes.files.as_deref(),
        _ => homes.calendars.as_deref(),
    }
}

fn home(homes: &Homes, part: Part) -> Result<&str> {
    home_of(homes, part).ok_or_else(|| {
        Error::new(Kind::Refused, format!("the server has no place for {part}")).hint("leave them out in the plan (skip = true)")
    })
}

/// The paths under which the collection may lie: its name as it is, and one that every server takes.
fn candidates(home: &str, to: &[String]) -> [String; 2] {
    let plain = to.iter().fold(home.to_owned(), |path, segment| join(&path, segment));
    let whole = to.join("/");
    let readable: String = whole.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(24).collect();
    let safe = join(home, &format!("{}-{}", readable.trim_matches('-'), &Digest::of(whole.as_bytes()).to_string()[..8]));
    [plain, safe]
}

/// Finds the collection that a folder of the plan is on the target; nothing when there is none.
///
/// # Errors
/// As [`Client::send`]; `Kind::Refused` when the target has no place for that part.
pub fn find(client: &mut Client, homes: &Homes, part: Part, to: &[String]) -> Result<Option<String>> {
    let home = home(homes, part)?;
    for path in candidates(home, to) {
        if is_place(client, &path, part)? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Is there a folder that takes that part?
fn is_place(client: &mut Client, path: &str, part: Part) -> Result<bool> {
    Ok(client.collection(path)?.is_some_and(|collection| takes(&collection, part)))
}

pub(super) fn find_or_make(
    client: &mut Client,
    homes: &Homes,
    part: Part,
    to: &[String],
    head: &CollectionHead,
    before: Option<&str>,
) -> Result<Place> {
    if let Some(path) = before
        && is_place(client, path, part)?
    {
        return Ok(Place { path: path.to_owned(), is_new: false });
    }
    if let Some(path) = find(client, homes, part, to)? {
        return Ok(Place { path, is_new: false });
    }
    let (is, component) = wanted(part);
    let own = head.display_name.as_deref().or(head.path.0.last().map(String::as_str)).unwrap_or_default();
    let shown = to.last().map_or(own, |last| if legal_file_name(own) == *last { own } else { last });
    let new = NewCollection {
        is,
        component,
        display_name: shown,
        color: head.color.as_deref(),
        description: head.description.as_deref(),
    };
    let home = home(homes, part)?;
    if part == Part::Files {
        let mut above = home.to_owned();
        for segment in &to[..to.len().saturating_sub(1)] {
            above = join(&above, segment);
            client.make(&above, &new)?;
        }
    }
    let [plain, safe] = candidates(home, to);
    let made = match client.make(&plain, &new) {
        // Many servers take fewer names than people give; the name to show can be any.
        Err(e) if e.kind() == Kind::Refused && part != Part::Files => client.make(&safe, &new).map(|_| safe),
        // A folder of another kind has the name, such as the user's own notes that of a calendar of journals; or it was made just now, and the
        // line broke before the server could say so.
        Ok(Made::Exists) if part != Part::Files && !is_place(client, &plain, part)? => client.make(&safe, &new).map(|_| safe),
        made => made.map(|_| plain),
    };
    let path = made.map_err(|e| e.hint("the folder may be there with other things in it: give another name in the plan"))?;
    if is_place(client, &path, part)? {
        return Ok(Place { path, is_new: true });
    }
    Err(Error::new(Kind::Refused, format!("the server made a folder that takes no {part}")).with("path", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_folders_never_share_a_path() {
        let to = |name: &str| vec![name.to_owned()];
        assert_eq!(candidates("/home/", &to("Überall"))[0], "/home/%C3%9Cberall");
        let [a, b] = [candidates("/h", &to("ä"))[1].clone(), candidates("/h", &to("ö"))[1].clone()];
        assert!(a != b && a.is_ascii(), "{a} {b}");
    }
}
