//! `cargo xtask test`: everything that has to hold, from a bare machine.
//!
//! It installs what is missing ([`crate::setup`]), builds every test once ([`build`]), and runs the
//! [tiers](Tier) in order; each test runs in exactly one tier, chosen by its name. A tier that has
//! no tests yet is not mentioned. Tests get a folder of their own for temporary files ([`temp`]),
//! and what they leave behind is a failure ([`leftovers`]). The last line of the output is
//! `N passed, N failed, N skipped` ([`report`]).

pub(crate) mod build;
mod deny;
mod leftovers;
pub(crate) mod output;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod temp;
pub(crate) mod tier;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::build::Executable;
use self::report::{Tally, TierReport};
use self::tier::Tier;
use crate::repo::Repo;
use crate::{peers, process, setup, tidy, ui, vm};

/// `cargo xtask test`.
pub(crate) fn run(repo: &Repo, args: &[String]) -> Result<ExitCode> {
    let options = Options::parse(args)?;
    if options.install {
        ui::heading("set-up");
        setup::ensure(setup::PACKAGES)?;
        ensure_components(repo)?;
    }
    let mut reports = Vec::new();
    for tier in options.tiers.iter().filter(|tier| !tier.runs_executables()) {
        ui::heading(tier.name());
        let started = Instant::now();
        let tally = check(repo, *tier).unwrap_or_else(|error| broken(tier.name(), &error));
        reports.push(TierReport { tier: *tier, tally, time: started.elapsed() });
    }
    if options.tiers.iter().any(|tier| tier.runs_executables()) {
        reports.extend(run_tests(repo, &options.tiers)?);
    }
    if options.by_default {
        let tally = Tally::skip("vm", "it takes long, and runs when it is named: cargo xtask vm");
        reports.push(TierReport { tier: Tier::Vm, tally, time: Duration::ZERO });
    }
    let passed = report::print(&reports);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Debug, PartialEq, Eq)]
struct Options {
    /// In the order in which they run.
    tiers: Vec<Tier>,
    install: bool,
    /// No tier was named.
    by_default: bool,
}

impl Options {
    fn parse(args: &[String]) -> Result<Options> {
        let mut options = Options { tiers: Vec::new(), install: true, by_default: false };
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            match arg.split_once('=').unwrap_or((arg, "")) {
                ("--tier", "") => {
                    let name = args.next().context("--tier needs the name of a tier")?;
                    options.tiers.push(Tier::parse(name)?);
                }
                ("--tier", name) => options.tiers.push(Tier::parse(name)?),
                ("--no-install", "") => options.install = false,
                _ => bail!("cannot make sense of {arg}; try cargo xtask help"),
            }
        }
        if options.tiers.is_empty() {
            let all = Tier::ALL.iter().copied();
            options.tiers = all.filter(|tier| *tier != Tier::Vm).collect();
            options.by_default = true;
        }
        options.tiers.sort();
        options.tiers.dedup();
        Ok(options)
    }
}

/// rustfmt and clippy, which a minimal toolchain lacks.
fn ensure_components(repo: &Repo) -> Result<()> {
    for (subcommand, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if process::ask(repo.cargo().args([subcommand, "--version"])).is_err() {
            println!("missing: {component}");
            process::status(Command::new("rustup").args(["component", "add", component]))?;
        }
    }
    Ok(())
}

/// One tier that looks at the source.
fn check(repo: &Repo, tier: Tier) -> Result<Tally> {
    let cargo =
        |args: &[&str]| Ok(Tally::of_check(tier.name(), process::status(repo.cargo().args(args))?));
    match tier {
        Tier::Fmt => cargo(&["fmt", "--all", "--check"]),
        Tier::Clippy => {
            cargo(&["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"])
        }
        Tier::Tidy => {
            let mut tally = Tally::default();
            for verdict in tidy::check(repo)? {
                tally.add(Tally::of_check(&format!("tidy {}", verdict.rule), verdict.holds));
            }
            Ok(tally)
        }
        Tier::Deny => deny::run(repo),
        Tier::Unit
        | Tier::Contract
        | Tier::Crash
        | Tier::Privileged
        | Tier::Conformance
        | Tier::Vm => {
            bail!("{} runs executables", tier.name())
        }
    }
}

