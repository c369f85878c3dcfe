//! All roots of a field in coding order, on several threads.
//!
//! Each row of roots is worked on by one thread, which follows the row above at a distance of a few roots. A row has a field of its
//! own, in which the row above is known as far as it may depend on it and the row below is as it was: what a row sees, and so the
//! result, does not depend on the number of threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::table::SIDE;
use crate::kernels::parallel::for_bands;
use crate::motion::BlockField;
use crate::motion::field::RootCells;

/// How many roots right of its own a root may depend on in the row above: its neighbour on the right, whose candidates it weighs, has
/// an upper right one itself.
const AHEAD: usize = 2;

/// What threads need for their rows, kept from pass to pass: a state that carries nothing from root to root, and a field.
#[derive(Default)]
pub(super) struct Wavefront<S> {
    spare: Mutex<Vec<(S, BlockField)>>,
}

impl<S: Default + Send> Wavefront<S> {
    /// Calls `work` for all roots with a state, a field and the root's first cell; it may write to that root alone, and read the
    /// roots around it and those before it in their rows.
    pub fn run(&mut self, field: &mut BlockField, threads: usize, work: impl Fn(&mut S, &mut BlockField, usize, usize) + Sync) {
        let (rows, cols) = (field.rows() / SIDE, field.cols() / SIDE);
        let lines: Vec<Line> = (0..rows).map(|_| Line::default()).collect();
        let before = &*field;
        for_bands(threads.min(rows), 0..rows, |row| {
            let spare = lock(&self.spare).pop();
            let (mut state, mut own) = spare.unwrap_or_else(|| (S::default(), before.clone()));
            own.resemble(before, row.saturating_sub(1) * SIDE..(row + 2) * SIDE);
            let line = Running(&lines[row]);
            let mut known = 0;
            for col in 0..cols {
                if let Some(above) = row.checked_sub(1) {
                    let wanted = (col + 1 + AHEAD).min(cols);
                    lines[above].take(known, wanted, |i, root| own.set_root(above * SIDE, i * SIDE, root));
                    known = wanted;
                }
                work(&mut state, &mut own, row * SIDE, col * SIDE);
                line.0.put(own.root(row * SIDE, col * SIDE));
            }
            lock(&self.spare).push((state, own));
        });
        for (row, line) in lines.iter().enumerate() {
            line.take(0, cols, |col, root| field.set_root(row * SIDE, col * SIDE, root));
        }
    }
}

/// Looks at a row that is not far enough before a thread sleeps: the next root is usually finished sooner than a thread wakes up.
const LOOKS: usize = 3000;

/// The roots of a row that are finished.
#[derive(Default)]
struct Line {
    count: AtomicUsize,
    /// And whether there will be no more of them.
    roots: Mutex<(Vec<RootCells>, bool)>,
    news: Condvar,
}

impl Line {
    fn put(&self, root: RootCells) {
        let mut roots = lock(&self.roots);
        roots.0.push(root);
        self.count.store(roots.0.len(), Ordering::Release);
        drop(roots);
        self.news.notify_all();
    }

    /// Waits for the first `end` roots and calls `take` for those from `start` on.
    fn take(&self, start: usize, end: usize, mut take: impl FnMut(usize, &RootCells)) {
        for _ in 0..LOOKS {
            if self.count.load(Ordering::Acquire) >= end {
                break;
            }
            std::hint::spin_loop();
        }
        let mut roots = lock(&self.roots);
        while roots.0.len() < end && !roots.1 {
            roots = self.news.wait(roots).unwrap_or_else(PoisonError::into_inner);
        }
        roots.0.iter().enumerate().take(end).skip(start).for_each(|(i, root)| take(i, root));
    }
}

/// A row that is worked on. If that panics, those who wait for it go on, and the panic is reported when all have ended.
struct Running<'a>(&'a Line);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        lock(&self.0.roots).1 = true;
        self.0.news.notify_all();
    }
}

/// Nothing is left half done where a thread may panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::motion::{Leaf, MAX_LOG2, MotionVector};

    const SIZES: [(usize, usize); 4] = [(640, 384), (64, 64), (64, 320), (448, 128)];

    /// Makes a root's vector a sum of what lies around it, which differs if that is of another state than it should be.
    fn sum(field: &mut BlockField, pass: i16, row: usize, col: usize) -> i16 {
        let mut sum = pass + (row * 3 + col) as i16;
        for (r, c) in (0..3).flat_map(|r| (0..2 * AHEAD + 1).map(move |c| (r, c))) {
            let (r, c) = ((row + r * SIDE).checked_sub(SIDE), (col + c * SIDE).checked_sub(AHEAD * SIDE));
            if let (Some(r), Some(c)) = (r.filter(|&r| r < field.rows()), c.filter(|&c| c < field.cols())) {
                sum = sum.wrapping_mul(5).wrapping_add(field.vector(r, c).x);
            }
        }
        field.set(Leaf { row, col, log2: MAX_LOG2, vector: MotionVector { x: sum, y: 0 } });
        sum
    }

    #[test]
    fn rows_see_what_they_see_alone() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(8).build().unwrap();
        let mut used = Wavefront::<()>::default();
        for size in SIZES {
            // In coding order, in one field.
            let mut wanted = BlockField::still(size.0, size.1);
            for pass in 0..3 {
                for row in (0..wanted.rows()).step_by(SIDE) {
                    (0..wanted.cols()).step_by(SIDE).for_each(|col| _ = sum(&mut wanted, pass, row, col));
                }
            }
            for threads in [0, 1, 2, 3, 8] {
                let mut found = BlockField::still(size.0, size.1);
                for pass in 0..3 {
                    pool.install(|| {
                        used.run(&mut found, threads, |(), field, row, col| {
                            let sum = sum(field, pass, row, col) as usize;
                            // Threads meet in another order each time.
                            std::thread::sleep(std::time::Duration::from_micros((sum as u64 ^ threads as u64) % 50));
                        });
                    });
                }
                assert_eq!(found, wanted, "{size:?} {threads}");
            }
        }
    }

    #[test]
    fn a_panic_ends_all_rows() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let mut field = BlockField::still(320, 320);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            pool.install(|| {
                Wavefront::<()>::default().run(&mut field, 3, |(), _, row, col| assert!((row, col) != (8, 16), "a root fails"));
            });
        }));
        assert!(result.is_err());
    }
}
