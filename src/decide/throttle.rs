//! How fast a server may be read, from how fast it answers others meanwhile.

use std::time::Duration;

/// Not even a slow server is read slower than this, in keys a second.
pub const SLOWEST: f64 = 1000.0;

/// How many looks in a row must be within the ceiling before it goes faster again.
const CALM: u32 = 5;

/// By how much it then goes faster with each look.
const FASTER: f64 = 1.1;

/// The rate of reading.
#[derive(Debug, Clone, PartialEq)]
pub struct Throttle {
    ceiling: Duration,
    most: f64,
    rate: f64,
    calm: u32,
    slowed: u64,
}

impl Throttle {
    /// `ceiling` is what an answer may take, `most` the keys a second that were allowed.
    pub fn new(ceiling: Duration, most: Option<u32>) -> Self {
        let most = most.map_or(f64::INFINITY, f64::from);
        Throttle { ceiling, most, rate: most, calm: 0, slowed: 0 }
    }

    /// Takes in the slowest answer since the last look. `speed` is what was read a second so far.
    pub fn look(&mut self, slowest: Duration, speed: f64) {
        if slowest > self.ceiling {
            self.rate = (self.rate.min(speed.max(SLOWEST)) / 2.0).max(SLOWEST.min(self.most));
            self.calm = 0;
            self.slowed += 1;
        } else {
            self.calm = self.calm.saturating_add(1);
            if self.calm >= CALM {
                self.rate = (self.rate * FASTER).min(self.most);
            }
        }
    }

    /// Keys a second; infinite where there is no limit.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// How often the rate was halved.
    pub fn slowed(&self) -> u64 {
        self.slowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CEILING: Duration = Duration::from_millis(5);

    proptest! {
        #[test]
        fn the_rate_keeps_within_its_bounds(
            most in prop::option::of(1u32..1_000_000),
            looks in prop::collection::vec((0u64..10, 0.0..1e6), 0..200),
        ) {
            let mut throttle = Throttle::new(CEILING, most);
            let bound = most.map_or(f64::INFINITY, f64::from);
            for (slowest, speed) in looks {
                let before = throttle.clone();
                throttle.look(Duration::from_millis(slowest), speed);
                prop_assert!(throttle.rate() <= bound && throttle.rate() >= SLOWEST.min(bound));
                if slowest > 5 {
                    prop_assert!(throttle.rate() <= (before.rate() / 2.0).max(SLOWEST));
                    prop_assert!(throttle.rate() <= (speed / 2.0).max(SLOWEST));
                    prop_assert_eq!(throttle.slowed(), before.slowed() + 1);
                } else {
                    prop_assert!(throttle.rate() >= before.rate() && throttle.rate() <= before.rate() * FASTER);
                }
            }
        }

        #[test]
        fn calm_brings_it_back(most in 2000u32..1_000_000, over in 1usize..50) {
            let mut throttle = Throttle::new(CEILING, Some(most));
            for _ in 0..over {
                throttle.look(CEILING * 2, 1e5);
            }
            for _ in 0..CALM + 80 {
                throttle.look(CEILING, 1e5);
            }
            prop_assert_eq!(throttle.rate(), f64::from(most));
        }
    }
}
