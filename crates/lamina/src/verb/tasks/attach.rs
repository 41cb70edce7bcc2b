//! Being attached to a process: its output is ours, our input and signals are its, until it ends or
//! its user lets go of it.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use lamina_core::task::{Exit, ProcessId};
use lamina_core::{Error, Result};
use tokio::sync::oneshot;

use super::Tasks;
use super::fifos::Fifos;
use super::forward::{Heard, Signals};
use super::keys::Keys;
use super::log::follow::{End, Follower};
use super::pump::{self, Ended, Progress, Stop};
use super::terminal::{self, Raw};

/// How long output may rest, when the process has ended, before it is taken for all: children that it
/// left behind may keep the streams.
const REST: Duration = Duration::from_secs(3);

/// Streams of a process on their way.
#[derive(Debug)]
pub(in crate::verb) struct Attached {
    outputs: Vec<JoinHandle<()>>,
    input: Option<JoinHandle<()>>,
    ended: Option<oneshot::Receiver<Ended>>,
    progress: Arc<Progress>,
    terminal: bool,
    raw: Option<Raw>,
    log: Option<End>,
    stop: Stop,
    /// They go with this, unless somebody is to come back to them.
    fifos: Fifos,
}

impl Attached {
    /// Begins to copy, once a shim has been told of the FIFOs. With a terminal and input, ours is raw
    /// from now on, and `keys` let go of the process.
    ///
    /// # Errors
    /// FailedPrecondition if the terminal that there has to be is none.
    pub(in crate::verb) fn begin(mut fifos: Fifos, keys: Option<Keys>) -> Result<Attached> {
        let stop = pump::stop()?;
        let stopped = stop.stopped();
        let terminal = fifos.stdio().terminal;
        let raw = match terminal && fifos.stdin.is_some() {
            true => Some(Raw::enter()?),
            false => None,
        };
        let keys = keys.filter(|_| terminal);
        let progress = Arc::new(Progress::default());
        let mut outputs = Vec::new();
        if let Some(out) = fifos.stdout.take() {
            outputs.push(pump::pour(out, std::io::stdout(), stopped.clone(), progress.clone()));
        }
        if let Some(err) = fifos.stderr.take() {
            outputs.push(pump::pour(err, std::io::stderr(), stopped.clone(), progress.clone()));
        }
        let fed = fifos.stdin.take().map(|stdin| pump::feed(stdin, keys, stopped));
        let (input, ended) = fed.unzip();
        Ok(Attached { outputs, input, ended, progress, terminal, raw, log: None, stop, fifos })
    }

    /// Copies from a log, too.
    pub(in crate::verb) fn with_log(mut self, log: Follower) -> Attached {
        let (stopped, progress) = (self.stop.stopped(), self.progress.clone());
        self.log = Some(log.end());
        self.outputs.push(log.copy(stopped, progress));
        self
    }

    /// Lets the FIFOs stay.
    pub(in crate::verb) fn keep(&mut self) {
        self.fifos.keep();
    }

    /// Makes the process's terminal as large as ours. One that has ended does not mind.
    pub(in crate::verb) async fn resize(&self, tasks: &Tasks, process: &ProcessId) {
        let Some((width, height)) = terminal::size().filter(|_| self.terminal) else { return };
        if let Err(error) = tasks.service.resize_pty(process, width, height).await {
            tracing::debug!(%process, error = %error.chain(), "its terminal keeps its size");
        }
    }

    /// Waits for the end of a process that was started, and passes on the signals and the sizes that
    /// this one gets. None when its user let go of it.
    ///
    /// # Errors
    /// Those of waiting for it.
    pub(in crate::verb) async fn attend(
        &mut self,
        tasks: &Tasks,
        process: &ProcessId,
        signals: &mut Signals,
    ) -> Result<Option<Exit>> {
        let mut exit = tasks.service.wait(process);
        loop {
            let ended = &mut self.ended;
            let input = async {
                match ended {
                    Some(ended) => ended.await.unwrap_or(Ended::Stopped),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                exit = &mut exit => return exit.map(Some),
                heard = signals.next() => match heard {
                    Heard::Resized => self.resize(tasks, process).await,
                    Heard::Signal(number) => {
                        if let Err(error) = tasks.signal(process, number).await {
                            eprintln!("warning: {}\r", error.chain());
                        }
                    }
                },
                how = input => {
                    self.ended = None;
                    match how {
                        Ended::Detached => return Ok(None),
                        // A terminal has no end that could be passed on.
                        Ended::Input if !self.terminal => close_input(tasks, process).await,
                        Ended::Input | Ended::Stopped => {}
                    }
                }
            }
        }
    }

    /// Waits until all that was written is copied, up to what is kept back by somebody else. The
    /// terminal is as it was then.
    ///
    /// # Errors
    /// Internal when a thread broke off.
    pub(in crate::verb) async fn finish(self, drained: Drain) -> Result<()> {
        let Attached { outputs, input, progress, raw, log, stop, fifos, .. } = self;
        let _fifos = fifos;
        if drained == Drain::All {
            log.iter().for_each(End::tell);
            let mut before = None;
            while !outputs.iter().all(JoinHandle::is_finished) {
                let finished = wait_for(&outputs).await;
                let now = progress.idle_at();
                if !finished && now.is_some() && now == before {
                    break;
                }
                before = now;
            }
        }
        drop(stop);
        drop(raw);
        let threads = outputs.into_iter().chain(input);
        let joined = tokio::task::spawn_blocking(move || {
            // joined: below
            threads.map(JoinHandle::join).filter(std::result::Result::is_err).count()
        });
        match joined.await {
            Ok(0) => Ok(()),
            _ => Err(Error::internal("copying streams broke off")),
        }
    }
}

/// What of the output is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verb) enum Drain {
    /// All: the process has ended.
    All,
    /// Nothing.
    Nothing,
}

/// Waits for threads, for as long as output may rest.
async fn wait_for(threads: &[JoinHandle<()>]) -> bool {
    let step = Duration::from_millis(5);
    let finished = async {
        while !threads.iter().all(JoinHandle::is_finished) {
            tokio::time::sleep(step).await;
        }
    };
    tokio::time::timeout(REST, finished).await.is_ok()
}

async fn close_input(tasks: &Tasks, process: &ProcessId) {
    match tasks.service.close_io(process).await {
        Err(error) if !error.is_not_found() => {
            tracing::warn!(%process, error = %error.chain(), "its input stays open");
        }
        _ => {}
    }
}
