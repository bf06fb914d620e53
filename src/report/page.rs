//! The page.
use super::model::Report;

pub(super) fn html(report: &Report) -> String {
    format!("<!doctype html><title>floe report {}</title>", report.header.id)
}
