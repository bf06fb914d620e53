//! The doctor: finds out what a target takes, changes and refuses, in folders of its own in an account that nobody uses, and removes them.

mod dav;
mod mail;

pub use dav::look_at_dav;
pub use mail::look_at_mail;
