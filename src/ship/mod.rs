//! An archive carried on disks: `ship` spreads its files over as many as are needed, `receive` puts them together again and
//! says what to send once more (docs/format.md, Disks; docs/shipping.md).
//!
//! Files are known by their digests only, whatever is in them. `sheet` is what a disk says of itself, `contents` what lies in an
//! archive, `copy` how one file gets to the other side whole, `receipt` what the receiver carries back.

mod contents;
mod copy;
mod medium;
mod receipt;
mod receive;
mod send;
mod session;
mod sheet;
mod state;

pub use receipt::{Missing, Receipt};
pub use receive::{Awaited, Received, Taken, receive};
pub use send::{Disk, Request, Shipped, ship};
pub use sheet::ListedFile;
