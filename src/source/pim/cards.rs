//! What lies in a file of vCards (2.1, 3.0 and 4.0), as stretches of it: a card from each BEGIN to its END.
//!
//! A card in an AGENT property (2.1) is part of the card around it. A card that is not closed ends where the next one begins.

use std::io::{self, Read};
use std::ops::Range;

use super::lines::{Line, Lines, Property, text_of};

/// Cards of a file; one that holds more is kept whole only, or their places would fill the memory.
pub(super) const MAX_CARDS: usize = 1_000_000;

/// All that lies in a file.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// The cards in the file's order.
    pub cards: Vec<Card>,
    /// There is text outside of the cards.
    pub stray: bool,
    /// There are more than [`MAX_CARDS`], and not all of them are here.
    pub too_many: bool,
}

/// A card.
#[derive(Debug, Default)]
pub(super) struct Card {
    /// Where it lies.
    pub range: Range<u64>,
    /// Its UID as text.
    pub uid: Option<String>,
    /// What is odd about it.
    pub notes: Vec<&'static str>,
}

impl Index {
    /// Reads a file.
    pub fn of(file: impl Read) -> io::Result<Self> {
        let mut scan = Scan::default();
        let (mut lines, mut at) = (Lines::new(file)?, 0);
        while scan.index.cards.len() <= MAX_CARDS
            && let Some(line) = lines.next()?
        {
            at = line.range.end;
            scan.line(&line);
        }
        scan.end_card(at, false);
        scan.index.too_many = scan.index.cards.len() > MAX_CARDS;
        let Scan { mut index, stray, .. } = scan;
        if stray && let Some(last) = index.cards.last_mut() {
            last.notes.push("text after it belongs to no card");
        }
        Ok(index)
    }

    /// The file's only card, when there is nothing else in it.
    pub fn only(&self) -> Option<&Card> {
        match self.cards.as_slice() {
            [card] if !self.stray => Some(card),
            _ => None,
        }
    }
}

#[derive(Default)]
struct Scan {
    index: Index,
    card: Option<Card>,
    /// Cards that are open within the card.
    depth: u32,
    /// The line before is an AGENT property without a value.
    agent: bool,
    /// There is text since the last card.
    stray: bool,
}

impl Scan {
    fn line(&mut self, line: &Line<'_>) {
        let property = Property::of(line.text);
        let is_card = property.value.eq_ignore_ascii_case(b"VCARD");
        let agent = std::mem::take(&mut self.agent);
        if is_card && property.is("BEGIN") {
            self.begin(line, agent);
        } else if is_card && property.is("END") && self.card.is_some() {
            match self.depth.checked_sub(1) {
                Some(depth) => self.depth = depth,
                None => self.end_card(line.range.end, true),
            }
        } else if self.card.is_some() {
            self.property(&property);
        } else if !line.is_blank() {
            self.stray = true;
            self.index.stray = true;
        }
    }

    fn begin(&mut self, line: &Line<'_>, agent: bool) {
        if agent && self.card.is_some() {
            self.depth = self.depth.saturating_add(1);
            return;
        }
        self.end_card(line.range.start, false);
        let mut card = Card { range: line.range.clone(), ..Card::default() };
        if std::mem::take(&mut self.stray) {
            card.notes.push("text before it belongs to no card");
        }
        self.card = Some(card);
    }

    fn property(&mut self, property: &Property<'_>) {
        let Some(card) = &mut self.card else { return };
        let name = property.name.rsplit(|&b| b == b'.').next().unwrap_or_default();
        let property = Property { name, ..*property };
        if property.is("AGENT") {
            // Both are in use: the card on the lines after the name, and its first line right behind it.
            self.agent = property.value.is_empty();
            if Property::of(property.value).is("BEGIN") && property.value.to_ascii_uppercase().ends_with(b":VCARD") {
                self.depth = self.depth.saturating_add(1);
            }
        }
        if self.depth > 0 {
            return;
        }
        if property.is("UID") && card.uid.is_none() && !property.value.is_empty() {
            card.uid = Some(text_of(property.value));
        } else if (property.is("KIND") || property.is("X-ADDRESSBOOKSERVER-KIND"))
            && property.value.eq_ignore_ascii_case(b"group")
        {
            card.notes.push("a list of contacts (KIND:group)");
        }
    }

    fn end_card(&mut self, at: u64, closed: bool) {
        let Some(mut card) = self.card.take() else { return };
        card.range.end = at;
        if !closed {
            card.notes.push("the card is not closed");
        }
        self.depth = 0;
        self.index.cards.push(card);
    }
}
