//! Writers that run freely while collections follow each other.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use lamina_core::{Host, Labels};
use lamina_store::fault::Steps;
use lamina_store::fsck::FsckOptions;

use super::random::Random;
use super::world::{Client, Thing, World, client, resource, scope};

const WRITERS: usize = 4;
const STEPS: usize = 150;

/// A client that makes things, keeps some of them, and knows which.
struct Writer {
    client: Client,
    random: Random,
    lease: String,
    /// The number of the next thing; no other writer has it.
    next: usize,
    held: BTreeSet<Thing>,
    rooted: BTreeSet<Thing>,
    /// Only labels and parents: the roots are the two above.
    world: World,
}

impl Writer {
    fn new(client: Client, number: usize, seed: u64) -> Writer {
        let lease = format!("lease{number}");
        client
            .runtime
            .block_on(client.store.leases(&scope()).create(&lease, Labels::new()))
            .unwrap();
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let (held, rooted, world) = Default::default();
        Writer { client, random, lease, next: number * 10_000, held, rooted, world }
    }

    /// What must be there, by all that this writer said.
    fn kept(&self) -> BTreeSet<Thing> {
        let roots = self.held.union(&self.rooted).copied().collect();
        World { roots, ..self.world.clone() }.reachable()
    }

    fn pick(&mut self, from: &BTreeSet<Thing>) -> Option<Thing> {
        let n = self.random.below(from.len().max(1));
        from.iter().nth(n).copied()
    }

    fn step(&mut self) {
        let kept = self.kept();
        match self.random.below(20) {
            0..=7 => self.make(&kept),
            8..=11 => {
                if let (Some(from), Some(to)) = (self.pick(&kept), self.pick(&kept)) {
                    match self.random.below(2) {
                        0 => self.client.refer(from, to).unwrap(),
                        _ => self.client.refer_back(from, to).unwrap(),
                    }
                    self.world.labels.entry(from).or_default().insert(to);
                }
            }
            12 | 13 => {
                if let Some(thing) = self.pick(&kept) {
                    self.client.hold(&self.lease, thing);
                    self.held.insert(thing);
                }
            }
            14..=16 => {
                if let Some(thing) = self.pick(&self.held.clone()) {
                    let leases = self.client.store.leases(&scope());
                    let let_go = leases.remove(&self.lease, resource(thing));
                    self.client.runtime.block_on(let_go).unwrap();
                    self.held.remove(&thing);
                }
            }
            17 => {
                if let Some(thing) = self.pick(&kept) {
                    self.client.root(thing, true).unwrap();
                    self.rooted.insert(thing);
                }
            }
            18 => {
                if let Some(thing) = self.pick(&self.rooted.clone()) {
                    self.client.root(thing, false).unwrap();
                    self.rooted.remove(&thing);
                }
            }
            _ => {
                let leases = self.client.store.leases(&scope());
                self.client.runtime.block_on(leases.delete(&self.lease, false)).unwrap();
                self.held.clear();
                let again = leases.create(&self.lease, Labels::new());
                self.client.runtime.block_on(again).unwrap();
            }
        }
        let lost: Vec<Thing> =
            self.kept().into_iter().filter(|thing| !self.client.has(*thing)).collect();
        assert_eq!(lost, [], "{} lost what it keeps", self.lease);
    }

    /// Makes a thing under the lease: from then on that holds it.
    fn make(&mut self, kept: &BTreeSet<Thing>) {
        let (n, leased) = (self.next, scope().with_lease(&self.lease));
        self.next += 1;
        let thing = if self.random.below(3) == 0 {
            self.client.blob(&leased, n);
            Thing::Blob(n)
        } else {
            let parent = match self.pick(kept) {
                Some(Thing::Snapshot(parent)) => Some(parent),
                _ => None,
            };
            self.client.snapshot(&leased, n, parent);
            self.world.parents.extend(parent.map(|parent| (n, parent)));
            Thing::Snapshot(n)
        };
        self.held.insert(thing);
    }
}

#[test]
fn writers_that_run_freely_lose_nothing_that_they_keep() {
    let dir = tempfile::tempdir().unwrap();
    let client = client(&dir, Steps::none());
    let at_work = AtomicUsize::new(WRITERS);
    let (writers, dropped) = thread::scope(|threads| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let (inside, at_work) = (client.another(), &at_work);
                threads.spawn(move || {
                    // Also a writer that fails lets the collections end.
                    let _leaves = Leaves(at_work);
                    let mut writer = Writer::new(inside, number, number as u64 + 1);
                    (0..STEPS).for_each(|_| writer.step());
                    writer
                })
            })
            .collect();
        let mut dropped = 0;
        while at_work.load(Ordering::SeqCst) > 0 {
            let collected = client.store.collect().unwrap();
            assert_eq!(collected.busy, Vec::<String>::new());
            dropped += collected.blobs + collected.snapshots;
        }
        let writers: Vec<_> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
        (writers, dropped)
    });
    assert!(dropped > 0, "nothing was collected while writers were at work");
    client.store.collect().unwrap();
    for writer in &writers {
        let first = writer.next / 10_000 * 10_000;
        let made = (first..writer.next).flat_map(|n| [Thing::Blob(n), Thing::Snapshot(n)]);
        let there: BTreeSet<Thing> = made.filter(|thing| client.has(*thing)).collect();
        assert_eq!(there, writer.kept(), "{}", writer.lease);
    }
    client.store.engine("native").unwrap().reap().unwrap();
    assert_eq!(client.store.fsck(FsckOptions::default()).unwrap().findings, []);
}

struct Leaves<'a>(&'a AtomicUsize);

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
