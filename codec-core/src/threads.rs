//! The threads that frames are worked on with.

use std::sync::OnceLock;

/// More threads than this are of no use to a frame; a wish for more counts as one for so many.
pub const MAX_THREADS: usize = 64;

/// Threads for a wish: that many, or, for 0, as many as the process may run at once (affinity and control groups count), at most
/// [`MAX_THREADS`].
///
/// The threads are those of one pool, which all streams of the process share: two elements on two cores do not get in each other's
/// way.
pub(crate) fn count(wish: usize) -> usize {
    let free = || std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = if wish == 0 { free() } else { wish };
    wanted.clamp(1, MAX_THREADS)
}

/// The pool of all streams of the process, and how many threads it was meant to have.
struct Pool {
    pool: Option<rayon::ThreadPool>,
    wanted: usize,
}

fn shared() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| {
        let wanted = count(0);
        let build = |threads| {
            let name = |number| format!("ngc-{number}");
            rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(name).build()
        };
        Pool { pool: as_many_as_start(wanted, build), wanted }
    })
}

/// The largest pool that can be built, of `wanted` threads or half as many, a quarter and so on.
fn as_many_as_start<P, E>(wanted: usize, build: impl Fn(usize) -> Result<P, E>) -> Option<P> {
    std::iter::successors(Some(wanted), |&threads| Some(threads / 2))
        .take_while(|&threads| threads > 0)
        .find_map(|threads| build(threads).ok())
}

/// The pool that frames are worked on with, `None` if the process may start no thread at all: then the calling thread does it.
pub(crate) fn pool() -> Option<&'static rayon::ThreadPool> {
    shared().pool.as_ref()
}

/// Does `work` on a thread of the pool where more than one thread is wished for (0: as many as there are).
///
/// There, what is split over threads is finished by this thread alone if the others are held up. From outside, every split waits until
/// another thread has woken up, which on a busy machine takes longer than the work.
pub(crate) fn inside<R: Send>(wish: usize, work: impl FnOnce() -> R + Send) -> R {
    match pool().filter(|_| count(wish) > 1) {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

/// Fewer threads could be started than the process has cores: it has reached a limit, and frames take longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadShortage {
    /// Threads that could be started.
    pub started: usize,
    /// Threads that were wanted.
    pub wanted: usize,
}

impl ThreadShortage {
    /// Starts the threads that all streams share, if that has not been done yet; `None` if all could be started.
    pub fn check() -> Option<Self> {
        let shared = shared();
        let started = shared.pool.as_ref().map_or(0, rayon::ThreadPool::current_num_threads);
        (started < shared.wanted).then_some(Self { started, wanted: shared.wanted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_few_threads_start_there_are_fewer() {
        let up_to = |limit: usize| move |threads: usize| if threads <= limit { Ok(threads) } else { Err(()) };
        assert_eq!(as_many_as_start(16, up_to(64)), Some(16));
        assert_eq!(as_many_as_start(16, up_to(5)), Some(4));
        assert_eq!(as_many_as_start(3, up_to(1)), Some(1));
        assert_eq!(as_many_as_start(16, up_to(0)), None);
        assert!(pool().is_some() && ThreadShortage::check().is_none());
    }

    #[test]
    fn a_wish_is_kept_within_bounds() {
        assert_eq!([count(1), count(5), count(10_000)], [1, 5, MAX_THREADS]);
        assert!((1..=MAX_THREADS).contains(&count(0)));
    }
}
