//! What lets somebody else check an archive: evidence of one item, time stamps, the sheet that goes with a disk.

mod der;
pub mod evidence;
pub mod root_file;
pub mod timestamp;
