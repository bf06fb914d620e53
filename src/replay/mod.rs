//! Stage two: what will be done to the target, what has been done, and the doing of it. Knows archives and servers, never sources.

pub mod accounts;
pub mod doctor;
mod filled;
pub mod groupware;
pub mod journal;
pub mod mail;
pub mod plan;
pub mod provision;
mod refused;
pub mod rules;
pub mod sheet;

pub use filled::Filled;
