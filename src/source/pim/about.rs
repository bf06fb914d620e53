//! What a collection says of itself: the properties at the top of a calendar file, or the files that lie beside its objects.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use serde_json::Value;

use super::lines::{Lines, Property, text_of};
use crate::model::{CollectionHead, CollectionKind};
use crate::source::disk;

/// Files that vdir and Radicale keep beside the objects of a collection. They make the folder a collection.
pub(super) const SIDE_FILES: [&str; 4] = ["displayname", "color", "description", ".Radicale.props"];
/// Bytes of such a file, and of the start of a calendar file, that are looked at.
const LOOK_BYTES: u64 = 64 << 10;

/// Name, colour and description.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    pub name: Option<String>,
    color: Option<String>,
    description: Option<String>,
}

impl About {
    /// Of a calendar file: of its first VCALENDAR, before the first component.
    pub fn of_file(path: &Path) -> Self {
        let mut about = About::default();
        if let Ok((file, _)) = disk::open_regular(path) {
            // A file that cannot be read says so when its objects are read.
            let _ = about.read_head(file);
        }
        about
    }

    fn read_head(&mut self, file: File) -> std::io::Result<()> {
        let mut lines = Lines::new(file.take(LOOK_BYTES))?;
        while let Some(line) = lines.next()? {
            let property = Property::of(line.text);
            if property.is("BEGIN") && !property.value.eq_ignore_ascii_case(b"VCALENDAR") {
                break;
            }
            let text = || Some(text_of(property.value)).filter(|t| !t.is_empty());
            // The older properties are the ones that programs show.
            match property.name.to_ascii_uppercase().as_slice() {
                b"X-WR-CALNAME" => self.name = text().or(self.name.take()),
                b"NAME" if self.name.is_none() => self.name = text(),
                b"X-APPLE-CALENDAR-COLOR" => self.color = text().or(self.color.take()),
                b"COLOR" if self.color.is_none() => self.color = text(),
                b"X-WR-CALDESC" => self.description = text().or(self.description.take()),
                b"DESCRIPTION" if self.description.is_none() => self.description = text(),
                _ => {}
            }
        }
        Ok(())
    }

    /// Of a folder, by the files beside its objects.
    pub fn of_folder(dir: &Path) -> Self {
        let text = |name: &str| read_small(&dir.join(name)).map(|t| t.trim().to_owned()).filter(|t| !t.is_empty());
        let mut about = About { name: text("displayname"), color: text("color"), description: text("description") };
        let radicale = radicale_props(dir);
        let mut take = |field: fn(&mut About) -> &mut Option<String>, keys: [&str; 2]| {
            let value = keys.iter().find_map(|key| radicale.get(key)?.as_str()).filter(|text| !text.is_empty());
            if let Some(value) = value {
                *field(&mut about) = Some(value.to_owned());
            }
        };
        take(|a| &mut a.name, ["D:displayname", "displayname"]);
        take(|a| &mut a.color, ["ICAL:calendar-color", "INF:addressbook-color"]);
        take(|a| &mut a.description, ["C:calendar-description", "CR:addressbook-description"]);
        about
    }

    /// Puts it into the collection's description.
    pub fn tell(self, head: &mut CollectionHead) {
        head.display_name = self.name.filter(|name| head.path.0.last() != Some(name));
        head.color = self.color;
        head.description = self.description;
    }
}

/// What Radicale says that the folder holds.
pub(super) fn radicale_kind(dir: &Path) -> Option<CollectionKind> {
    match radicale_props(dir).get("tag")?.as_str()? {
        "VCALENDAR" => Some(CollectionKind::Calendar),
        "VADDRESSBOOK" => Some(CollectionKind::AddressBook),
        _ => None,
    }
}

fn radicale_props(dir: &Path) -> Value {
    read_small(&dir.join(".Radicale.props")).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}

fn read_small(path: &Path) -> Option<String> {
    let (file, _) = disk::open_regular(path).ok()?;
    let mut bytes = Vec::new();
    file.take(LOOK_BYTES).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
