//! The buffer between encoder and channel.

/// A leaky bucket: frames fill it, the channel empties it at a constant rate. A stream whose bucket never overflows plays
/// without a stop after a start-up delay of `capacity / rate` (the video buffering verifier of MPEG).
#[derive(Clone, Debug, PartialEq)]
pub struct LeakyBucket {
    /// Bits.
    capacity: f64,
    /// Bits per second.
    rate: f64,
    /// Bits that wait.
    fill: f64,
}

impl LeakyBucket {
    /// An empty bucket that holds `seconds` of `rate` bits per second.
    pub fn new(rate: f64, seconds: f64) -> Self {
        Self { capacity: rate * seconds, rate, fill: 0.0 }
    }

    /// Other sizes from now on; what waits goes on waiting.
    pub fn resize(&mut self, rate: f64, seconds: f64) {
        *self = Self { fill: self.fill, ..Self::new(rate, seconds) };
    }

    /// Lets time pass.
    pub fn drain(&mut self, seconds: f64) {
        self.fill = (self.fill - self.rate * seconds).max(0.0);
    }

    /// Takes a frame.
    pub fn add(&mut self, bits: f64) {
        self.fill += bits;
    }

    /// Bits that still fit in; negative after an overflow.
    pub fn room(&self) -> f64 {
        self.capacity - self.fill
    }

    /// Bits that it holds.
    pub fn capacity(&self) -> f64 {
        self.capacity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_fill_it_and_time_empties_it() {
        let mut bucket = LeakyBucket::new(1000.0, 0.5);
        assert_eq!((bucket.capacity(), bucket.room()), (500.0, 500.0));
        bucket.add(300.0);
        assert_eq!(bucket.room(), 200.0);
        bucket.drain(0.1);
        assert_eq!(bucket.room(), 300.0);
        bucket.add(400.0);
        assert_eq!(bucket.room(), -100.0, "an overflow shows");
        // The channel cannot save up what it did not send.
        bucket.drain(60.0);
        assert_eq!(bucket.room(), 500.0);
    }

    #[test]
    fn what_waits_goes_on_waiting_in_another_size() {
        let mut bucket = LeakyBucket::new(1000.0, 0.5);
        bucket.add(300.0);
        bucket.resize(200.0, 3.0);
        assert_eq!((bucket.capacity(), bucket.room()), (600.0, 300.0));
        bucket.drain(1.0);
        assert_eq!(bucket.room(), 500.0);
    }
}
