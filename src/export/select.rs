//! What is wanted of a snapshot: accounts, collections, dates, single items.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::model::{CollectionPath, Digest, Placement};

/// What is wanted; whatever is left empty wants everything.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Accounts by name.
    pub accounts: Vec<String>,
    /// Collections, each with those below it.
    pub collections: Vec<CollectionPath>,
    /// Items of this moment or later.
    pub since: Option<Timestamp>,
    /// Items before this moment.
    pub before: Option<Timestamp>,
    /// Items by digest.
    pub objects: Vec<Digest>,
    /// Mail by Message-ID, with or without its angle brackets.
    pub message_ids: Vec<String>,
}

/// Does an item belong to what is wanted?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// Nobody can say: it has no date to compare.
    Undated,
}

impl Selection {
    /// Is the account wanted?
    pub fn wants_account(&self, name: &str) -> bool {
        self.accounts.is_empty() || self.accounts.iter().any(|a| a == name)
    }

    /// Is the collection wanted?
    pub fn wants_collection(&self, path: &CollectionPath) -> bool {
        self.collections.is_empty() || self.collections.iter().any(|wanted| path.0.starts_with(&wanted.0))
    }

    /// Does it depend on the item whether it is wanted?
    pub fn is_by_item(&self) -> bool {
        self.since.is_some() || self.before.is_some() || !self.objects.is_empty() || !self.message_ids.is_empty()
    }

    /// Is the item wanted?
    pub fn wants(&self, item: &Placement) -> Wanted {
        let bare = |id: &str| id.trim_start_matches('<').trim_end_matches('>').to_owned();
        let named = self.objects.is_empty() && self.message_ids.is_empty()
            || self.objects.contains(&item.sha256)
            || item.message_id.as_ref().is_some_and(|id| self.message_ids.iter().any(|wanted| bare(wanted) == bare(id)));
        if !named {
            return Wanted::No;
        }
        if self.since.is_none() && self.before.is_none() {
            return Wanted::Yes;
        }
        match item.date {
            None => Wanted::Undated,
            Some(date) if self.since.is_none_or(|t| date.at >= t) && self.before.is_none_or(|t| date.at < t) => Wanted::Yes,
            Some(_) => Wanted::No,
        }
    }
}

/// The moment that a text means: a date (its first moment in UTC) or a time as in RFC 3339.
///
/// # Errors
/// In words, when it is neither.
pub fn moment(text: &str) -> Result<Timestamp, String> {
    day(text).or_else(|| text.parse().ok()).ok_or_else(|| "write it as 2024-01-31 or 2024-01-31T12:00:00Z".to_owned())
}

/// The moment after the one that a text means: the next day for a date.
///
/// # Errors
/// As [`moment`].
pub fn moment_after(text: &str) -> Result<Timestamp, String> {
    let next = match text.parse::<Date>() {
        Ok(date) if !text.contains('T') => date.tomorrow().ok().and_then(first_moment),
        _ => moment(text)?.checked_add(jiff::SignedDuration::from_secs(1)).ok(),
    };
    next.ok_or_else(|| "this is beyond the last day there is".to_owned())
}

fn first_moment(date: Date) -> Option<Timestamp> {
    date.to_zoned(TimeZone::UTC).ok().map(|z| z.timestamp())
}

fn day(text: &str) -> Option<Timestamp> {
    if text.contains('T') { None } else { text.parse().ok().and_then(first_moment) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DateRule, InternalDate};

    fn item(at: Option<&str>) -> Placement {
        let mut item = crate::export::tests::item(b"x");
        item.date = at.map(|at| InternalDate { at: at.parse().unwrap(), rule: DateRule::Stored });
        item.message_id = Some("<1@x>".into());
        item
    }

    #[test]
    fn a_last_day_is_wanted_to_its_end() {
        let wanted = Selection {
            since: Some(moment("2024-01-31").unwrap()),
            before: Some(moment_after("2024-01-31").unwrap()),
            ..Selection::default()
        };
        for (at, want) in [
            (Some("2024-01-30T23:59:59Z"), Wanted::No),
            (Some("2024-01-31T00:00:00Z"), Wanted::Yes),
            (Some("2024-01-31T23:59:59Z"), Wanted::Yes),
            (Some("2024-02-01T00:00:00Z"), Wanted::No),
            (None, Wanted::Undated),
        ] {
            assert_eq!(wanted.wants(&item(at)), want, "{at:?}");
        }
        assert_eq!(moment("2024-01-31T12:00:00+01:00").unwrap().to_string(), "2024-01-31T11:00:00Z");
        assert!(moment("soon").is_err() && moment_after("9999-12-31").is_err());
    }

    #[test]
    fn items_are_wanted_by_digest_or_by_message_id() {
        let other = Selection { objects: vec![Digest::of(b"y")], ..Selection::default() };
        assert_eq!(other.wants(&item(None)), Wanted::No);
        let by_id = Selection { message_ids: vec!["1@x".into()], ..other };
        assert_eq!(by_id.wants(&item(None)), Wanted::Yes);
    }

    #[test]
    fn a_collection_brings_those_below_it() {
        let wanted = Selection { collections: vec![CollectionPath::new(["a"])], ..Selection::default() };
        let wants = |path: &[&str]| wanted.wants_collection(&CollectionPath::new(path.iter().copied()));
        assert_eq!((wants(&["a"]), wants(&["a", "b"]), wants(&["ab"])), (true, true, false));
    }
}
