//! Random operations by several clients at once, against a simple model: every answer must be
//! explained by some order of the operations that respects which ended before which began
//! (linearizability, searched as Wing and Gong do), and at the end of a round rows and disk agree.
//!
//! A round is small, so that the search is; there are many. A failure prints the seed and the history.

// Helpers of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)]

#[path = "support/random.rs"]
mod random;

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use lamina_core::snapshot::{CommitOptions, Kind as Snap};
use lamina_core::{Kind, Labels, Namespace, Result, Scope};
use lamina_store::fsck::FsckOptions;
use lamina_store::snapshot::Handle;
use lamina_store::{Durability, Options, Store};
use random::Random;

const CLIENTS: usize = 4;
const EACH: usize = 6;
const ROUNDS: u64 = 150;
const KEYS: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Prepare(usize, Option<usize>),
    View(usize, Option<usize>),
    Commit { name: usize, key: usize },
    Remove(usize),
    Stat(usize),
    Mounts(usize),
}

/// What a client is told: nothing, a kind of snapshot with its parent, or an error's class.
type Answer = std::result::Result<Option<(Snap, Option<usize>)>, Kind>;

#[derive(Clone, Debug)]
struct Event {
    op: Op,
    answer: Answer,
    began: u64,
    ended: u64,
}

/// The store as it is meant: keys with what they name.
type Model = BTreeMap<usize, (Snap, Option<usize>)>;

/// What the model answers, and what becomes of it.
fn step(model: &Model, op: Op) -> (Answer, Model) {
    let mut next = model.clone();
    let answer = match op {
        Op::Prepare(key, parent) | Op::View(key, parent) => {
            let kind = if matches!(op, Op::Prepare(..)) { Snap::Active } else { Snap::View };
            let below = parent.map(|parent| model.get(&parent).map(|(kind, _)| *kind));
            if model.contains_key(&key) {
                Err(Kind::AlreadyExists)
            } else {
                match below {
                    Some(None) => Err(Kind::NotFound),
                    Some(Some(kind)) if kind != Snap::Committed => Err(Kind::InvalidArgument),
                    _ => {
                        next.insert(key, (kind, parent));
                        Ok(None)
                    }
                }
            }
        }
        Op::Commit { name, key } => {
            if model.contains_key(&name) {
                Err(Kind::AlreadyExists)
            } else {
                match model.get(&key) {
                    None => Err(Kind::NotFound),
                    Some((kind, _)) if *kind != Snap::Active => Err(Kind::FailedPrecondition),
                    Some((_, parent)) => {
                        next.remove(&key);
                        next.insert(name, (Snap::Committed, *parent));
                        Ok(None)
                    }
                }
            }
        }
        Op::Remove(key) => {
            if !model.contains_key(&key) {
                Err(Kind::NotFound)
            } else if model.values().any(|(_, parent)| *parent == Some(key)) {
                Err(Kind::FailedPrecondition)
            } else {
                next.remove(&key);
                Ok(None)
            }
        }
        Op::Stat(key) => model.get(&key).map(|found| Some(*found)).ok_or(Kind::NotFound),
        Op::Mounts(key) => match model.get(&key) {
            None => Err(Kind::NotFound),
            Some((Snap::Committed, _)) => Err(Kind::FailedPrecondition),
            Some(_) => Ok(None),
        },
    };
    (answer, next)
}

/// Whether some order explains the history; the states it can end in, one of them, if so.
fn explain(history: &[Event], start: &Model) -> Option<Model> {
    let all = (1_u32 << history.len()) - 1;
    let mut seen = HashSet::new();
    let mut next = vec![(0_u32, start.clone())];
    while let Some((done, model)) = next.pop() {
        if done == all {
            return Some(model);
        }
        if !seen.insert((done, format!("{model:?}"))) {
            continue;
        }
        // What ended first among the rest bounds what can come now.
        let open = || history.iter().enumerate().filter(|(n, _)| done & (1 << n) == 0);
        let first_end = open().map(|(_, event)| event.ended).min().unwrap_or(u64::MAX);
        for (n, event) in open().filter(|(_, event)| event.began < first_end) {
            let (answer, after) = step(&model, event.op);
            if answer == event.answer {
                next.push((done | 1 << n, after));
            }
        }
    }
    None
}

fn random_op(random: &mut Random) -> Op {
    let key = random.below(KEYS.len());
    let other = random.below(KEYS.len());
    let parent = (random.below(3) > 0).then_some(other);
    match random.below(12) {
        0..=3 => Op::Prepare(key, parent),
        4 => Op::View(key, parent),
        5..=7 => Op::Commit { name: other, key },
        8 | 9 => Op::Remove(key),
        10 => Op::Stat(key),
        _ => Op::Mounts(key),
    }
}

