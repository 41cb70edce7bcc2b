//! Random operations by several clients at once, against a simple model: every answer must be
//! explained by some order of the operations that respects which ended before which began
//! (linearizability, searched as Wing and Gong do), and at the end of a round rows and disk agree.
//!
//! A round is small, so that the search is; there are many. Namespaces are explained one by one, as
//! nothing of one shows in another. A failure prints the seed and the history.

// Helpers of tests fail by panicking, as tests do; not every test uses all of a helper.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, unreachable_pub)]

#[path = "model/client.rs"]
mod client;
#[path = "support/fake_driver.rs"]
mod fake_driver;
#[path = "support/random.rs"]
mod random;
#[path = "model/search.rs"]
mod search;
#[path = "model/spec.rs"]
mod spec;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use client::{Client, SPACES, random_op};
use fake_driver::{Behaviour, FakeDriver};
use lamina_core::Kind;
use lamina_core::snapshot::Kind as Snap;
use lamina_store::fsck::FsckOptions;
use lamina_store::snapshot::Source;
use lamina_store::{Durability, Options, Store};
use random::Random;
use search::{Event, explain};
use spec::{Extra, LEASES, Model, Op, Told};

const CLIENTS: usize = 4;
const EACH: usize = 8;
const ROUNDS: u64 = 150;
/// How many rounds there are at most, for those that wait to see every operation succeed.
const LONGEST: u64 = 8 * ROUNDS;

/// What all clients of a round share.
struct Round {
    store: Store,
    name: String,
    clock: AtomicU64,
    together: Barrier,
}

impl Round {
    fn perform(&self, client: &Client, space: usize, op: Op) -> Event {
        let began = self.clock.fetch_add(1, Ordering::SeqCst);
        let answer = client.perform(space, op);
        let ended = self.clock.fetch_add(1, Ordering::SeqCst);
        Event { space, op, answer, began, ended }
    }

    fn client(&self, mut random: Random) -> Vec<Event> {
        let client = Client::new(&self.store, &self.name);
        self.together.wait();
        let mut step = || {
            let op = random_op(&mut random);
            self.perform(&client, random.below(SPACES.len()), op)
        };
        (0..EACH).map(|_| step()).collect()
    }
}

