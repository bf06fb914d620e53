//! Looking into messages without trusting them: guard, part slicing, header facts, the date ladder.

mod dates;
mod facts;

pub use dates::{internal_date, parse_date};
pub use facts::{HeaderFacts, header_facts};
