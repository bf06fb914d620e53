//! CalDAV (RFC 4791), CardDAV (RFC 6352) and WebDAV (RFC 4918), as a client that waits for each answer.
//!
//! One request at a time: every method takes the client by `&mut`, because servers keep a session for each user, and the requests
//! of one user run one after the other there anyway. Answers are hostile: bodies, depth and elements of XML are bounded, no
//! redirect and no address in an answer leads to another host.

mod auth;
mod client;
mod collection;
mod discover;
mod href;
mod object;
mod xml;

pub use auth::Login;
pub use client::{Answer, Body, Client};
pub use collection::{Collection, CollectionType, Made, NewCollection};
pub use discover::{Defaults, Homes};
pub use href::{join, last_name, resource_name, same_place, segment};
pub use object::{Entry, Object, Put, When};
