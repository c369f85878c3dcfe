//! What the tests of this crate share.

use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Seeds libtorch's generator, which all threads share, and keeps other tests from it until the guard is dropped.
pub fn seeded(seed: i64) -> MutexGuard<'static, ()> {
    static GENERATOR: Mutex<()> = Mutex::new(());
    let guard = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
    tch::manual_seed(seed);
    guard
}

/// Says that a test was skipped. `eprintln` would not do: the test harness keeps that to itself where tests succeed.
pub fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}
