//! The pace of collections: a pure account of counts and times.

use std::time::Duration;

use crate::config::Gc;

/// What has happened since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) mutations: u64,
    pub(crate) deletions: u64,
}

/// Short collections are counted as this long, so that there is a pause between them.
const SHORTEST: Duration = Duration::from_millis(5);
/// No pause is longer, whatever the settings say and however long a collection took.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How often deletions are looked at while enough of them need no pause.
const LOOK: Duration = Duration::from_millis(100);

/// What is known of the collections so far.
#[derive(Debug)]
pub(crate) struct Pace {
    settings: Gc,
    /// At the end of the last collection; nothing before the first.
    last: Option<Counts>,
    total: Duration,
    collections: u32,
    /// How much of the pause is over.
    waited: Duration,
    /// Whether the delay behind the deletion threshold runs.
    delayed: bool,
}

impl Pace {
    pub(crate) fn new(settings: Gc) -> Self {
        Pace {
            settings,
            last: None,
            total: Duration::ZERO,
            collections: 0,
            waited: Duration::ZERO,
            delayed: false,
        }
    }

    /// After how long to collect, if there is a reason: nothing when it is now.
    pub(crate) fn due(&mut self, now: Counts) -> Option<Duration> {
        let Some(last) = self.last else { return Some(Duration::ZERO) };
        let deletions = now.deletions - last.deletions;
        let threshold = self.settings.deletion_threshold;
        if std::mem::take(&mut self.delayed) {
            return Some(Duration::ZERO);
        }
        if threshold > 0 && deletions >= threshold {
            self.delayed = !self.settings.schedule_delay.is_zero();
            return Some(self.settings.schedule_delay);
        }
        self.waited += self.step();
        if self.waited < self.whole_pause() {
            return None;
        }
        self.waited = Duration::ZERO;
        let mutations = now.mutations - last.mutations;
        (deletions > 0 || mutations >= self.settings.mutation_threshold.max(1))
            .then_some(Duration::ZERO)
    }

    /// Notes a collection. Returns how long to pause.
    pub(crate) fn collected(&mut self, now: Counts, took: Duration) -> Duration {
        self.last = Some(now);
        self.total += took;
        self.collections += 1;
        self.waited = Duration::ZERO;
        self.pause()
    }

    /// How long to sleep before the next look.
    pub(crate) fn pause(&self) -> Duration {
        self.step()
    }

    fn step(&self) -> Duration {
        let whole = self.whole_pause();
        if self.settings.deletion_threshold > 0 { whole.min(LOOK) } else { whole }
    }

    /// The average collection is `pause_threshold` of itself and the pause behind it.
    fn whole_pause(&self) -> Duration {
        let average = (self.total / self.collections.max(1)).max(SHORTEST).as_secs_f64();
        let share = self.settings.pause_threshold.clamp(f64::MIN_POSITIVE, 0.5);
        Duration::try_from_secs_f64(average / share - average).unwrap_or(LONGEST).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Option<Duration> = Some(Duration::ZERO);

    fn counts(mutations: u64, deletions: u64) -> Counts {
        Counts { mutations, deletions }
    }

    fn after_one(settings: Gc, took: Duration) -> Pace {
        let mut pace = Pace::new(settings);
        assert_eq!(pace.due(counts(0, 0)), NOW, "the first needs no reason");
        pace.collected(counts(10, 0), took);
        pace
    }

    #[test]
    fn the_pause_keeps_collecting_to_its_share() {
        let ms = Duration::from_millis;
        for (share, took, pause) in [
            (0.02, ms(100), ms(4900)),
            (0.02, ms(1), ms(245)),
            (0.5, ms(100), ms(100)),
            (0.9, ms(100), ms(100)),
            (0.0, ms(100), LONGEST),
            (f64::NAN, ms(100), LONGEST),
        ] {
            let settings = Gc { pause_threshold: share, ..Gc::default() };
            assert_eq!(after_one(settings, took).pause(), pause, "{share} {took:?}");
        }
        let mut pace = after_one(Gc::default(), ms(100));
        assert_eq!(pace.collected(counts(10, 0), ms(300)), ms(200 * 49), "the average counts");
    }

    #[test]
    fn a_pause_ends_in_a_collection_when_something_was_deleted_or_much_was_written() {
        for (now, due) in [
            (counts(10, 0), None),
            (counts(109, 0), None),
            (counts(110, 0), NOW),
            (counts(11, 1), NOW),
        ] {
            let mut pace = after_one(Gc::default(), SHORTEST);
            assert_eq!(pace.due(now), due, "{now:?}");
        }
        let always = Gc { mutation_threshold: 0, ..Gc::default() };
        assert_eq!(after_one(always, SHORTEST).due(counts(10, 0)), None, "nothing happened");
        assert_eq!(after_one(always, SHORTEST).due(counts(11, 0)), NOW);
    }

    #[test]
    fn enough_deletions_end_the_pause() {
        let settings = Gc { deletion_threshold: 3, ..Gc::default() };
        let mut pace = after_one(settings, Duration::from_secs(10));
        assert_eq!(pace.pause(), LOOK);
        assert_eq!(pace.due(counts(12, 2)), None);
        assert_eq!(pace.due(counts(13, 3)), NOW);
        let delay = Duration::from_millis(50);
        let mut pace = after_one(Gc { schedule_delay: delay, ..settings }, SHORTEST);
        assert_eq!(pace.due(counts(13, 3)), Some(delay));
        assert_eq!(pace.due(counts(13, 3)), NOW);
        pace.collected(counts(20, 3), SHORTEST);
        // The looks on the way add up to the pause.
        let looks = (0..).take_while(|_| pace.due(counts(20, 4)).is_none()).count();
        assert_eq!(looks, 2, "245 ms in steps of 100");
    }
}
