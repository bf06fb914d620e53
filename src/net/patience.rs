//! Trying again: what a network breaks is taken up where it stood, a few times, with growing pauses.

use std::thread::sleep;
use std::time::Duration;

use crate::error::Result;
use crate::monitor::Monitor;

/// How often something is tried without anything having been achieved in between: three minutes in all, in which a server can start anew.
pub const PATIENT_TRIES: u32 = 10;
/// Longest pause between two tries.
pub const MAX_PAUSE: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The pause after so many failures in a row: it doubles with each.
pub fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(MAX_PAUSE)
}

/// Makes `attempt` until it succeeds or fails for good; `progress` of the state that it works on grows with what is achieved.
///
/// # Errors
/// The attempt's: one that is not transient at once, another when it has come again and again.
pub fn patiently<S, T>(
    monitor: &dyn Monitor,
    state: &mut S,
    progress: impl Fn(&S) -> u64,
    mut attempt: impl FnMut(&mut S) -> Result<T>,
) -> Result<T> {
    let mut tries = 0;
    loop {
        let before = progress(state);
        match attempt(state) {
            Err(e) if e.kind().is_transient() => {
                tries = if progress(state) > before { 1 } else { tries + 1 };
                if tries >= PATIENT_TRIES {
                    return Err(e.hint("run the same command again: what is done is not done twice"));
                }
                monitor.note(&format!("{e}; trying again"));
                sleep(pause(tries));
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Kind};
    use crate::monitor::Silent;

    #[test]
    fn what_is_refused_for_good_is_not_tried_again() {
        let mut tries = 0;
        let failed: Result<()> = patiently(
            &Silent,
            &mut tries,
            |_| 0,
            |tries| {
                *tries += 1;
                Err(Error::new(Kind::Login, "no"))
            },
        );
        assert!(failed.is_err());
        assert_eq!(tries, 1);
    }

    #[test]
    fn pauses_grow_until_a_minute() {
        assert_eq!([1, 2, 7, 8, 99].map(|failures| pause(failures).as_millis()), [500, 1000, 32_000, 60_000, 60_000]);
        assert!((1..PATIENT_TRIES).map(pause).sum::<Duration>() > Duration::from_secs(180));
    }

    #[test]
    fn what_breaks_once_goes_on() {
        let mut tries = 0;
        let done = patiently(
            &Silent,
            &mut tries,
            |tries| *tries,
            |tries| {
                *tries += 1;
                if *tries < 2 { Err(Error::new(Kind::Unreachable, "gone")) } else { Ok(*tries) }
            },
        );
        assert_eq!(done.unwrap(), 2);
    }
}
