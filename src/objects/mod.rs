//! Objects of calendars (iCalendar, RFC 5545), address books (vCard 2.1, RFC 2426, RFC 6350) and notes (vNote) as properties: taken apart,
//! compared, and made fit to be stored over DAV.
//!
//! Structure and values are read as far as two writings of one thing have to be seen as one. What cannot be read is compared as bytes.

mod compare;
mod content;
mod fit;
mod marks;
mod note;
mod value;

pub use compare::{Likeness, PropertyChange, Rule, compare};
pub use content::{has_endless_event, has_event_of_no_length, uid_of};
pub use fit::{Fitted, fit};
pub use marks::{Mark, properties_with};
