//! What floe knows of IceWarp.

pub mod standin;
