//! `floe index`.

use std::path::PathBuf;

use super::output::{Output, Verdict};
use super::unlock::KeyArgs;
use crate::archive::rebuild_index;
use crate::error::{Error, Result};
use crate::model::printable;

/// Make the index of an archive anew
///
/// The index files say where in the packs an object lies. They are a cache: without them the packs are read each time the archive is
/// opened. Nothing else in the archive is changed.
///
/// Example: floe index acme.floe --rebuild
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The archive
    #[arg(value_name = "DIR")]
    archive: PathBuf,
    /// Read all packs and write the index files again
    #[arg(long)]
    rebuild: bool,
    #[command(flatten)]
    key: KeyArgs,
}

pub(super) fn run(args: &Args, out: &mut Output<'_>) -> Result<u8> {
    if !args.rebuild {
        return Err(Error::usage("say what to do with the index").hint("'floe index DIR --rebuild' makes it anew"));
    }
    let (packs, objects, damage) = rebuild_index(&args.archive, &args.key.keys(&args.archive)?)?;
    for line in &damage {
        out.line(format_args!("damaged: {}", printable(line)))?;
    }
    let done = format!("{packs} packs, {objects} objects");
    out.verdict(&match damage.len() {
        0 => Verdict::Pass(done),
        n => Verdict::WithExceptions(format!("{done}; {n} places could not be read, see 'floe verify --full'")),
    })
}
