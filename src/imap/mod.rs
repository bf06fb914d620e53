//! A thin, blocking, pipelined IMAP client (RFC 3501 and what servers announce beyond it): what replay writes with and
//! validation reads back with.
//!
//! A [`Connection`] belongs to one account. It sends commands ahead of their answers where that is safe, never guesses
//! a login twice, and takes a server's every byte for hostile: lines, literals and lists have limits, and bodies pass through in
//! pieces.

mod append;
mod connection;
mod date;
mod fetch;
mod login;
mod mailbox;
mod names;
mod response;
mod wire;

pub use append::{Append, Body, Sent, Way, WriteBody, Written};
pub use connection::{Connection, Settings};
pub use date::{read_date, write_date};
pub use fetch::{Fetched, Messages, Want};
pub use login::Login;
pub use mailbox::{Counts, Moved, Selected, is_keyword};
pub use names::{Folder, Found, Names, SpecialUse, special_folders};
pub use response::{Code, Condition, Status, Uids, expand};
