//! The words of floe as types: digest, item, placement, collection, ledger. No I/O, and nothing else of floe.

mod collection;
mod digest;
mod lanes;
mod ledger;
mod placement;
mod text;

pub use collection::{CollectionHead, CollectionKind, CollectionPath};
pub use digest::{Digest, Hasher};
pub use ledger::{Exception, Ledger, Outcome};
pub use placement::{DateRule, Flag, Form, InternalDate, Place, Placement};
pub use text::{line_of, printable, printable_json, printable_lines, safe_file_name, safe_file_name_of_bytes, spreadsheet_safe};
