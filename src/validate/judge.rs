//! Holds what was found against what was forecast: a loss that was foreseen is no surprise, and a forecast that does not come true is one.

use std::collections::BTreeMap;

use super::{Difference, Verdict};
use crate::replay::plan::Cause;
use crate::report::{Change, Finding, Forecast};

/// What was found of one item, for the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The finding.
    pub finding: Finding,
    /// What was forecast for it and did not come true, in words.
    pub untrue: Vec<String>,
}

/// Is it done by floe, so that the server can take the item?
fn is_by_floe(cause: Cause) -> bool {
    matches!(cause, Cause::Rewritten | Cause::NameChanged)
}

/// Judges items, and counts how often each cause was forecast and happened.
#[derive(Clone, Debug, Default)]
pub struct Judgement {
    lines: BTreeMap<Cause, (u64, u64)>,
    unforeseen: u64,
}

/// Does it keep the item off the target?
fn keeps_off(cause: Cause) -> bool {
    matches!(cause, Cause::TooLarge | Cause::ContentRefused | Cause::NoPlace)
}

impl Judgement {
    /// Judges one item.
    pub fn judge(&mut self, foreseen: &[(Cause, String)], verdict: Verdict) -> Judged {
        let mut happened: Vec<Cause> = Vec::new();
        let finding = match verdict {
            Verdict::Identical => Finding::Identical,
            Verdict::Equivalent(rule) => Finding::Equivalent(rule),
            Verdict::Duplicate => Finding::Duplicate,
            Verdict::Extra => Finding::Extra,
            Verdict::Missing => match foreseen.iter().find(|(cause, _)| keeps_off(*cause)) {
                Some((cause, detail)) => {
                    happened.push(*cause);
                    Finding::Refused(detail.clone())
                }
                None => Finding::Missing(None),
            },
            Verdict::Changed(differences) => {
                happened.extend(differences.iter().filter_map(|d| d.cause));
                let expected = |d: &Difference| d.cause.is_some_and(|cause| foreseen.iter().any(|(c, _)| *c == cause));
                let all_expected = differences.iter().all(expected);
                let changes = differences.into_iter().map(|d| Change { what: d.what, detail: d.detail }).collect();
                if all_expected { Finding::Altered(changes) } else { Finding::Changed(changes) }
            }
        };
        if !matches!(finding, Finding::Missing(_) | Finding::Refused(_)) {
            // What floe does itself has happened where the item arrived.
            happened.extend(foreseen.iter().map(|(cause, _)| *cause).filter(|cause| is_by_floe(*cause)));
        }
        happened.sort_unstable();
        happened.dedup();
        self.unforeseen += u64::from(matches!(finding, Finding::Missing(_)));
        happened.iter().for_each(|cause| self.lines.entry(*cause).or_default().1 += 1);
        foreseen.iter().for_each(|(cause, _)| self.lines.entry(*cause).or_default().0 += 1);
        let untrue = foreseen.iter().filter(|(cause, _)| !happened.contains(cause));
        Judged { finding, untrue: untrue.map(|(cause, detail)| format!("{}: {detail}", cause.words())).collect() }
    }

    /// Takes over what another one counted.
    pub fn add(&mut self, other: &Judgement) {
        for (cause, (expected, happened)) in &other.lines {
            let line = self.lines.entry(*cause).or_default();
            line.0 += expected;
            line.1 += happened;
        }
        self.unforeseen += other.unforeseen;
    }

    /// The forecast against the outcome, cause by cause.
    pub fn forecast(&self) -> Vec<Forecast> {
        let line = |what: &str, expected, happened| Forecast { what: what.to_owned(), expected, happened };
        let mut lines: Vec<Forecast> =
            self.lines.iter().map(|(cause, (expected, happened))| line(cause.words(), *expected, *happened)).collect();
        lines.push(line("items that are missing for no reason that was foreseen", 0, self.unforeseen));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(cause: Option<Cause>) -> Verdict {
        Verdict::Changed(vec![Difference { cause, what: "x".to_owned(), detail: String::new() }])
    }

    fn foreseen(cause: Cause) -> Vec<(Cause, String)> {
        vec![(cause, "why".to_owned())]
    }

    #[test]
    fn a_foreseen_loss_is_told_from_one_that_is_not() {
        let mut judgement = Judgement::default();
        let mut find = |foreseen: &[(Cause, String)], verdict| judgement.judge(foreseen, verdict).finding;
        assert_eq!(find(&foreseen(Cause::TooLarge), Verdict::Missing), Finding::Refused("why".to_owned()));
        assert_eq!(find(&foreseen(Cause::KeywordLost), Verdict::Missing), Finding::Missing(None));
        assert!(matches!(find(&foreseen(Cause::DateChanged), changed(Some(Cause::DateChanged))), Finding::Altered(_)));
        assert!(matches!(find(&foreseen(Cause::DateChanged), changed(Some(Cause::ContentChanged))), Finding::Changed(_)));
        assert!(matches!(find(&[], changed(None)), Finding::Changed(_)));
    }

    #[test]
    fn a_forecast_that_does_not_come_true_is_named_and_counted() {
        let mut judgement = Judgement::default();
        let judged = judgement.judge(&foreseen(Cause::TooLarge), Verdict::Identical);
        assert_eq!((judged.finding, judged.untrue.len()), (Finding::Identical, 1));
        judgement.judge(&[], changed(Some(Cause::DateChanged)));
        let lines: Vec<(u64, u64)> = judgement.forecast().iter().map(|f| (f.expected, f.happened)).collect();
        assert_eq!(lines, [(1, 0), (0, 1), (0, 0)]);
    }
}
