//! floe carries a company's mail, calendars, contacts and files to an IceWarp server with no network between.
//!
//! The modules stand in the order of the data's way:
//!
//! ```text
//! source --> archive --> store
//! (read)     (pack)      (keep)
//! ```
//!
//! [`model`] holds the words that all of them share and [`error`] the one error type. [`source`] knows formats and nothing
//! of archives, [`archive`] knows objects and packs and nothing of formats; they meet in [`snapshot`] only.

pub mod archive;
pub mod cli;
pub mod dav;
pub mod diff;
pub mod directory;
pub mod error;
pub mod export;
pub mod icewarp;
pub mod imap;
pub mod mime;
pub mod model;
pub mod monitor;
pub mod net;
pub mod objects;
pub mod parity;
pub mod proof;
pub mod replay;
pub mod report;
pub mod salvage;
pub mod ship;
pub mod snapshot;
pub mod source;
pub mod store;
pub mod validate;

pub use error::{Error, Kind, Result};