/// What the clients of a round did at once, and then what one did with nobody else at work.
fn round(store: &Store, name: &str, seed: u64) -> (Vec<Event>, Vec<Event>) {
    let round = Arc::new(Round {
        store: store.clone(),
        name: name.to_owned(),
        clock: AtomicU64::new(1),
        together: Barrier::new(CLIENTS),
    });
    let clients: Vec<_> = (0..CLIENTS as u64)
        .map(|client| {
            // Spread far apart, as the first numbers of near seeds are alike.
            let random = Random((seed * 8 + client).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
            let round = Arc::clone(&round);
            thread::spawn(move || round.client(random))
        })
        .collect();
    let at_once = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    let client = Client::new(store, name);
    let mut alone = Vec::new();
    let look = |alone: &mut Vec<Event>| {
        for space in 0..SPACES.len() {
            alone.push(round.perform(&client, space, Op::Walk));
            let held = (0..LEASES.len()).map(Op::Held);
            alone.extend(held.map(|op| round.perform(&client, space, op)));
        }
    };
    look(&mut alone);
    if seed.is_multiple_of(3) {
        let collected = round.perform(&client, 0, Op::Collect);
        alone.extend((0..SPACES.len()).map(|space| Event { space, ..collected.clone() }));
        look(&mut alone);
    }
    (at_once, alone)
}

/// What was seen to work, so that a run that shows nothing is noticed.
#[derive(Debug, Default)]
struct Seen(BTreeSet<String>);

impl Seen {
    fn note(&mut self, event: &Event) {
        if event.answer.is_ok() {
            let text = format!("{:?}", event.op);
            let word = text.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
            let rebase = matches!(event.op, Op::Commit { parent: Some(_), .. });
            self.0.insert(if rebase { "Rebase".to_owned() } else { word.to_owned() });
        }
    }
}

fn run(name: &str, snapshotters: Option<Vec<Source>>, first_seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let all = Options::new(dir.path().join("root"), dir.path().join("state"));
    let mut options = Options { durability: Durability::None, reserve: 0, ..all };
    options.snapshotters = snapshotters.unwrap_or(options.snapshotters);
    let store = Store::open(options).unwrap();
    let rebase = store.engine(name).unwrap().driver().capabilities().rebase;
    let mut models = vec![Model { rebase, ..Model::default() }; SPACES.len()];
    let mut seen = Seen::default();
    let mut expected = BTreeSet::from(
        [
            "Collect", "Commit", "Create", "Held", "Hold", "Lease", "LetGo", "Mounts", "Remove",
            "Stat", "Towards", "Unlease", "Update", "Usage", "Walk",
        ]
        .map(str::to_owned),
    );
    if rebase {
        expected.insert("Rebase".to_owned());
    }
    for seed in first_seed..first_seed + LONGEST {
        // What succeeds is luck: a client needs what others have just made.
        if seed >= first_seed + ROUNDS && seen.0.is_superset(&expected) {
            break;
        }
        let (at_once, alone) = round(&store, name, seed);
        at_once.iter().for_each(|event| seen.note(event));
        let (collections, at_once): (Vec<_>, Vec<_>) =
            at_once.into_iter().partition(|event| event.op == Op::Collect);
        assert!(collections.iter().all(|event| event.answer == Ok(Told::Done)), "{collections:?}");
        let when: Vec<_> = collections.iter().map(|event| (event.began, event.ended)).collect();
        for (space, model) in models.iter_mut().enumerate() {
            let mut history: Vec<&Event> =
                at_once.iter().chain(&alone).filter(|event| event.space == space).collect();
            history.sort_by_key(|event| event.began);
            let Some(after) = explain(&history, &when, model) else {
                let lines: Vec<String> = history.iter().map(|e| format!("{e:?}")).collect();
                let lines = lines.join("\n");
                panic!(
                    "seed {seed}: no order explains this, from {model:?}, collections {when:?}:\n{lines}"
                );
            };
            *model = after;
        }
        if seed.is_multiple_of(50) {
            check(&store, name);
        }
    }
    // What cannot rebase may still be told the parent that an active has already.
    assert_eq!(expected.difference(&seen.0).collect::<Vec<_>>(), Vec::<&String>::new());
    check(&store, name);
    store.close().unwrap();
}

/// Rows and disk agree, once the reaper has done its work.
fn check(store: &Store, name: &str) {
    let engine = store.engine(name).unwrap();
    // A driver may be busy with each of them a few times.
    let freed = (0..10).any(|_| engine.reap().unwrap().busy.is_empty());
    assert!(freed, "files of removed snapshots stay busy");
    assert_eq!(store.fsck(FsckOptions::default()).unwrap().findings, []);
}

#[test]
fn the_native_snapshotter_is_linearizable() {
    run("native", None, 1);
}

#[test]
fn the_overlay_snapshotter_is_linearizable() {
    if !lamina_sys::kernel::is_root() {
        eprintln!("SKIP the_overlay_snapshotter_is_linearizable: needs root");
        return;
    }
    run("overlayfs", None, 10_000);
}

#[test]
fn a_hostile_driver_is_linearizable() {
    let behaviour = Behaviour { busy: 2, seal: Duration::from_millis(1) };
    let fake = Source {
        name: "fake".to_owned(),
        root: None,
        sync_remove: false,
        open: Arc::new(move |root| Ok(FakeDriver::open(root, behaviour)?)),
    };
    run("fake", Some(vec![fake]), 20_000);
}

#[test]
fn the_search_tells_right_from_wrong() {
    let event = |op, answer, began, ended| Event { space: 0, op, answer, began, ended };
    let explained = |history: &[Event], collections: &[(u64, u64)]| {
        let history: Vec<&Event> = history.iter().collect();
        explain(&history, collections, &Model::default()).is_some()
    };
    let extra = Extra { lease: None, mark: 1 };
    let prepare = Op::Create { kind: Snap::Active, key: 0, parent: None, extra };
    let done = || Ok(Told::Done);
    // Two creators of one key at once: one of them wins.
    let fine = [event(prepare, done(), 1, 4), event(prepare, Err(Kind::AlreadyExists), 2, 3)];
    assert!(explained(&fine, &[]));
    let both = [event(prepare, done(), 1, 4), event(prepare, done(), 2, 3)];
    assert!(!explained(&both, &[]));
    // An answer that was true only before somebody else's call had ended.
    let gone = |began, ended| event(Op::Stat(0), Err(Kind::NotFound), began, ended);
    let stale = [event(prepare, done(), 1, 2), gone(3, 4)];
    assert!(!explained(&stale, &[]));
    // A collection may have taken it, unless that had ended before, or something kept it.
    assert!(explained(&stale, &[(2, 5)]));
    assert!(!explained(&[event(prepare, done(), 3, 4), gone(5, 6)], &[(1, 2)]));
    let held = [
        event(Op::Lease(1), done(), 1, 2),
        event(Op::Hold(1, 0), done(), 3, 4),
        event(prepare, done(), 5, 6),
        gone(7, 8),
    ];
    assert!(!explained(&held, &[(1, 9)]));
    // With nobody else at work, a collection leaves nothing that is garbage.
    let collected = event(Op::Collect, done(), 3, 4);
    assert!(explained(&[event(prepare, done(), 1, 2), collected.clone(), gone(5, 6)], &[]));
    let there = event(prepare, Err(Kind::AlreadyExists), 5, 6);
    assert!(!explained(&[event(prepare, done(), 1, 2), collected, there], &[]));
}
