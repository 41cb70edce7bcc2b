//! Reads what a test executable prints.
//!
//! The format is that of Rust's own test harness with `--show-output`: a line per test, what the
//! successful ones printed, what the failed ones printed, and a line of counts. Our tests add
//! `SKIP <test>: <reason>` when they cannot run, which the harness counts as passed.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use regex::Regex;

use super::report::{Skip, Tally};

/// Collects the lines of one executable.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    label: &'a str,
    /// The tests that were to run; none when only the executable knows.
    planned: Option<&'a [String]>,
    ok: usize,
    failed: BTreeSet<String>,
    ignored: usize,
    /// Tests that said they did not run.
    skipped_tests: BTreeSet<String>,
    skips: BTreeSet<Skip>,
    /// Counts of the `test result:` lines: passed, failed, ignored. Documentation tests have one
    /// for each crate.
    results: Option<[usize; 3]>,
    /// Inside the output of tests that went well.
    successes: bool,
    /// The test whose output this is.
    current: Option<String>,
}

type Lazy = LazyLock<Result<Regex, regex::Error>>;

static TEST: Lazy =
    Lazy::new(|| Regex::new(r"^test (.+?)(?: - should panic)? \.\.\. (ok|FAILED|ignored)"));
static RESULT: Lazy =
    Lazy::new(|| Regex::new(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;"));
static OUTPUT_OF: Lazy = Lazy::new(|| Regex::new(r"^---- (.+) stdout ----$"));
static SKIP: Lazy = Lazy::new(|| Regex::new(r"^\s*SKIP (\S+): (.+)$"));

impl<'a> Reader<'a> {
    /// For the executable that is called `label` in messages. `planned` are the tests that were to
    /// run, if known.
    pub(crate) fn new(label: &'a str, planned: Option<&'a [String]>) -> Reader<'a> {
        Reader {
            label,
            planned,
            ok: 0,
            failed: BTreeSet::new(),
            ignored: 0,
            skipped_tests: BTreeSet::new(),
            skips: BTreeSet::new(),
            results: None,
            successes: false,
            current: None,
        }
    }

    /// Takes the next line; whether it is worth showing. What a successful test printed is not,
    /// but for its skips.
    pub(crate) fn line(&mut self, line: &str) -> bool {
        if let Some([name, reason]) = captures(&SKIP, line) {
            return self.skip(name, reason.trim());
        }
        if let Some([passed, failed, ignored]) = captures(&RESULT, line) {
            let counts = [passed, failed, ignored].map(|text| text.parse().unwrap_or(0));
            let before = self.results.unwrap_or_default();
            self.results = Some(std::array::from_fn(|index| before[index] + counts[index]));
            (self.successes, self.current) = (false, None);
            return true;
        }
        if let Some([test]) = captures(&OUTPUT_OF, line) {
            self.current = Some(test.to_owned());
            if !self.successes {
                self.failed.insert(test.to_owned());
            }
        }
        match line {
            "successes:" => self.successes = true,
            "failures:" => (self.successes, self.current) = (false, None),
            _ => {}
        }
        if self.successes {
            return false;
        }
        match captures(&TEST, line) {
            Some([_, "ok"]) => self.ok += 1,
            Some([name, "FAILED"]) => _ = self.failed.insert(name.to_owned()),
            Some(_) => self.ignored += 1,
            None => {}
        }
        !line.trim().is_empty()
    }

    /// A test that names itself did not run; one that names something else left out a part.
    fn skip(&mut self, name: &str, reason: &str) -> bool {
        let is = |test: &&String| test.rsplit("::").next() == Some(name) || *test == name;
        let planned = || self.planned.into_iter().flatten().find(is);
        let name = match self.current.as_ref().filter(is).or_else(planned) {
            Some(test) => {
                self.skipped_tests.insert(test.clone());
                format!("{} {test}", self.label)
            }
            None => match &self.current {
                Some(test) => format!("{} {test} ({name})", self.label),
                None => format!("{} {name}", self.label),
            },
        };
        self.skips.insert(Skip { name, reason: reason.to_owned() })
    }

    /// The outcome of all that, when the executable ended as `end` says (none for well).
    pub(crate) fn finish(self, end: Option<String>) -> Tally {
        let label = self.label;
        let [passed, failures, ignored] =
            self.results.unwrap_or([self.ok, self.failed.len(), self.ignored]);
        let ran = passed + failures + ignored;
        let planned = self.planned.map_or(ran, <[String]>::len);
        let mut failed: Vec<String> =
            self.failed.iter().map(|name| format!("{label} {name}")).collect();
        if self.results.is_none() {
            let end = end.unwrap_or_else(|| "gave no result".to_owned());
            let unheard = planned.saturating_sub(ran);
            failed.push(format!("{label} {end}; {unheard} of its tests were not heard of"));
        } else if failed.len() < failures || (end.is_some() && failed.is_empty()) {
            let end = end.unwrap_or_else(|| "failed".to_owned());
            failed.push(format!("{label} {end}, with failures it did not name"));
        } else if ran != planned {
            failed.push(format!("{label} ran {ran} tests, but lists {planned}"));
        }
        let mut skipped = self.skips;
        if ignored > 0 {
            let name = format!("{label} ({ignored} tests)");
            skipped.insert(Skip { name, reason: "ignored".to_owned() });
        }
        // A test that says it skipped did not pass. The harness says it did.
        let passed = passed.saturating_sub(self.skipped_tests.len());
        Tally { passed, failed, skipped, ..Tally::default() }
    }
}

fn captures<'a, const N: usize>(
    regex: &'static Result<Regex, regex::Error>,
    line: &'a str,
) -> Option<[&'a str; N]> {
    Some(regex.as_ref().ok()?.captures(line)?.extract().1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of `text`, as printed by an executable with the given tests.
    fn tally(tests: &[&str], text: &str, end: Option<&str>) -> (Tally, String) {
        let tests: Vec<String> = tests.iter().map(|&test| test.to_owned()).collect();
        let mut reader = Reader::new("store", Some(&tests));
        let shown: Vec<&str> = text.lines().filter(|line| reader.line(line)).collect();
        (reader.finish(end.map(str::to_owned)), shown.join("\n"))
    }

    const SKIPPED: &str = "\nrunning 3 tests\ntest a ... ok\ntest b::privileged_c ... ok\n\
        test d - should panic ... ok\n\nsuccesses:\n\n---- b::privileged_c stdout ----\nchatter\n\
        SKIP privileged_c: not root\n\n\nsuccesses:\n    a\n\n\
        test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out\n";

    #[test]
    fn a_skip_is_counted_as_such_and_not_as_passed() {
        let (tally, shown) = tally(&["a", "b::privileged_c", "d"], SKIPPED, None);
        assert_eq!(tally.line(), "2 passed, 0 failed, 1 skipped");
        assert_eq!(tally.skipped.first().unwrap().name, "store b::privileged_c");
        assert!(shown.contains("SKIP privileged_c: not root"));
        assert!(!shown.contains("chatter"), "output of tests that went well is noise");
    }

    #[test]
    fn a_part_that_is_skipped_leaves_the_test_passed() {
        let text = SKIPPED.replace("SKIP privileged_c", "SKIP btrfs");
        let (tally, _) = tally(&["a", "b::privileged_c", "d"], &text, None);
        assert_eq!(tally.line(), "3 passed, 0 failed, 1 skipped");
        assert_eq!(tally.skipped.first().unwrap().name, "store b::privileged_c (btrfs)");
    }

    #[test]
    fn a_skip_past_the_harness_is_found_by_name() {
        let text = "SKIP privileged_c: not root\ntest b::privileged_c ... ok\n\
            test result: ok. 1 passed; 0 failed; 0 ignored;\n";
        let (tally, _) = tally(&["b::privileged_c"], text, None);
        assert_eq!(tally.line(), "0 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn failures_are_named_and_their_output_shown() {
        let text = "test a ... FAILED\ntest b ... ok\n\nfailures:\n\n---- a stdout ----\nwhy\n\n\
            failures:\n    a\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured\n";
        let (tally, shown) = tally(&["a", "b"], text, Some("exit status: 101"));
        assert_eq!(tally.line(), "1 passed, 1 failed, 0 skipped");
        assert_eq!(tally.failed, ["store a"]);
        assert!(shown.contains("why"));
    }

    #[test]
    fn an_executable_that_died_has_failed_and_says_what_was_lost() {
        let text = "running 3 tests\ntest a ... ok\n";
        for end in [Some("signal: 9"), None] {
            let (tally, _) = tally(&["a", "b", "c"], text, end);
            assert_eq!(tally.line(), "1 passed, 1 failed, 0 skipped");
            assert!(tally.failed[0].contains("2 of its tests"), "{:?}", tally.failed);
        }
    }

    #[test]
    fn a_failure_that_is_not_named_still_counts() {
        let failures = |tests, text, end| tally(tests, text, end).0.failed.len();
        let failed = "test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured\n";
        let passed = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured\n";
        assert_eq!(failures(&["a"], failed, None), 1);
        assert_eq!(failures(&["a"], passed, Some("signal: 6")), 1, "it died at its end");
        assert_eq!(failures(&["a", "b"], passed, None), 1, "it ran too few");
        assert_eq!(failures(&["a"], passed, None), 0);
    }

    #[test]
    fn results_of_several_crates_add_up() {
        let mut reader = Reader::new("doc", None);
        for _ in 0..2 {
            reader.line("test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured");
        }
        assert_eq!(reader.finish(None).line(), "4 passed, 0 failed, 1 skipped");
    }
}
