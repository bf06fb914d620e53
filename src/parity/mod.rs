//! Recovery data in the format of PAR 2.0 for what never changes (packs and roots), and the mending of an archive with it.
//!
//! docs/format.md section 10 says how it lies in the archive; the stock command `par2` reads it too.

mod check;
mod encode;
mod field;
mod find;
mod matrix;
mod mend;
mod name;
mod packet;
mod protect;
mod repair;
mod set;
mod sums;

pub use check::check;
pub use protect::{Done, protect};
pub use repair::{Lacking, Mended, Repaired, Shortage, repair};
