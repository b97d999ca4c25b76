//! A lock that is taken also where somebody panicked with it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the mutex holds. What is behind one here is whole after each line that changes it, so that a panic elsewhere harms nothing.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
