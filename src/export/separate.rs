//! Collections whose items are files of their own: messages as `.eml`, events as `.ics`, contacts as `.vcf`, plain files.

use std::sync::Arc;

use super::deliver::{Delivery, Outcome, deliver_all};
use super::dir::{Dir, Settled};
use super::plan::{AccountPlan, Destination};
use super::run::{Finished, Item, Writer};
use crate::archive::Archive;
use crate::error::Result;

/// Writes one file an item.
pub(super) struct Separate<'a> {
    home: &'a Dir,
    to: Destination,
    /// The folder of the item before: most items lie beside each other.
    last: Option<(Vec<String>, Arc<Dir>)>,
}

impl<'a> Separate<'a> {
    /// Makes the collection's folder, so that an empty collection is there too.
    pub(super) fn new(home: &'a Dir, to: Destination) -> std::io::Result<Self> {
        if let Destination::Messages(folder) | Destination::Objects(folder, _) = &to {
            home.below(folder)?;
        }
        Ok(Separate { home, to, last: None })
    }

    fn folder(&mut self, names: Vec<String>) -> std::io::Result<Arc<Dir>> {
        if let Some((last, dir)) = &self.last
            && *last == names
        {
            return Ok(Arc::clone(dir));
        }
        let dir = Arc::new(self.home.below(&names)?);
        self.last = Some((names, Arc::clone(&dir)));
        Ok(dir)
    }

    fn delivery(&mut self, plan: &mut AccountPlan, item: &Item) -> Option<Result<Delivery, Outcome>> {
        let (names, name) = plan.item(&self.to, item.number, &item.placement);
        if !item.wanted {
            return None;
        }
        let file = format!("{}/{name}", names.join("/"));
        Some(match self.folder(names) {
            Ok(folder) => {
                let mut delivery = Delivery::new(&item.placement, folder, name, file);
                delivery.mode = item.placement.mode;
                Ok(delivery)
            }
            Err(e) => Err(Outcome::failed(file, "its folder could not be made", e.to_string())),
        })
    }
}

impl Writer for Separate<'_> {
    fn write(&mut self, archive: &Archive, plan: &mut AccountPlan, items: &[Item]) -> Result<Vec<Option<Outcome>>> {
        let files = items.iter().map(|item| self.delivery(plan, item)).collect();
        deliver_all(archive, files)
    }

    fn finish(&mut self) -> std::io::Result<Finished> {
        Ok(Finished { settled: Settled::Placed, losses: Vec::new() })
    }
}
