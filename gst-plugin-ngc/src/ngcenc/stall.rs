//! Notices that frames wait for others which do not come.
//!
//! A lookahead waits for frames; where another branch of the pipeline waits for the encoder's output before it lets frames through, none
//! would ever come. Whoever waits longer than a while is told so.

use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Calls a function whenever frames have waited in vain for a while.
pub struct StallWatch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Frames wait from then on.
    since: Option<Instant>,
    /// The function was called, and nothing has come since.
    called: bool,
    ends: bool,
}

impl StallWatch {
    /// Calls `stalled` whenever [`Self::wait`] was so long ago. Without a thread to be had for that, it never does.
    pub fn start(patience: Duration, stalled: impl Fn() + Send + 'static) -> Self {
        let shared = Arc::new(Shared::default());
        let watched = Arc::clone(&shared);
        let watch = move || {
            while watched.next(patience) {
                stalled();
            }
        };
        let thread = std::thread::Builder::new().name("ngcenc-stall".into()).spawn(watch).ok();
        Self { shared, thread }
    }

    /// Frames wait for others from now on.
    pub fn wait(&self) {
        self.set(Some(Instant::now()));
    }

    /// None waits, or one has come.
    pub fn rest(&self) {
        self.set(None);
    }

    /// Who waits does so from now on: time before does not count.
    pub fn wait_anew(&self) {
        let since = self.shared.state.lock().unwrap().since.map(|_| Instant::now());
        self.set(since);
    }

    fn set(&self, since: Option<Instant>) {
        let mut state = self.shared.state.lock().unwrap();
        (state.since, state.called) = (since, false);
        self.shared.changed.notify_one();
    }

    /// Whether nothing has come since the function was called: something may have while it waited for a lock.
    pub fn is_stalled(&self) -> bool {
        self.shared.state.lock().unwrap().called
    }
}

impl Drop for StallWatch {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap().ends = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Returns once frames have waited for too long; false if the watch ends. They then wait anew.
    fn next(&self, patience: Duration) -> bool {
        let mut state = self.state.lock().unwrap();
        while !state.ends {
            state = match state.since.map(|since| patience.saturating_sub(since.elapsed())) {
                None => self.changed.wait(state).unwrap(),
                Some(Duration::ZERO) => {
                    (state.since, state.called) = (Some(Instant::now()), true);
                    return true;
                }
                Some(left) => self.changed.wait_timeout(state, left).unwrap().0,
            };
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn those_who_wait_are_told_again_and_again_and_those_who_rest_are_not() {
        let (tell, told) = mpsc::channel();
        let watch = StallWatch::start(Duration::from_millis(20), move || tell.send(()).unwrap());
        watch.wait_anew();
        assert!(told.recv_timeout(Duration::from_millis(100)).is_err(), "nobody waits");
        watch.wait();
        assert!(!watch.is_stalled());
        for _ in 0..3 {
            told.recv().unwrap();
        }
        assert!(watch.is_stalled());
        watch.rest();
        assert!(!watch.is_stalled());
        // One may have been on its way.
        let _ = told.recv_timeout(Duration::from_millis(100));
        assert!(told.recv_timeout(Duration::from_millis(100)).is_err());
        drop(watch);
        assert_eq!(told.recv(), Err(mpsc::RecvError));
    }
}
