//! Runs one program whose output is that of Rust's test harness, and shows and counts it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::output::Reader;
use super::report::Tally;

/// How long one executable may take. A test that hangs must end the run with its name in the log.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// How long output is waited for after the program has ended: a process it left behind may hold
/// the pipe open for ever.
const GRACE: Duration = Duration::from_secs(2);

/// Runs `command`, shows its output as it comes, and returns what became of its tests. `label` and
/// `planned` are as for [`Reader::new`].
pub(crate) fn run(command: &mut Command, label: &str, planned: Option<&[String]>) -> Result<Tally> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {label}"))?;
    let mut reader = Reader::new(label, planned);
    let end = follow(child, LIMIT, |line| {
        if reader.line(line) {
            println!("{line}");
        }
    })?;
    Ok(reader.finish(end))
}

/// Hands every line of the child's output to `each` until it ends; says how, if not well.
pub(crate) fn follow(
    mut child: Child,
    limit: Duration,
    mut each: impl FnMut(&str),
) -> Result<Option<String>> {
    let (sender, lines) = channel();
    read_into(&sender, child.stdout.take());
    read_into(&sender, child.stderr.take());
    drop(sender);
    let started = Instant::now();
    let mut killed = false;
    let status = loop {
        if let Some(status) = child.try_wait().context("cannot wait for a test")? {
            break status;
        }
        if started.elapsed() > limit && !killed {
            child.kill().context("cannot kill a test")?;
            killed = true;
        }
        match lines.recv_timeout(Duration::from_millis(20)) {
            Ok(line) => each(&line),
            Err(RecvTimeoutError::Timeout) => {}
            // Both pipes are closed: the end is near, and nothing is left to read.
            Err(RecvTimeoutError::Disconnected) => thread::sleep(Duration::from_millis(5)),
        }
    };
    drain(&lines, each);
    Ok(describe(status, killed.then_some(limit)))
}

fn drain(lines: &Receiver<String>, mut each: impl FnMut(&str)) {
    let deadline = Instant::now() + GRACE;
    while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        each(&line);
    }
}

/// Reads on a thread of its own, which ends with the pipe.
fn read_into(lines: &Sender<String>, pipe: Option<impl Read + Send + 'static>) {
    let (Some(pipe), lines) = (pipe, lines.clone()) else { return };
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                return;
            }
        }
    });
}

fn describe(status: ExitStatus, limit: Option<Duration>) -> Option<String> {
    match limit {
        Some(limit) => Some(format!("was killed after {} s", limit.as_secs())),
        None if status.success() => None,
        None => Some(format!("ended with {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> (Vec<String>, Option<String>) {
        let mut lines = Vec::new();
        let child = Command::new("sh")
            .args(["-c", script])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let end = follow(child, limit, |line| lines.push(line.to_owned())).unwrap();
        lines.sort();
        (lines, end)
    }

    #[test]
    fn both_outputs_are_read_to_the_end() {
        let (lines, end) = shell("echo one; echo two >&2; printf three", LIMIT);
        assert_eq!(lines, ["one", "three", "two"]);
        assert_eq!(end, None);
    }

    #[test]
    fn an_unhappy_end_is_described() {
        assert!(shell("exit 3", LIMIT).1.unwrap().contains("exit status: 3"));
        assert!(shell("kill -9 $$", LIMIT).1.unwrap().contains("signal: 9"));
    }

    #[test]
    fn what_hangs_is_killed() {
        let (lines, end) = shell("echo before; exec sleep 60", Duration::from_millis(300));
        assert_eq!(lines, ["before"]);
        assert!(end.unwrap().contains("killed"));
    }

    #[test]
    fn a_process_left_behind_with_our_pipe_does_not_hold_us_up() {
        let started = Instant::now();
        let (lines, end) = shell("sleep 60 & echo $!", LIMIT);
        assert!(started.elapsed() < Duration::from_secs(30));
        assert_eq!(end, None);
        // The shell's own: the program is in a package that a bare machine lacks.
        let kill = format!("kill {}", lines.join(" "));
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }
}
