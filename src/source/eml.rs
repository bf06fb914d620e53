//! Trees of files of one message each.
