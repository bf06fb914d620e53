//! A sample that anyone can draw again: the items whose SHA-256 with the seed are the smallest.

use std::collections::BinaryHeap;

use crate::model::{CollectionPath, Digest, Hasher};

/// Which items are in the sample.
#[derive(Clone, Debug)]
pub struct Sample {
    seed: u64,
    most: usize,
    /// The smallest marks so far, the largest of them on top.
    marks: BinaryHeap<[u8; 32]>,
}

impl Sample {
    /// Begins to draw at most so many items.
    pub fn new(items: usize, seed: u64) -> Self {
        Sample { seed, most: items, marks: BinaryHeap::new() }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Items in the sample.
    pub fn items(&self) -> u64 {
        self.marks.len() as u64
    }

    /// Puts the n-th placement (from 0) of an item of a collection into the drum.
    pub fn put(&mut self, account: &str, folder: &CollectionPath, item: &Digest, n: u32) {
        let mark = self.mark(account, folder, item, n);
        if self.marks.len() < self.most {
            self.marks.push(mark);
        } else if let Some(mut largest) = self.marks.peek_mut()
            && mark < *largest
        {
            *largest = mark;
        }
    }

    /// Is that placement in the sample, once all are in the drum?
    pub fn holds(&self, account: &str, folder: &CollectionPath, item: &Digest, n: u32) -> bool {
        self.marks.peek().is_some_and(|largest| self.mark(account, folder, item, n) <= *largest)
    }

    /// SHA-256 of `SEED LF ACCOUNT LF FOLDER LF ITEM LF N`: seed and n in decimal digits, the item's digest in hex.
    fn mark(&self, account: &str, folder: &CollectionPath, item: &Digest, n: u32) -> [u8; 32] {
        let mut hasher = Hasher::new();
        hasher.update(format!("{}\n{account}\n{folder}\n{item}\n{n}", self.seed).as_bytes());
        *hasher.finish().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_the_asked_size_and_depends_on_the_seed_alone() {
        let folder = CollectionPath::new(["INBOX"]);
        let items: Vec<Digest> = (0_u32..500).map(|n| Digest::of(&n.to_le_bytes())).collect();
        let draw = |seed, order: &mut dyn Iterator<Item = &Digest>| {
            let mut sample = Sample::new(40, seed);
            order.for_each(|item| sample.put("anna", &folder, item, 0));
            items.iter().map(|item| sample.holds("anna", &folder, item, 0)).collect::<Vec<bool>>()
        };
        let drawn = draw(7, &mut items.iter());
        assert_eq!(drawn.iter().filter(|held| **held).count(), 40);
        assert_eq!(drawn, draw(7, &mut items.iter().rev()));
        assert_ne!(drawn, draw(8, &mut items.iter()));
    }
}
