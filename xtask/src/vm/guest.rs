//! Boots the guest, and reads what it prints.
//!
//! Its first serial port is the kernel's, and goes to a file that is shown when something went wrong.
//! Its second carries the output of the test executables, between lines that say which one runs.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::Job;
use super::image::Image;
use super::kernel::Kernel;
use crate::process;
use crate::test::output::Reader;
use crate::test::report::Tally;
use crate::test::run::follow;
use crate::ui;

/// How many lines of the kernel's log a failure shows.
const LAST: usize = 60;

pub(super) fn run(
    jobs: &[Job<'_>],
    kernel: &Kernel,
    image: &Image,
    temp: &Path,
    limit: Duration,
) -> Result<Tally> {
    let log = temp.join("console.log");
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-accel", "tcg,thread=multi", "-cpu", "max,la57=off", "-smp", "2", "-m", "2560"]);
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    qemu.arg("-kernel").arg(kernel.folder.join("vmlinuz")).arg("-initrd").arg(&image.initramfs);
    qemu.args(["-append", "console=ttyS0 panic=-1 oops=panic loglevel=5 random.trust_cpu=on"]);
    let disk = format!("file={},format=raw,if=virtio,cache=unsafe", image.disk.display());
    qemu.args(["-drive", &disk]);
    qemu.arg("-serial").arg(format!("file:{}", log.display())).args(["-serial", "stdio"]);
    process::echo(&qemu);
    let child = qemu
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start qemu-system-x86_64")?;
    let mut outputs = Outputs::new(jobs);
    let end = follow(child, limit, |line| outputs.line(line.trim_end_matches('\r')))?;
    let tally = outputs.finish(end);
    let said = fs::read(&log).unwrap_or_default();
    if !tally.failed.is_empty() {
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<&str> = said.lines().collect();
        println!("{}", ui::red("the guest's kernel said:"));
        for line in &lines[lines.len().saturating_sub(LAST)..] {
            println!("{line}");
        }
    }
    if log.exists() {
        fs::remove_file(&log).context("cannot delete the guest's log")?;
    }
    Ok(tally)
}

/// Hands each line to the reader of the executable that runs.
struct Outputs<'a> {
    jobs: &'a [Job<'a>],
    next: usize,
    current: Option<Reader<'a>>,
    tally: Tally,
}

impl<'a> Outputs<'a> {
    fn new(jobs: &'a [Job<'a>]) -> Outputs<'a> {
        Outputs { jobs, next: 0, current: None, tally: Tally::default() }
    }

    fn line(&mut self, line: &str) {
        if let Some(mark) = line.strip_prefix("@@ ") {
            let words: Vec<&str> = mark.split(' ').collect();
            match (words.as_slice(), self.current.take()) {
                (["begin", _], None) => self.begin(),
                (["end", _, code], Some(reader)) => {
                    let end = (*code != "0").then(|| format!("ended with exit status {code}"));
                    self.tally.add(reader.finish(end));
                }
                (_, reader) => self.current = reader,
            }
            return;
        }
        if self.current.as_mut().is_none_or(|reader| reader.line(line)) {
            println!("{line}");
        }
    }

    fn begin(&mut self) {
        let Some(job) = self.jobs.get(self.next) else { return };
        self.next += 1;
        println!("\n$ {} ({} tests)", job.executable.label, job.tests.len());
        self.current = Some(Reader::new(&job.executable.label, Some(&job.tests)));
    }

    /// What was not heard of has failed.
    fn finish(mut self, end: Option<String>) -> Tally {
        let why = end.map_or("the guest ended".to_owned(), |end| format!("the guest {end}"));
        if let Some(reader) = self.current.take() {
            self.tally.add(reader.finish(Some(why.clone())));
        }
        for job in &self.jobs[self.next..] {
            let label = &job.executable.label;
            self.tally.failed.push(format!("{label} never ran in the guest: {why}"));
        }
        self.tally
    }
}
