//! The monitor for people: a bar with rate and time left on a terminal, plain lines for notes and exceptions elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Monitor;
use crate::model::{Exception, Outcome, printable};

/// Exceptions shown while running; all of them are in the archive and in the report.
const SHOWN_EXCEPTIONS: u64 = 20;

/// Shows progress on standard error when that is a terminal; notes and exceptions always.
pub struct Terminal {
    bar: Mutex<Option<ProgressBar>>,
    items: AtomicU64,
    shown: AtomicU64,
    quiet: bool,
    /// Where all exceptions are found.
    listed: &'static str,
}

impl Terminal {
    /// `quiet` leaves out everything but exceptions.
    pub fn new(quiet: bool) -> Self {
        Terminal {
            bar: Mutex::new(None),
            items: AtomicU64::new(0),
            shown: AtomicU64::new(0),
            quiet,
            listed: "they are counted at the end",
        }
    }

    /// Says where all exceptions are found, when there are too many to be shown.
    #[must_use]
    pub fn listing(self, listed: &'static str) -> Self {
        Terminal { listed, ..self }
    }

    fn bar(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Nobody listening (a closed or full standard error) is no reason to stop a run, so failures are passed over.
    fn say(&self, line: &str) {
        match &*self.bar() {
            Some(bar) if !bar.is_hidden() => bar.println(line),
            _ => drop(writeln!(std::io::stderr(), "{line}")),
        }
    }
}

impl Monitor for Terminal {
    fn phase(&self, name: &str, total_bytes: Option<u64>) {
        let target = if self.quiet || !std::io::stderr().is_terminal() {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let (bar, template) = match total_bytes {
            Some(total) => (
                ProgressBar::with_draw_target(Some(total), target),
                "{prefix:>10} [{bar:30}] {percent:>3} % of {total_bytes} {bytes_per_sec} {msg} {eta} left",
            ),
            None => {
                (ProgressBar::with_draw_target(None, target), "{prefix:>10} {spinner} {bytes} {bytes_per_sec} {msg} {elapsed}")
            }
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(name.to_owned());
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        self.items.store(0, Ordering::Relaxed);
        *self.bar() = Some(bar);
    }

    fn advance(&self, items: u64, bytes: u64) {
        let done = self.items.fetch_add(items, Ordering::Relaxed) + items;
        if let Some(bar) = &*self.bar() {
            bar.inc(bytes);
            if items > 0 && !bar.is_hidden() {
                bar.set_message(format!("{done} items"));
            }
        }
    }

    fn exception(&self, exception: &Exception) {
        let n = self.shown.fetch_add(1, Ordering::Relaxed);
        if n < SHOWN_EXCEPTIONS {
            let word = match exception.outcome {
                Outcome::Skipped => "skipped",
                Outcome::Failed => "FAILED",
            };
            let detail = if exception.detail.is_empty() { String::new() } else { format!(" ({})", printable(&exception.detail)) };
            let place = [printable(&exception.account), printable(&exception.collection), exception.source.to_string()];
            let place: Vec<String> = place.into_iter().filter(|part| !part.is_empty()).collect();
            self.say(&format!("{word}: {}: {}{detail}", place.join(" "), printable(&exception.reason)));
        } else if n == SHOWN_EXCEPTIONS {
            self.say(&format!("more exceptions follow; {}", self.listed));
        }
    }

    fn note(&self, text: &str) {
        if !self.quiet {
            self.say(&printable(text));
        }
    }

    fn done(&self) {
        if let Some(bar) = self.bar().take() {
            bar.finish_and_clear();
        }
    }
}
