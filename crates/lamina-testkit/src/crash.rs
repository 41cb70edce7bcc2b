//! Cutting an operation short at every step it reaches, by an error and by `SIGKILL`.
//!
//! A scenario prepares a directory, acts on it with a [`Listener`] that the code under test calls at
//! each of its named steps, and checks what is left. The harness first records the steps of an uncut
//! run. Then, for each step and fault, it starts over with a fresh directory: an error is injected in
//! this process, a kill in a child, which is this test binary again, asked for the same test.
//!
//! ```text
//! #[test]
//! fn commit_survives_a_cut_at_every_step() {
//!     crash::at_every_step(&Scenario {
//!         test: "commit_survives_a_cut_at_every_step",   // as libtest lists it
//!         prepare: &|dir| seed(&open(dir, Steps::none())),
//!         act: &|dir, listener| commit(&open(dir, watched(listener))),
//!         check: &|dir, cut| { /* reopen, fsck, the same call succeeds */ },
//!     });
//! }
//! ```
//!
//! `act` must be deterministic in the steps it reaches, and everything it opens must be closed when
//! it returns. Mounts and loop devices a killed child leaves are for `check` to undo.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use lamina_core::{Error, Kind, Result};

/// An operation to cut short.
#[allow(missing_debug_implementations)] // Closures have nothing to show.
pub struct Scenario<'a> {
    /// The calling test's name as libtest knows it, with its modules (`tests::name`).
    pub test: &'a str,
    /// Fills the fresh directory. Nothing is cut here.
    pub prepare: &'a dyn Fn(&Path),
    /// Opens what is in the directory with the listener and runs the operation.
    pub act: &'a dyn Fn(&Path, Listener) -> Result<()>,
    /// Reopens and checks, by panicking, what the cut left. Not called for the uncut run.
    pub check: &'a dyn Fn(&Path, &Cut),
}

/// Where and how a run was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The step.
    pub step: String,
    /// Which of the times the step was reached, from 1.
    pub time: u32,
    /// What happened there.
    pub fault: Fault,
    /// What `act` answered. `None` when it was killed.
    pub answer: Option<std::result::Result<(), Kind>>,
}

/// What happens at the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process is gone.
    Kill,
    /// The step fails with an error of this class, once.
    Fails(Kind),
}

/// What every scenario is put through: a kill, an error, a full disk.
pub const FAULTS: [Fault; 3] =
    [Fault::Kill, Fault::Fails(Kind::Internal), Fault::Fails(Kind::ResourceExhausted)];

