//! What lets somebody else check an archive: evidence of one item, time stamps, the sheet that goes with a disk.

pub mod evidence;
