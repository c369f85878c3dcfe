//! How many threads a frame is worked on with.

/// More threads than this are of no use to a frame.
pub const MAX_THREADS: usize = 64;

/// Threads for a wish: that many, or, for 0, as many as the process may run at once (affinity and control groups count), at most
/// [`MAX_THREADS`].
///
/// The threads are those of one pool, which all streams of the process share: two elements on two cores do not get in each other's
/// way.
pub fn count(wish: usize) -> usize {
    let free = || std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = if wish == 0 { free() } else { wish };
    wanted.clamp(1, MAX_THREADS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_kept_within_bounds() {
        assert_eq!([count(1), count(5), count(10_000)], [1, 5, MAX_THREADS]);
        assert!((1..=MAX_THREADS).contains(&count(0)));
    }
}
