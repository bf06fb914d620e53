//! The doctor: finds out what a target takes, changes and refuses, in folders of its own in an account that nobody uses, and removes them.

mod admin;
mod dav;
mod invite;
mod mail;
mod size;

pub use admin::look_at_admin;
pub use dav::look_at_dav;
pub use invite::invitations_leave;
pub use mail::look_at_mail;
