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
#[derive(Debug, Default)]
pub(crate) struct Reader {
    failed: BTreeSet<String>,
    ok: usize,
    ignored: usize,
    skipped: BTreeSet<Skip>,
    /// Counts of the `test result:` lines: passed, failed, ignored. Documentation tests have one
    /// for each crate.
    results: Option<(usize, usize, usize)>,
    /// Inside the output of tests that went well.
    successes: bool,
}

static TEST: LazyLock<Result<Regex, regex::Error>> =
    LazyLock::new(|| Regex::new(r"^test (.+?)(?: - should panic)? \.\.\. (ok|FAILED|ignored)"));
static RESULT: LazyLock<Result<Regex, regex::Error>> =
    LazyLock::new(|| Regex::new(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;"));
static SKIP: LazyLock<Result<Regex, regex::Error>> =
    LazyLock::new(|| Regex::new(r"^\s*SKIP ([^:\s]+(?:::[^:\s]+)*): (.+)$"));

impl Reader {
    /// Takes the next line; whether it is worth showing. What a successful test printed is not,
    /// but for its skips.
    pub(crate) fn line(&mut self, line: &str) -> bool {
        if let Some([name, reason]) = captures(&SKIP, line) {
            let skip = Skip { name: name.to_owned(), reason: reason.trim().to_owned() };
            return self.skipped.insert(skip);
        }
        if let Some([passed, failed, ignored]) = captures(&RESULT, line) {
            let number = |text: &str| text.parse::<usize>().unwrap_or(0);
            let before = self.results.unwrap_or_default();
            self.results = Some((
                before.0 + number(passed),
                before.1 + number(failed),
                before.2 + number(ignored),
            ));
            self.successes = false;
            return true;
        }
        match line {
            "successes:" => self.successes = true,
            "failures:" => self.successes = false,
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

    /// The outcome, given that `planned` tests were to run (none if unknown) in the executable
    /// called `label`, which ended as `end` says (none for well).
    pub(crate) fn finish(self, label: &str, planned: Option<usize>, end: Option<String>) -> Tally {
        let (passed, failures, ignored) =
            self.results.unwrap_or((self.ok, self.failed.len(), self.ignored));
        let mut failed: Vec<String> =
            self.failed.iter().map(|name| format!("{label} {name}")).collect();
        if let (Some(end), None) = (&end, self.results) {
            let unheard = planned.map_or(0, |n| n.saturating_sub(passed + failures + ignored));
            failed.push(format!("{label} {end}; {unheard} of its tests gave no result"));
        } else if failed.len() < failures || (end.is_some() && failed.is_empty()) {
            let end = end.unwrap_or_else(|| "failed".to_owned());
            failed.push(format!("{label} {end}, with failures it did not name"));
        }
        if let (Some(planned), Some(_)) = (planned, self.results)
            && passed + failures + ignored != planned
        {
            let ran = passed + failures + ignored;
            failed.push(format!("{label} ran {ran} tests, but lists {planned}"));
        }
        let mut skipped = self.skipped;
        let whole: BTreeSet<&str> = skipped.iter().map(|skip| skip.name.as_str()).collect();
        // A test that says it skipped did not pass. The harness says it did.
        let passed = passed.saturating_sub(whole.len());
        if ignored > 0 {
            let name = format!("{label} ({ignored} tests)");
            skipped.insert(Skip { name, reason: "ignored".to_owned() });
        }
        Tally { passed, failed, skipped }
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

    fn read(text: &str) -> (Reader, Vec<&str>) {
        let mut reader = Reader::default();
        let shown = text.lines().filter(|line| reader.line(line)).collect();
        (reader, shown)
    }

    const GOOD: &str = "\nrunning 3 tests\ntest a ... ok\ntest b::privileged_c ... ok\n\
        test d - should panic ... ok\n\nsuccesses:\n\n---- b::privileged_c stdout ----\nchatter\n\
        SKIP privileged_c: not root\n\n\nsuccesses:\n    a\n\n\
        test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0s\n";

    #[test]
    fn a_skip_is_counted_as_such_and_not_as_passed() {
        let (reader, shown) = read(GOOD);
        let tally = reader.finish("store", Some(3), None);
        assert_eq!(tally.line(), "2 passed, 0 failed, 1 skipped");
        assert!(shown.contains(&"SKIP privileged_c: not root"));
        assert!(!shown.contains(&"chatter"), "output of tests that went well is noise");
    }

    #[test]
    fn failures_are_named_and_their_output_shown() {
        let text = "test a ... FAILED\ntest b ... ok\n\nfailures:\n\n---- a stdout ----\nwhy\n\n\
            failures:\n    a\n\ntest result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured\n";
        let (reader, shown) = read(text);
        let tally = reader.finish("store", Some(2), Some("exit status: 101".to_owned()));
        assert_eq!(tally.line(), "1 passed, 1 failed, 0 skipped");
        assert_eq!(tally.failed, ["store a"]);
        assert!(shown.contains(&"why"));
    }

    #[test]
    fn an_executable_that_died_has_failed_and_says_what_was_lost() {
        let (reader, _) = read("running 3 tests\ntest a ... ok\n");
        let tally = reader.finish("store", Some(3), Some("signal: 9".to_owned()));
        assert_eq!(tally.line(), "1 passed, 1 failed, 0 skipped");
        assert!(tally.failed[0].contains("2 of its tests gave no result"), "{:?}", tally.failed);
    }

    #[test]
    fn a_failure_that_is_not_named_still_counts() {
        let text = "test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured\n";
        assert_eq!(read(text).0.finish("store", Some(1), None).failed.len(), 1);
        let text = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured\n";
        let end = Some("signal: 6".to_owned());
        assert_eq!(read(text).0.finish("store", Some(1), end).failed.len(), 1, "died at exit");
        assert_eq!(read(text).0.finish("store", Some(2), None).failed.len(), 1, "ran too few");
    }

    #[test]
    fn results_of_several_crates_add_up() {
        let line = "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured\n";
        let tally = read(&format!("{line}{line}")).0.finish("docs", None, None);
        assert_eq!(tally.line(), "4 passed, 0 failed, 1 skipped");
    }
}
