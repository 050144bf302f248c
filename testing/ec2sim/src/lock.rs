//! Mutexes whose data stays good when a holder panics.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locking without poisoning: a panic in one request must not take the others down.
pub(crate) trait Lock<T> {
    /// Locks.
    fn hold(&self) -> MutexGuard<'_, T>;
}

impl<T> Lock<T> for Mutex<T> {
    fn hold(&self) -> MutexGuard<'_, T> {
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
