//! What the tests of this crate share.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Seeds libtorch's generator, which all threads share, and keeps other tests from it until the guard is dropped.
pub fn seeded(seed: i64) -> MutexGuard<'static, ()> {
    static GENERATOR: Mutex<()> = Mutex::new(());
    let guard = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed);
    guard
}
