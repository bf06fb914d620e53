//! Recovery data in the format of PAR 2.0 for what never changes (packs and roots), and the mending of an archive with it.
//!
//! docs/format.md section 10 says how it lies in the archive; the stock command `par2` reads it too.

mod encode;
mod field;
mod name;
mod packet;
mod protect;
mod set;
mod sums;

pub use protect::{Done, protect};
