//! Several accounts at a time: one that fails does not stop the others, except that a refused login does where all share it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::plan::AccountPlan;
use crate::error::{Error, Kind, Result};

/// What an account came to, and how it ended.
pub type Ended<T> = (T, Result<()>);

/// Does `work` for each account, so many at a time; what each came to and how it ended, in the order of the accounts. Where `one_login`
/// serves them all, a login that was refused is not tried again: the same password would be refused for everybody, and servers punish
/// guessing.
pub fn each_account<T: Default + Send>(
    accounts: &[&AccountPlan],
    at_a_time: usize,
    one_login: bool,
    work: impl Fn(&AccountPlan, &mut T) -> Result<()> + Sync,
) -> Vec<Ended<T>> {
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Ended<T>>>> = accounts.iter().map(|_| Mutex::new(None)).collect();
    let worker = || {
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let (Some(account), Some(result)) = (accounts.get(place), results.get(place)) else { break };
            let mut came_to = T::default();
            let ended = work(account, &mut came_to);
            if one_login && matches!(&ended, Err(e) if e.kind() == Kind::Login) {
                next.store(accounts.len(), Ordering::Relaxed);
            }
            *result.lock().unwrap_or_else(PoisonError::into_inner) = Some((came_to, ended));
        }
    };
    thread::scope(|scope| (0..at_a_time.min(accounts.len())).for_each(|_| drop(scope.spawn(worker))));
    let not_begun = || (T::default(), Err(Error::new(Kind::Login, "not begun, since the login was refused")));
    results.into_iter().map(|r| r.into_inner().unwrap_or_else(PoisonError::into_inner).unwrap_or_else(not_begun)).collect()
}