fn perform(handle: &Handle, op: Op) -> Answer {
    let parent = |parent: Option<usize>| parent.map_or("", |parent| KEYS[parent]);
    let none = Labels::new;
    fn said<T>(result: Result<T>) -> Answer {
        result.map(|_| None).map_err(|error| error.kind())
    }
    match op {
        Op::Prepare(key, on) => said(handle.prepare_now(KEYS[key], parent(on), none())),
        Op::View(key, on) => said(handle.view_now(KEYS[key], parent(on), none())),
        Op::Commit { name, key } => {
            said(handle.commit_now(KEYS[name], KEYS[key], CommitOptions::default()))
        }
        Op::Remove(key) => said(handle.remove_now(KEYS[key])),
        Op::Stat(key) => match handle.stat_now(KEYS[key]) {
            Ok(info) => Ok(Some((info.kind, KEYS.iter().position(|name| *name == info.parent)))),
            Err(error) => Err(error.kind()),
        },
        Op::Mounts(key) => said(handle.mounts_now(KEYS[key])),
    }
}

fn round(handle: &Handle, seed: u64) -> Vec<Event> {
    let clock = Arc::new(AtomicU64::new(0));
    let together = Arc::new(Barrier::new(CLIENTS));
    let clients: Vec<_> = (0..CLIENTS as u64)
        .map(|client| {
            let (handle, clock) = (handle.clone(), Arc::clone(&clock));
            let together = Arc::clone(&together);
            thread::spawn(move || {
                let mut random = Random(seed.wrapping_mul(31).wrapping_add(client) | 1);
                // The first numbers of small seeds are alike.
                for _ in 0..3 {
                    random.below(7);
                }
                together.wait();
                (0..EACH)
                    .map(|_| {
                        let op = random_op(&mut random);
                        let began = clock.fetch_add(1, Ordering::SeqCst);
                        let answer = perform(&handle, op);
                        let ended = clock.fetch_add(1, Ordering::SeqCst);
                        Event { op, answer, began, ended }
                    })
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
}

fn run(name: &str, first_seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let all = Options::new(dir.path().join("root"), dir.path().join("state"));
    let store = Store::open(Options { durability: Durability::None, reserve: 0, ..all }).unwrap();
    let scope = Scope::new(Namespace::new("model").unwrap());
    let handle = store.snapshots(&scope, name).unwrap();
    let mut model = Model::new();
    for seed in first_seed..first_seed + ROUNDS {
        let mut history = round(&handle, seed);
        // A look at everything, when nobody changes anything any more, belongs to the history.
        let looks = (0..KEYS.len()).map(Op::Stat).map(|op| Event {
            op,
            answer: perform(&handle, op),
            began: u64::MAX - 1,
            ended: u64::MAX,
        });
        history.extend(looks);
        let after = explain(&history, &model);
        history.sort_by_key(|event| event.began);
        let Some(after) = after else {
            let lines: Vec<String> = history.iter().map(|event| format!("{event:?}")).collect();
            panic!("seed {seed}: no order explains this, from {model:?}:\n{}", lines.join("\n"));
        };
        model = after;
        if seed % 50 == 0 {
            store.engine(name).unwrap().reap().unwrap();
            let report = store.fsck(FsckOptions::default()).unwrap();
            assert_eq!(report.findings, [], "seed {seed}");
        }
    }
    store.engine(name).unwrap().reap().unwrap();
    assert_eq!(store.fsck(FsckOptions::default()).unwrap().findings, []);
    store.close().unwrap();
}

#[test]
fn the_native_snapshotter_is_linearizable() {
    run("native", 1);
}

#[test]
fn the_overlay_snapshotter_is_linearizable() {
    if !lamina_sys::kernel::is_root() {
        eprintln!("SKIP the_overlay_snapshotter_is_linearizable: needs root");
        return;
    }
    run("overlayfs", 10_000);
}

#[test]
fn the_search_tells_right_from_wrong() {
    let event = |op, answer, began, ended| Event { op, answer, began, ended };
    let prepare = Op::Prepare(0, None);
    // Two creators of one key at once: one of them wins.
    let fine = [event(prepare, Ok(None), 0, 3), event(prepare, Err(Kind::AlreadyExists), 1, 2)];
    assert!(explain(&fine, &Model::new()).is_some());
    let both = [event(prepare, Ok(None), 0, 3), event(prepare, Ok(None), 1, 2)];
    assert!(explain(&both, &Model::new()).is_none());
    // An answer that was true only before somebody else's call had ended.
    let stale = [event(prepare, Ok(None), 0, 1), event(Op::Stat(0), Err(Kind::NotFound), 2, 3)];
    assert!(explain(&stale, &Model::new()).is_none());
}
