//! Bands of work on a few threads.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Calls `work` once for each of `bands`, on up to `threads` threads: the calling one and those of the current rayon pool, or,
/// outside of one, of the [process's](crate::threads).
///
/// A band carries what only it may write, such as a slice of the output. With `threads` of 0 or 1 all run on the calling
/// thread, in order.
pub fn for_bands<T: Send>(threads: usize, bands: impl IntoIterator<Item = T, IntoIter: Send>, work: impl Fn(T) + Sync) {
    let bands = bands.into_iter();
    if threads <= 1 {
        return bands.for_each(work);
    }
    let queue = Mutex::new(bands);
    let drain = || {
        loop {
            // A poisoned queue means that a band panicked, which the scope reports anyway.
            let band = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            match band {
                Some(band) => work(band),
                None => break,
            }
        }
    };
    let others = threads - 1;
    let drain = &drain;
    in_scope(|scope| {
        if let Some(scope) = scope {
            (0..others).for_each(|_| scope.spawn(move |_| drain()));
        }
        drain();
    });
}

/// Does `other` on another thread, of the pool that [`for_bands`] takes, while the calling thread does `own`; one after the other if
/// there is no other thread.
pub fn beside<A: Send, B>(other: impl FnOnce() -> A + Send, own: impl FnOnce() -> B) -> (A, B) {
    let mut result = None;
    let (own, other) = in_scope(|scope| match scope {
        Some(scope) => {
            let result = &mut result;
            scope.spawn(move |_| *result = Some(other()));
            (own(), None)
        }
        None => (own(), Some(other)),
    });
    let other = result.or_else(|| other.map(|other| other())).expect("the scope has waited for it");
    (other, own)
}

/// A scope of the current rayon pool or, outside of one, of the process's; `None` if that has no threads.
fn in_scope<'scope, R>(work: impl FnOnce(Option<&rayon::Scope<'scope>>) -> R) -> R {
    if rayon::current_thread_index().is_some() {
        return rayon::in_place_scope(|scope| work(Some(scope)));
    }
    match crate::threads::pool() {
        Some(pool) => pool.in_place_scope(|scope| work(Some(scope))),
        None => work(None),
    }
}

/// Splits `rows` into ranges of nearly equal length, at most `parts` of them, each starting at a multiple of `unit`.
pub fn split_rows(rows: usize, unit: usize, parts: usize) -> impl Iterator<Item = Range<usize>> + Send {
    let units = rows.div_ceil(unit);
    let parts = parts.clamp(1, units.max(1));
    (0..parts).map(move |i| i * units / parts * unit..((i + 1) * units / parts * unit).min(rows))
}

/// Cuts the front off a slice that is being handed out piece by piece.
pub(crate) fn take_front<'a, T>(rest: &mut &'a mut [T], len: usize) -> &'a mut [T] {
    let (front, back) = std::mem::take(rest).split_at_mut(len);
    *rest = back;
    front
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_band_runs_once() {
        for threads in [0, 1, 2, 5] {
            let mut data = [0u32; 37];
            for_bands(threads, data.chunks_mut(4).enumerate(), |(i, chunk)| {
                chunk.iter_mut().for_each(|v| *v += i as u32 + 1);
            });
            let expected: Vec<u32> = (0..37).map(|i| i / 4 + 1).collect();
            assert_eq!(data[..], expected);
        }
    }

    #[test]
    fn two_things_are_done_beside_each_other() {
        let caller = std::thread::current().id();
        let (other, own) = beside(|| 7, || std::thread::current().id());
        assert_eq!((other, own), (7, caller));
    }

    #[test]
    fn one_thread_stays_on_the_caller() {
        let caller = std::thread::current().id();
        for_bands(1, 0..3, |_| assert_eq!(std::thread::current().id(), caller));
    }

    #[test]
    fn ranges_cover_all_rows() {
        for (rows, unit, parts) in [(64, 8, 3), (64, 8, 1), (8, 8, 4), (10, 4, 2), (0, 8, 2), (64, 1, 0)] {
            let ranges: Vec<_> = split_rows(rows, unit, parts).collect();
            assert!(ranges.len() <= parts.max(1));
            let mut next = 0;
            for range in ranges {
                assert_eq!((range.start, range.start % unit), (next, 0));
                next = range.end;
            }
            assert_eq!(next, rows);
        }
    }
}
