//! `cargo xtask vm`: the tests that need a kernel of their own (`vm_*`), in one.
//!
//! Debian's cloud kernel ([`kernel`]) boots under QEMU's own emulation, which needs no rights and no
//! KVM, from a disk made for the run ([`image`]): busybox, the programs that tests use, and the test
//! executables. The [`guest`] runs them one after the other and prints what they print; it has no
//! network. What the machine lacks for it is a reason to skip the tier.

mod guest;
mod image;
mod kernel;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::repo::Repo;
use crate::test::SECOND_TRIES;
use crate::test::build::{self, Executable};
use crate::test::report::{self, Tally, TierReport};
use crate::test::temp;
use crate::test::tier::Tier;
use crate::{peers, process, setup, ui};

/// How long the guest may take, from its boot to its end.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// What runs in the guest: an executable, and the tests of it.
struct Job<'a> {
    executable: &'a Executable,
    tests: Vec<String>,
}

/// `cargo xtask vm [--package CRATE]... [--whole EXECUTABLE]... [TEST]...`.
pub(crate) fn run(repo: &Repo, args: &[String]) -> Result<ExitCode> {
    let (mut filters, mut whole, mut packages) = (Vec::new(), Vec::new(), Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--whole" => whole.push(args.next().context("--whole needs an executable's label")?),
            "--package" => packages.push(args.next().context("--package needs a crate")?.as_str()),
            arg if arg.starts_with('-') => {
                bail!("cannot make sense of {arg}; try cargo xtask help")
            }
            _ => filters.push(arg),
        }
    }
    setup::ensure(setup::PACKAGES)?;
    ui::heading("build");
    let executables = build::build(repo, &packages)?;
    let mut jobs = Vec::new();
    for executable in &executables {
        let wanted =
            |test: &String| filters.is_empty() || filters.iter().any(|f| test.contains(*f));
        let tests: Vec<String> = if whole.contains(&&executable.label) {
            executable.all_tests().filter(|test| wanted(test)).cloned().collect()
        } else if whole.is_empty() {
            executable.tests(Tier::Vm).iter().filter(|test| wanted(test)).cloned().collect()
        } else {
            Vec::new()
        };
        if !tests.is_empty() {
            jobs.push(Job { executable, tests });
        }
    }
    if jobs.is_empty() {
        bail!("no test matches");
    }
    let temp = temp::create()?;
    let peers = peers::ensure(repo)?;
    ui::heading("vm");
    let started = Instant::now();
    let tally = boot(&jobs, &temp, &peers);
    std::fs::remove_dir_all(&temp).with_context(|| format!("cannot delete {}", temp.display()))?;
    let passed =
        report::print(&[TierReport { tier: Tier::Vm, tally: tally?, time: started.elapsed() }]);
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The tier: every test whose name says so. `temp` is there, and may be filled.
pub(crate) fn tier(executables: &[Executable], temp: &Path, peers: &Path) -> Result<Tally> {
    let jobs: Vec<Job<'_>> = executables
        .iter()
        .map(|executable| Job { executable, tests: executable.tests(Tier::Vm).to_vec() })
        .filter(|job| !job.tests.is_empty())
        .collect();
    boot(&jobs, temp, peers)
}

fn boot(jobs: &[Job<'_>], temp: &Path, peers: &Path) -> Result<Tally> {
    let absent = |error: &anyhow::Error| {
        let reason = format!("{error:#}").lines().collect::<Vec<_>>().join(" ");
        println!("{}", ui::red(&format!("SKIP vm: {reason}")));
        Tally::skip("vm", reason)
    };
    if process::which("qemu-system-x86_64").is_none() {
        return Ok(absent(&anyhow::anyhow!("there is no qemu-system-x86_64")));
    }
    let kernel = match kernel::kernel() {
        Ok(kernel) => kernel,
        Err(error) => return Ok(absent(&error)),
    };
    let mut tally = Tally::default();
    // It takes minutes to compile.
    let asked = jobs.iter().flat_map(|job| &job.tests).any(|test| test.contains("zfs"));
    let zfs = match asked.then(|| kernel::zfs(&kernel)).transpose() {
        Ok(zfs) => zfs,
        Err(error) => {
            let reason = format!("{error:#}").lines().collect::<Vec<_>>().join(" ");
            println!("{}", ui::red(&format!("SKIP vm zfs: {reason}")));
            tally.add(Tally::skip("vm zfs", reason));
            None
        }
    };
    let run = |jobs: &[Job<'_>]| -> Result<Tally> {
        let parts = image::Parts { jobs, kernel: &kernel, zfs: zfs.as_deref(), peers };
        let image = image::make(&parts, temp)?;
        let tally = guest::run(jobs, &kernel, &image, temp, LIMIT)?;
        for file in image.files() {
            std::fs::remove_file(&file)
                .with_context(|| format!("cannot delete {}", file.display()))?;
        }
        Ok(tally)
    };
    let mut outcome = run(jobs)?;
    let (again, names) = failed(jobs, &outcome);
    if (1..=SECOND_TRIES).contains(&names.len()) {
        println!("\n{}", ui::yellow(&format!("again, in a new guest: {}", names.join(", "))));
        let second = run(&again)?;
        outcome.take_second_run(&names, &second);
    }
    tally.add(outcome);
    Ok(tally)
}

/// The tests that failed, as jobs, and as they are called in a tally.
fn failed<'a>(jobs: &[Job<'a>], outcome: &Tally) -> (Vec<Job<'a>>, Vec<String>) {
    let (mut again, mut names) = (Vec::new(), Vec::new());
    for job in jobs {
        let named = |test: &String| format!("{} {test}", job.executable.label);
        let wanted = |test: &&String| outcome.failed.contains(&named(test));
        let tests: Vec<String> = job.tests.iter().filter(wanted).cloned().collect();
        names.extend(tests.iter().map(named));
        if !tests.is_empty() {
            again.push(Job { executable: job.executable, tests });
        }
    }
    (again, names)
}
