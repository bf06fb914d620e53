//! DAV: collections of calendars, contacts, notes and files, and the items in them.

mod store;

pub(super) use self::store::Home;
