//! A pace: so many items a minute and no more, whoever sends them.

use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How fast items may be sent; shared by all connections.
#[derive(Debug, Default)]
pub struct Pace {
    /// Time that each item takes; none for as fast as it goes.
    each: Option<Duration>,
    /// When the next one may go.
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// At most so many a minute; 0 for as fast as it goes.
    pub fn per_minute(items: u64) -> Self {
        let each = (items > 0).then(|| Duration::from_secs(60) / u32::try_from(items).unwrap_or(u32::MAX));
        Pace { each, next: Mutex::new(None) }
    }

    /// Waits until so many more may be sent.
    pub fn wait(&self, items: usize) {
        let Some(each) = self.each else { return };
        let now = Instant::now();
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = next.unwrap_or(now).max(now);
            *next = Some(turn + each * u32::try_from(items).unwrap_or(u32::MAX));
            turn
        };
        sleep(turn.saturating_duration_since(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_of_two_waits_for_the_first_ones_time() {
        let pace = Pace::per_minute(1200);
        let begun = Instant::now();
        pace.wait(2);
        assert!(begun.elapsed() < Duration::from_millis(90));
        pace.wait(1);
        assert!(begun.elapsed() >= Duration::from_millis(100));
    }
}