/// The tiers that run executables.
fn run_tests(repo: &Repo, tiers: &[Tier]) -> Result<Vec<TierReport>> {
    ui::heading("build");
    let started = Instant::now();
    let mut reports = Vec::new();
    let executables = match build::build(repo, &[]) {
        Ok(executables) => executables,
        Err(error) => {
            let tally = broken("build", &error);
            return Ok(vec![TierReport { tier: Tier::Unit, tally, time: started.elapsed() }]);
        }
    };
    let temp = temp::create()?;
    let asked = tiers.contains(&Tier::Conformance) || tiers.contains(&Tier::Vm);
    let peers = if asked { Some(peers::ensure(repo)?) } else { None };
    for tier in tiers.iter().copied().filter(|tier| tier.runs_executables()) {
        if executables.iter().all(|executable| executable.tests(tier).is_empty()) {
            continue;
        }
        ui::heading(tier.name());
        let started = Instant::now();
        let tally = run_tier(repo, tier, &executables, &temp.join(tier.name()), peers.as_deref())
            .unwrap_or_else(|error| broken(tier.name(), &error));
        reports.push(TierReport { tier, tally, time: started.elapsed() });
    }
    // Empty, unless a tier's folder could not be cleared; that has been said then.
    if let Err(error) = fs::remove_dir(&temp) {
        println!("{}", ui::red(&format!("{} stays: {error}", temp.display())));
    }
    Ok(reports)
}

fn run_tier(
    repo: &Repo,
    tier: Tier,
    executables: &[Executable],
    temp: &Path,
    peers: Option<&Path>,
) -> Result<Tally> {
    fs::create_dir(temp).with_context(|| format!("cannot create {}", temp.display()))?;
    let mut tally = Tally::default();
    if let (Tier::Vm, Some(peers)) = (tier, peers) {
        tally.add(vm::tier(executables, temp, peers)?);
    }
    for executable in executables.iter().filter(|_| tier != Tier::Vm) {
        let tests = executable.tests(tier);
        if tests.is_empty() {
            continue;
        }
        println!("\n$ {} ({} tests)", executable.label, tests.len());
        let mut command = executable.command(tier, temp);
        command.envs(peers.map(peers::environment));
        let mut outcome = run::run(&mut command, &executable.label, Some(tests))?;
        run_again(executable, tests, &mut outcome, temp, peers)?;
        tally.add(outcome);
    }
    if tier == Tier::Unit {
        tally.add(run_doc_tests(repo, temp)?);
    }
    let left = leftovers::find(temp)?;
    for leftover in &left {
        println!("{}", ui::red(&format!("left behind: {leftover}")));
        tally.failed.push(format!("{} left behind: {leftover}", tier.name()));
    }
    leftovers::clear(temp, &left)?;
    Ok(tally)
}

/// How many failed tests of one executable are tried again. More are no accident.
pub(crate) const SECOND_TRIES: usize = 3;

/// Runs tests that failed once more, by themselves. One that passes then is told as flaky: on a small
/// machine with everything at work a test can run out of its time, and that is worth a look but no
/// reason to refuse a change.
fn run_again(
    executable: &Executable,
    tests: &[String],
    outcome: &mut Tally,
    temp: &Path,
    peers: Option<&Path>,
) -> Result<()> {
    let label = &executable.label;
    let named = |test: &String| format!("{label} {test}");
    let failed: Vec<String> =
        tests.iter().filter(|test| outcome.failed.contains(&named(test))).cloned().collect();
    if failed.is_empty() || failed.len() > SECOND_TRIES {
        return Ok(());
    }
    println!("\n{}", ui::yellow(&format!("$ {label}, again: {}", failed.join(" "))));
    let mut command = executable.again(&failed, temp);
    command.envs(peers.map(peers::environment));
    let second = run::run(&mut command, label, Some(&failed))?;
    outcome.take_second_run(&failed.iter().map(named).collect::<Vec<_>>(), &second);
    Ok(())
}

/// Examples in the documentation, which only cargo can build.
fn run_doc_tests(repo: &Repo, temp: &Path) -> Result<Tally> {
    let mut command = repo.cargo();
    command.args(["test", "--quiet", "--workspace", "--doc", "--no-fail-fast"]);
    println!();
    process::echo(&command);
    command.stderr(Stdio::inherit()).env("TMPDIR", temp);
    run::run(&mut command, "doc", None)
}

/// A tier that could not even run.
fn broken(name: &str, error: &anyhow::Error) -> Tally {
    println!("{}", ui::red(&format!("{name}: {error:#}")));
    Tally::of_check(&format!("{name}: {error:#}"), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options> {
        Options::parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn without_arguments_everything_runs_but_the_guest() {
        let options = parse(&[]).unwrap();
        assert_eq!(options.tiers, Tier::ALL[..Tier::ALL.len() - 1]);
        assert!(options.install && options.by_default);
    }

    #[test]
    fn named_tiers_run_once_and_in_order() {
        let options = parse(&["--tier", "unit", "--tier=fmt", "--tier", "unit", "--no-install"]);
        let some =
            Options { tiers: vec![Tier::Fmt, Tier::Unit], install: false, by_default: false };
        assert_eq!(options.unwrap(), some);
    }

    #[test]
    fn nonsense_is_refused() {
        for args in [&["--tier"][..], &["--tier", "x"], &["unit"], &["--no-install=1"]] {
            assert!(parse(args).is_err(), "{args:?}");
        }
    }
}
