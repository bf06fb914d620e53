//! The directory: domains, accounts, aliases, groups, lists, resources, rights, forwards, responders and rules.
//!
//! One file per format reads a file into [`Found`] statements; [`read`] brings the statements of several files together in one
//! [`Directory`] and lists what they say against one another. Nothing is guessed: what is not clear becomes a line of
//! [`Directory::unmapped`] or [`Directory::contradictions`]. Passwords and their hashes are never kept, only whether there was one.

mod acl;
mod beside;
mod csv;
mod file;
mod ldif;
mod lines;
mod merge;
mod model;
mod names;
mod passwd;
mod quota;
mod sieve;
mod text;

pub use beside::{Beside, beside};
pub use file::{Format, Input, identify, read};
pub use lines::{each_line, load, store};
pub use model::{
    Account, Action, Claim, Condition, Contradiction, Directory, Domain, Field, FileNote, FlagName, FolderRights, Forward, Found,
    Kind, Match, Member, MemberRole, Quota, Responder, Rule, Unmapped, Who,
};
pub use names::{Address, domain_of, local_part};
