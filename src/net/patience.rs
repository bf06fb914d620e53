//! Trying again: what a network breaks is taken up where it stood, a few times, with growing pauses.

use std::thread::sleep;
use std::time::Duration;

use crate::error::Result;
use crate::monitor::Monitor;

/// How often without anything having been achieved in between: three minutes in all, in which a server can start anew.
const TRIES: u32 = 10;
const FIRST_WAIT: Duration = Duration::from_millis(500);
const MAX_WAIT: Duration = Duration::from_secs(60);

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
                if tries >= TRIES {
                    return Err(e.hint("run the same command again: what is done is not done twice"));
                }
                monitor.note(&format!("{e}; trying again"));
                sleep((FIRST_WAIT * (1 << (tries - 1))).min(MAX_WAIT));
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
