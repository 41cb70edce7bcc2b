//! What became of the tests: the counts per tier, and the summary at the end.

use std::collections::BTreeSet;
use std::time::Duration;

use super::tier::Tier;
use crate::ui;

/// The outcome of a part of a run. Outcomes add up.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    /// What failed, each with enough words to find it.
    pub(crate) failed: Vec<String>,
    pub(crate) skipped: BTreeSet<Skip>,
    /// What failed first and passed when it ran again by itself; counted as passed, and told.
    pub(crate) flaky: Vec<String>,
}

/// Something that was not tested, and why not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Skip {
    pub(crate) name: String,
    pub(crate) reason: String,
}

impl Tally {
    /// The outcome of one check that is no test of its own, such as the formatter.
    pub(crate) fn of_check(name: &str, passed: bool) -> Tally {
        let failed = if passed { Vec::new() } else { vec![name.to_owned()] };
        Tally { passed: usize::from(passed), failed, ..Tally::default() }
    }

    pub(crate) fn skip(name: &str, reason: impl Into<String>) -> Tally {
        let skip = Skip { name: name.to_owned(), reason: reason.into() };
        Tally { skipped: BTreeSet::from([skip]), ..Tally::default() }
    }

    pub(crate) fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
        self.flaky.extend(other.flaky);
    }

    /// Takes the outcome of a second run of the tests that failed, named as in [`failed`](Self::failed).
    pub(crate) fn take_second_run(&mut self, tests: &[String], second: &Tally) {
        // A program that ended before it told of all of them has proven nothing.
        if second.failed.iter().any(|failed| !tests.contains(failed)) {
            return;
        }
        for test in tests.iter().filter(|test| !second.failed.contains(test)) {
            self.failed.retain(|failed| failed != test);
            self.flaky.push(test.clone());
            self.passed += 1;
        }
    }

    /// The last line of a run.
    pub(crate) fn line(&self) -> String {
        let (failed, skipped) = (self.failed.len(), self.skipped.len());
        format!("{} passed, {failed} failed, {skipped} skipped", self.passed)
    }
}

/// The outcome of one tier and how long it took.
#[derive(Debug)]
pub(crate) struct TierReport {
    pub(crate) tier: Tier,
    pub(crate) tally: Tally,
    pub(crate) time: Duration,
}

/// Prints the summary; returns whether nothing failed. Its last line is the total, uncoloured, for
/// programs to read.
pub(crate) fn print(reports: &[TierReport]) -> bool {
    ui::heading("summary");
    let mut total = Tally::default();
    for TierReport { tier, tally, time } in reports {
        let line =
            format!("{:<12} {:<44} {:>8.1} s", tier.name(), tally.line(), time.as_secs_f64());
        println!("{}", if tally.failed.is_empty() { ui::green(&line) } else { ui::red(&line) });
        total.add(tally.clone());
    }
    for Skip { name, reason } in &total.skipped {
        println!("{}", ui::red(&format!("SKIPPED {name}: {reason}")));
    }
    for name in &total.flaky {
        println!("{}", ui::yellow(&format!("FLAKY {name}: failed, then passed by itself")));
    }
    for name in &total.failed {
        println!("{}", ui::red(&format!("FAILED {name}")));
    }
    println!("{}", total.line());
    total.failed.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_the_second_time_is_flaky_and_no_failure() {
        let names = ["store a", "store b"].map(str::to_owned);
        let mut tally = Tally { passed: 1, failed: names.to_vec(), ..Tally::default() };
        let second = Tally { passed: 1, failed: vec![names[1].clone()], ..Tally::default() };
        let died = Tally { failed: vec!["store died".to_owned()], ..Tally::default() };
        tally.take_second_run(&names, &died);
        assert_eq!(tally.line(), "1 passed, 2 failed, 0 skipped");
        tally.take_second_run(&names, &second);
        assert_eq!(tally.line(), "2 passed, 1 failed, 0 skipped");
        assert_eq!((tally.failed, tally.flaky), (vec![names[1].clone()], vec![names[0].clone()]));
    }

    #[test]
    fn outcomes_add_up() {
        let mut total = Tally::of_check("fmt", true);
        total.add(Tally::of_check("clippy", false));
        total.add(Tally::skip("advisories", "no network"));
        total.add(Tally::skip("advisories", "no network"));
        assert_eq!(total.line(), "1 passed, 1 failed, 1 skipped");
        assert_eq!(total.failed, ["clippy"]);
    }
}