/// What the code under test calls at its steps.
#[derive(Clone, Debug)]
pub struct Listener(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    reached: Vec<(&'static str, u32)>,
    cut: Option<(String, u32, Fault)>,
    hit: bool,
}

impl Listener {
    /// Records steps and cuts none.
    pub fn recording() -> Self {
        Listener(Arc::default())
    }

    /// Cuts at the given time of a step.
    pub fn cutting(step: &str, time: u32, fault: Fault) -> Self {
        let state = State { cut: Some((step.to_owned(), time, fault)), ..State::default() };
        Listener(Arc::new(Mutex::new(state)))
    }

    /// A step was reached.
    ///
    /// # Errors
    /// The error to inject.
    pub fn reach(&self, step: &'static str) -> Result<()> {
        let mut state = self.lock();
        let time = 1 + state.reached.iter().filter(|(name, _)| *name == step).count() as u32;
        state.reached.push((step, time));
        let fault = match &state.cut {
            Some((name, at, fault)) if name == step && *at == time => *fault,
            _ => return Ok(()),
        };
        state.hit = true;
        match fault {
            Fault::Fails(kind) => Err(Error::new(kind, format!("injected at {step}"))),
            Fault::Kill => {
                let pid = rustix::process::getpid();
                // The signal is pending before the call returns; the loop is never seen.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                loop {
                    std::thread::park();
                }
            }
        }
    }

    /// The steps reached so far, in order, each with which time it was.
    pub fn reached(&self) -> Vec<(&'static str, u32)> {
        self.lock().reached.clone()
    }

    fn hit(&self) -> bool {
        self.lock().hit
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the scenario once uncut and once for each step it reached and each of [`FAULTS`]. Returns
/// the steps, so that a test can say that those it is about were among them.
///
/// # Panics
/// When the uncut run fails, when a step is not reached again, and when a check panics; the message
/// names the cut.
pub fn at_every_step(scenario: &Scenario<'_>) -> Vec<(&'static str, u32)> {
    with_faults(scenario, &FAULTS)
}

/// [`at_every_step`] with these faults only.
///
/// # Panics
/// As there.
pub fn with_faults(scenario: &Scenario<'_>, faults: &[Fault]) -> Vec<(&'static str, u32)> {
    if let Some(order) = Order::given(scenario.test) {
        order.carry_out(scenario);
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    (scenario.prepare)(dir.path());
    let recorder = Listener::recording();
    (scenario.act)(dir.path(), recorder.clone()).expect("the uncut run");
    let steps = recorder.reached();
    assert!(!steps.is_empty(), "{}: no step was reached", scenario.test);
    for &fault in faults {
        for &(step, time) in &steps {
            let dir = tempfile::tempdir().expect("a temporary directory");
            (scenario.prepare)(dir.path());
            let answer = match fault {
                Fault::Kill => {
                    kill_at(scenario.test, dir.path(), step, time);
                    None
                }
                Fault::Fails(_) => {
                    let listener = Listener::cutting(step, time, fault);
                    let answer = (scenario.act)(dir.path(), listener.clone());
                    assert!(listener.hit(), "{}: {step} ({time}) not reached", scenario.test);
                    Some(answer.map_err(|error| error.kind()))
                }
            };
            let cut = Cut { step: step.to_owned(), time, fault, answer };
            let _context = Context(format!("{}: {cut}", scenario.test));
            (scenario.check)(dir.path(), &cut);
        }
    }
    steps
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {} (time {})", self.fault, self.step, self.time)?;
        match &self.answer {
            None => Ok(()),
            Some(Ok(())) => write!(f, ", answered ok"),
            Some(Err(kind)) => write!(f, ", answered {kind}"),
        }
    }
}

/// What a child is told to do.
struct Order {
    dir: PathBuf,
    step: String,
    time: u32,
}

/// Test, directory, step and time, one a line.
const ORDER: &str = "LAMINA_TESTKIT_CRASH";

impl Order {
    fn given(test: &str) -> Option<Order> {
        let text = std::env::var(ORDER).ok()?;
        let mut lines = text.lines();
        let (name, dir, step, time) = (lines.next()?, lines.next()?, lines.next()?, lines.next()?);
        let order = Order { dir: dir.into(), step: step.to_owned(), time: time.parse().ok()? };
        (name == test).then_some(order)
    }

    /// Runs the operation until the kill. Coming back from it means that the step was not reached.
    fn carry_out(&self, scenario: &Scenario<'_>) -> ! {
        let listener = Listener::cutting(&self.step, self.time, Fault::Kill);
        let answer = (scenario.act)(&self.dir, listener);
        eprintln!("not killed, answered {answer:?}");
        std::process::exit(3)
    }
}

fn kill_at(test: &str, dir: &Path, step: &str, time: u32) {
    let program = std::env::current_exe().expect("this test binary");
    let dir_text = dir.to_str().expect("temporary directories are UTF-8");
    let output = Command::new(program)
        .args(["--exact", test, "--nocapture", "--include-ignored"])
        .env(ORDER, [test, dir_text, step, &time.to_string()].join("\n"))
        .stdin(Stdio::null())
        .output()
        .expect("start a child");
    assert_eq!(
        output.status.signal(),
        Some(rustix::process::Signal::KILL.as_raw()),
        "{test}: the child for {step} ({time}) was not killed there: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
}

/// Says what was going on when a check panics.
struct Context(String);

impl Drop for Context {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("while checking {}", self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// Writes a file in two steps; `safe` renames, otherwise the file is there half.
    fn write(dir: &Path, listener: &Listener, safe: bool) -> Result<()> {
        let (temp, file) = (dir.join("temp"), dir.join("file"));
        let first = if safe { &temp } else { &file };
        fs::write(first, "ha").unwrap();
        listener.reach("half")?;
        fs::write(first, "half and half").unwrap();
        listener.reach("whole")?;
        if safe {
            fs::rename(&temp, &file).unwrap();
        }
        Ok(())
    }

    fn whole_or_absent(dir: &Path) {
        let text = fs::read_to_string(dir.join("file")).ok();
        assert!(text.is_none() || text.as_deref() == Some("half and half"), "{text:?}");
    }

    #[test]
    fn a_safe_writer_passes() {
        let steps = at_every_step(&Scenario {
            test: "crash::tests::a_safe_writer_passes",
            prepare: &|dir| fs::write(dir.join("prepared"), "").unwrap(),
            act: &|dir, listener| write(dir, &listener, true),
            check: &|dir, cut| {
                assert!(dir.join("prepared").exists());
                let told = match cut.fault {
                    Fault::Kill => None,
                    Fault::Fails(kind) => Some(Err(kind)),
                };
                assert_eq!(cut.answer, told);
                whole_or_absent(dir);
                write(dir, &Listener::recording(), true).unwrap();
            },
        });
        assert_eq!(steps, [("half", 1), ("whole", 1)]);
    }

    #[test]
    fn an_unsafe_writer_is_caught() {
        for fault in FAULTS {
            let caught = std::panic::catch_unwind(|| {
                with_faults(
                    &Scenario {
                        test: "crash::tests::an_unsafe_writer_is_caught",
                        prepare: &|_| {},
                        act: &|dir, listener| write(dir, &listener, false),
                        check: &|dir, _| whole_or_absent(dir),
                    },
                    &[fault],
                )
            });
            assert!(caught.is_err(), "{fault:?}");
        }
    }
}
