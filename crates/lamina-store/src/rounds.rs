//! Work that many callers want at once and one of them does for all: rounds.
//!
//! Who arrives while a round runs joins the next one, because the running one may have begun before
//! what the caller did. One caller of a round leads it, on its own thread; the others wait.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use lamina_core::{Error, Kind, Result};

/// Rounds of work over a batch `B` that all members add to, with one answer `R` for all.
#[derive(Debug)]
pub(crate) struct Rounds<B, R> {
    state: Mutex<State<B, R>>,
}

#[derive(Debug)]
struct State<B, R> {
    /// What the next round will do, for how many, and its number.
    batch: B,
    members: usize,
    round: u64,
    /// Its members wait here, and nobody else: a round that ends wakes its own members, and of the next
    /// one only who is to lead it.
    bell: Arc<Condvar>,
    running: bool,
    /// Answers that some members of a round have not fetched yet.
    answers: Vec<Answer<R>>,
}

#[derive(Debug)]
struct Answer<R> {
    round: u64,
    left: usize,
    result: Result<R, (Kind, String)>,
}

impl<B: Default, R: Clone> Rounds<B, R> {
    /// Joins the next round: `add` puts the caller's part into its batch, and `run` does the batch if
    /// the caller leads.
    ///
    /// # Errors
    /// `run`'s own error, for every member: the parts cannot be told apart.
    pub(crate) fn join(
        &self,
        add: impl FnOnce(&mut B),
        run: impl FnOnce(B) -> Result<R>,
    ) -> Result<R> {
        let mut state = self.lock();
        add(&mut state.batch);
        state.members += 1;
        let mine = state.round;
        let bell = Arc::clone(&state.bell);
        let mut run = Some(run);
        loop {
            if let Some(answer) = take(&mut state.answers, mine) {
                return answer.map_err(|(kind, message)| Error::new(kind, message));
            }
            match run.take_if(|_| !state.running) {
                Some(run) => state = self.lead(state, run),
                None => state = bell.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Does the waiting batch as round `state.round`, which is the caller's.
    fn lead<'a>(
        &'a self,
        mut state: MutexGuard<'a, State<B, R>>,
        run: impl FnOnce(B) -> Result<R>,
    ) -> MutexGuard<'a, State<B, R>> {
        let batch = std::mem::take(&mut state.batch);
        let left = std::mem::take(&mut state.members);
        let round = state.round;
        let bell = std::mem::take(&mut state.bell);
        state.round += 1;
        state.running = true;
        drop(state);
        // A leader that panics must not leave the others waiting for ever.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(batch)))
            .unwrap_or_else(|_| Err(Error::internal("the round's leader panicked")))
            .map_err(|error| (error.kind(), error.chain()));
        let mut state = self.lock();
        state.answers.push(Answer { round, left, result });
        state.running = false;
        bell.notify_all();
        state.bell.notify_one();
        state
    }

    fn lock(&self) -> MutexGuard<'_, State<B, R>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: Default, R> Default for Rounds<B, R> {
    fn default() -> Self {
        Rounds {
            state: Mutex::new(State {
                batch: B::default(),
                members: 0,
                round: 0,
                bell: Arc::default(),
                running: false,
                answers: Vec::new(),
            }),
        }
    }
}

fn take<R: Clone>(answers: &mut Vec<Answer<R>>, round: u64) -> Option<Result<R, (Kind, String)>> {
    let at = answers.iter().position(|answer| answer.round == round)?;
    answers[at].left -= 1;
    if answers[at].left == 0 {
        return Some(answers.swap_remove(at).result);
    }
    Some(answers[at].result.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    #[test]
    fn many_callers_few_rounds_nobody_lost() {
        let rounds = Arc::new(Rounds::<Vec<usize>, usize>::default());
        let (ran, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..64)
            .map(|n| {
                let (rounds, ran, seen) = (rounds.clone(), ran.clone(), seen.clone());
                std::thread::spawn(move || {
                    let size = rounds.join(
                        |batch| batch.push(n),
                        |batch| {
                            ran.fetch_add(1, Ordering::SeqCst);
                            seen.fetch_add(batch.len(), Ordering::SeqCst);
                            std::thread::sleep(Duration::from_millis(20));
                            Ok(batch.len())
                        },
                    );
                    assert!(size.unwrap() >= 1);
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(seen.load(Ordering::SeqCst), 64);
        assert!(ran.load(Ordering::SeqCst) < 32, "{ran:?} rounds");
        assert!(rounds.lock().answers.is_empty());
    }

    #[test]
    fn an_error_and_a_panic_reach_their_round_only() {
        let rounds = Rounds::<(), ()>::default();
        let error = rounds.join(|()| (), |()| Err(Error::data_loss("write-back"))).unwrap_err();
        assert_eq!(error.kind(), Kind::DataLoss);
        assert_eq!(rounds.join(|()| (), |()| panic!("no")).unwrap_err().kind(), Kind::Internal);
        rounds.join(|()| (), |()| Ok(())).unwrap();
    }
}
