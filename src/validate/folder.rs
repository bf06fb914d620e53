//! Which items of the archive are compared with which folder of the target.

use super::sample::Sample;
use crate::archive::{Archive, CollectionEntry};
use crate::error::Result;
use crate::model::Placement;
use crate::replay::plan::{Part, part_of};

/// A part of a collection, and where it should be.
#[derive(Clone, Copy)]
pub struct Folder<'a> {
    /// The archive.
    pub archive: &'a Archive,
    /// Account in the archive.
    pub account: &'a str,
    /// Collection in the archive.
    pub collection: &'a CollectionEntry,
    /// Which part of it.
    pub part: Part,
    /// Where it should be, from the top of the account's folders.
    pub to: &'a [String],
    /// Only these items.
    pub sample: Option<&'a Sample>,
}

impl Folder<'_> {
    /// Hands out what is compared, each with its number among the placements of the same item in the collection.
    ///
    /// # Errors
    /// Those of reading the archive, and of `each`.
    pub fn placements(&self, each: &mut dyn FnMut(Placement, u32) -> Result<()>) -> Result<()> {
        let head = &self.collection.head;
        self.archive.numbered_placements(self.collection, &mut |item, n| {
            let of_part = part_of(head.kind, item.component.as_deref()) == self.part;
            let in_sample = || self.sample.is_none_or(|sample| sample.holds(self.account, &head.path, &item.sha256, n));
            if of_part && in_sample() { each(item, n) } else { Ok(()) }
        })
    }
}
