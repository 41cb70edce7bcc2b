//! Progress on its way to a client: the last word on each part, for as long as the client has not
//! taken it. A client that reads slowly, or not at all, holds up nothing and makes nothing grow.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lamina_api::convert::{any, transfer};
use lamina_core::Result;
use lamina_core::transfer::{Progress, ProgressSink};
use tokio::sync::Notify;

use crate::streams::Stream;

/// How many words wait at most. Words on known parts replace each other, so that only parts count; a
/// word too many is forgotten.
const WORDS: usize = 20_000;

/// How long a client may take for the last words once the work is done.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Words that wait for their client.
#[derive(Debug, Default)]
pub(crate) struct Board {
    words: Mutex<Words>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Words {
    /// By when they, or what they replaced, were said: parents come before what belongs to them.
    waiting: BTreeMap<u64, Progress>,
    /// The words on parts, by name.
    parts: HashMap<String, u64>,
    said: u64,
}

impl ProgressSink for Board {
    fn send(&self, progress: Progress) {
        self.lock().put(progress);
        self.news.notify_one();
    }
}

impl Words {
    fn put(&mut self, progress: Progress) {
        if let Some(waiting) =
            self.parts.get(&progress.name).and_then(|place| self.waiting.get_mut(place))
        {
            *waiting = progress;
            return;
        }
        if self.waiting.len() >= WORDS {
            return;
        }
        self.said += 1;
        if !progress.name.is_empty() {
            self.parts.insert(progress.name.clone(), self.said);
        }
        self.waiting.insert(self.said, progress);
    }

    fn take(&mut self) -> Option<Progress> {
        let (_, progress) = self.waiting.pop_first()?;
        self.parts.remove(&progress.name);
        Some(progress)
    }
}

impl Board {
    /// Does `work`, and meanwhile hands its words to the client.
    pub(crate) async fn tell<T>(
        &self,
        stream: &Stream,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let telling = async {
            loop {
                if self.hand_over(stream).await.is_err() {
                    // The client does not want to know.
                    return std::future::pending().await;
                }
                self.news.notified().await;
            }
        };
        let done = tokio::select! {
            done = work => done,
            () = telling => Err(lamina_core::Error::internal("progress ended")),
        };
        let last = async {
            self.hand_over(stream).await?;
            stream.taken().await
        };
        // Who has gone, or does not read, has missed them.
        let _ = tokio::time::timeout(LAST_WORDS, last).await;
        done
    }

    /// Hands over what waits. Dropped half-way, it loses nothing.
    async fn hand_over(&self, stream: &Stream) -> Result<()> {
        while !self.lock().waiting.is_empty() {
            let room = stream.room().await?;
            let Some(progress) = self.lock().take() else { break };
            room.send(any::pack(&transfer::encode_progress(progress)));
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lamina_core::transfer::Stage;

    fn part(name: &str, stage: Stage, done: u64) -> Progress {
        Progress { name: name.to_owned(), done, ..Progress::whole(stage) }
    }

    #[test]
    fn the_last_word_on_a_part_takes_the_place_of_the_first() {
        let board = Board::default();
        board.send(Progress::whole(Stage::Pulling("x".to_owned())));
        board.send(part("a", Stage::Waiting, 0));
        board.send(part("b", Stage::Waiting, 0));
        for done in 0..100_000 {
            board.send(part("a", Stage::Downloading, done));
        }
        board.send(Progress::whole(Stage::CompletedPull("x".to_owned())));
        let mut words = board.lock();
        let said: Vec<String> = std::iter::from_fn(|| words.take())
            .map(|word| format!("{} {} {}", word.name, word.stage, word.done))
            .collect();
        let wanted =
            [" Pulling from x 0", "a downloading 99999", "b waiting 0", " Completed pull from x 0"];
        assert_eq!(said, wanted);
        assert!(words.parts.is_empty());
    }

    #[test]
    fn what_is_never_read_does_not_grow() {
        let board = Board::default();
        for n in 0..WORDS + 5 {
            board.send(part(&n.to_string(), Stage::Waiting, 0));
        }
        let words = board.lock();
        assert_eq!((words.waiting.len(), words.parts.len()), (WORDS, WORDS));
    }
}
