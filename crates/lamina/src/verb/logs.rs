//! `lamina logs`

use std::collections::VecDeque;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use lamina_core::task::ProcessId;
use lamina_core::{Error, Result};

use super::tasks::Tasks;
use super::tasks::log::follow::Follower;
use super::tasks::log::{Entry, Stream};
use super::tasks::place::Place;
use super::tasks::pump;
use crate::cli::{Context, until_interrupted};
use crate::out::parse_duration;

/// Shows what a container that was left running has written
///
/// Its standard output goes to ours, and its errors to ours. The latest 16 to 32 MiB are kept until the
/// container is removed.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Go on with what is written, until the container's program ends
    #[arg(long, short)]
    follow: bool,
    /// Only so many lines at the end; `all` for all
    #[arg(long, value_name = "LINES", default_value = "all", value_parser = tail)]
    tail: Tail,
    /// Only what was written since a time, or for so long, such as 10m
    #[arg(long, value_name = "TIME", value_parser = since)]
    since: Option<Timestamp>,
    /// Show when each line was written
    #[arg(long, short)]
    timestamps: bool,
    /// The container
    #[arg(value_name = "ID")]
    id: String,
}

/// How many lines; none for all.
#[derive(Clone, Copy, Debug)]
struct Tail(Option<usize>);

fn tail(text: &str) -> Result<Tail> {
    if text == "all" {
        return Ok(Tail(None));
    }
    let bad = |_| Error::invalid_argument(format!("{text:?} is no number of lines"));
    text.parse().map(|lines| Tail(Some(lines))).map_err(bad)
}

fn since(text: &str) -> Result<Timestamp> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago: Duration = parse_duration(text)?;
    let before = Timestamp::now().checked_sub(ago);
    before.map_err(|error| Error::invalid_argument(format!("{text:?} ago")).with_source(error))
}

impl Logs {
    pub(crate) async fn run(self, cx: &mut Context<'_>) -> Result<()> {
        let place = {
            let session = cx.connect().await?;
            session.containers(&cx.scope()).get(&self.id).await?;
            Place::of(cx, &session, &self.id).await?
        };
        let failed = |error| Error::internal("read the log").with_source(error);
        let mut reader = place.open_log()?;
        let mut shown = Shown { timestamps: self.timestamps, inside: [false; 2] };
        let (mut last, mut lines) = (VecDeque::new(), 0);
        while let Some(entry) = reader.next().map_err(failed)? {
            if entry.is_mark() || self.since.is_some_and(|since| entry.time < since) {
                continue;
            }
            let Tail(Some(tail)) = self.tail else {
                shown.show(cx, &entry)?;
                continue;
            };
            lines += usize::from(entry.log.ends_with('\n'));
            last.push_back(entry);
            while lines > tail {
                let gone: Option<Entry> = last.pop_front();
                lines -= usize::from(gone.is_some_and(|entry| entry.log.ends_with('\n')));
            }
        }
        for entry in &last {
            shown.show(cx, entry)?;
        }
        cx.out.finish()?;
        if !self.follow {
            return Ok(());
        }
        let stop = pump::stop()?;
        let stopped = stop.stopped();
        let (tell, mut told) = tokio::sync::mpsc::channel(16);
        let mut follower = Follower::new(place, reader);
        let end = follower.end();
        let tasks = Tasks::reach(cx).await?;
        // joined: below, or it ends with its stop
        let reading = tokio::task::spawn_blocking(move || {
            follower.each(&stopped, |entry| tell.blocking_send(entry).is_ok())
        });
        let ended = async {
            // One that is not there has ended, too.
            let _ = tasks.service.wait(&ProcessId::init(&self.id)).await;
            end.tell();
            std::future::pending().await
        };
        let showing = until_interrupted("logs", async {
            while let Some(entry) = told.recv().await {
                shown.show(cx, &entry)?;
                cx.out.finish()?;
                if !cx.out.is_read() {
                    return Ok(());
                }
            }
            Ok(())
        });
        let shown = tokio::select! {
            shown = showing => shown,
            never = ended => never,
        };
        tasks.close().await;
        drop((stop, told));
        shown?;
        reading.await.unwrap_or(Ok(())).map_err(failed)
    }
}

/// What was shown, as far as it matters to what comes.
struct Shown {
    timestamps: bool,
    /// Whether a line of a stream waits for its end.
    inside: [bool; 2],
}

impl Shown {
    fn show(&mut self, cx: &mut Context<'_>, entry: &Entry) -> Result<()> {
        let mut text = String::new();
        let inside = &mut self.inside[usize::from(entry.stream == Stream::Stderr)];
        if self.timestamps && !*inside {
            text = format!("{} ", entry.time);
        }
        *inside = !entry.log.ends_with('\n');
        text.push_str(&entry.log);
        match entry.stream {
            Stream::Stdout => cx.out.bytes(text.as_bytes()),
            Stream::Stderr => {
                // In the order in which it was written, as far as two streams have one.
                cx.out.finish()?;
                eprint!("{text}");
                Ok(())
            }
        }
    }
}
