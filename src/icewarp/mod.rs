//! What floe knows of IceWarp: the client of its admin API, and a stand-in for the server.

pub mod api;
pub mod standin;
