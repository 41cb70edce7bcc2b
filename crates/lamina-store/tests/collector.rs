//! The collector against reachability said plainly, with writers at work between its steps and, in
//! the end, with writers that nobody stops.

// Helpers of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)]

#[path = "support/random.rs"]
mod random;
#[path = "collector/world.rs"]
mod world;
#[path = "collector/writers.rs"]
mod writers;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use lamina_core::content::{CommitOptions as Commit, WriteOptions};
use lamina_core::image::DeleteOptions;
use lamina_core::{Host, Labels};
use lamina_store::fault::Steps;
use random::Random;
use world::{Client, Thing, World, bytes, client, digest, fill, scope};

#[test]
fn exactly_what_is_reachable_stays() {
    for seed in 1..40 {
        let dir = tempfile::tempdir().unwrap();
        let client = client(&dir, Steps::none());
        let mut random = Random(seed * 7919);
        let world = fill(&client, &mut random);
        let collected = client.store.collect().unwrap();
        assert_eq!(client.there(), world.reachable(), "seed {seed}: {world:?}");
        assert_eq!((collected.images, collected.leases, collected.busy), (1, 1, vec![]));
        let again = client.store.collect().unwrap();
        assert_eq!((again.blobs, again.snapshots), (0, 0), "seed {seed}");
        // The files went with the rows.
        let blobs = dir.path().join("root/io.containerd.content.v1.content/blobs/sha256");
        let kept = client.there().iter().filter(|t| matches!(t, Thing::Blob(_))).count();
        assert_eq!(std::fs::read_dir(blobs).unwrap().count(), kept, "seed {seed}");
    }
}

/// What a writer between two steps of a collection did, and to which things it could refer.
type Written = (World, BTreeSet<Thing>);

#[test]
fn nothing_that_a_writer_makes_reachable_is_lost() {
    for seed in 1..60 {
        let dir = tempfile::tempdir().unwrap();
        // The listener needs the store that it listens to; it gets it once it is filled.
        let writer: Arc<Mutex<Option<(Client, Random, World)>>> = Arc::default();
        let log: Arc<Mutex<Vec<Written>>> = Arc::default();
        let (at, told) = (Arc::clone(&writer), Arc::clone(&log));
        let steps = Steps::watched(Arc::new(move |step: &'static str| {
            if step.starts_with("gc.")
                && let Some((client, random, world)) = &mut *at.lock().unwrap()
            {
                write(client, random, world);
                told.lock().unwrap().push((world.clone(), client.there()));
            }
            Ok(())
        }));
        let client = client(&dir, steps);
        let mut random = Random(seed * 104_729);
        let before = fill(&client, &mut random);
        let inside = client.another();
        *writer.lock().unwrap() = Some((inside, random, before.clone()));
        client.store.collect().unwrap();
        let (_, _, after) = writer.lock().unwrap().take().unwrap();
        let there = client.there();
        let log = log.lock().unwrap();
        assert!(!log.is_empty(), "seed {seed}: no writer was at work");
        // What is made reachable through a thing that only a flat lease keeps may be gone by then.
        let lost: Vec<_> = log
            .iter()
            .flat_map(|(world, seen)| {
                world.reachable().intersection(seen).copied().collect::<Vec<_>>()
            })
            .filter(|thing| !there.contains(thing))
            .collect();
        assert_eq!(lost, [], "seed {seed}: from {before:?} to {after:?}");
        // Another collection, with nobody at work, leaves exactly what is reachable.
        client.store.collect().unwrap();
        let wanted = after.reachable().intersection(&there).copied().collect();
        assert_eq!(client.there(), wanted, "seed {seed}");
    }
}

/// Makes something that is still there reachable, in one of the ways that clients have.
fn write(client: &Client, random: &mut Random, world: &mut World) {
    let there: Vec<Thing> = client.there().into_iter().collect();
    if there.is_empty() {
        return;
    }
    let thing = there[random.below(there.len())];
    let name = format!("new{}", random.below(1_000_000));
    match (random.below(6), thing) {
        (0, Thing::Blob(n)) => {
            client.image(&name, n, Labels::new()).unwrap();
            world.roots.insert(thing);
        }
        (0, Thing::Snapshot(n)) => {
            client.container(&name, n);
            world.roots.insert(thing);
        }
        (1, _) => {
            client.hold("full", thing);
            world.roots.insert(thing);
        }
        (2, _) => {
            client.hold("flat", thing);
            world.flat.insert(thing);
        }
        (3, _) => {
            client.root(thing, true).unwrap();
            world.roots.insert(thing);
        }
        (way, _) => {
            let from = there[random.below(there.len())];
            match way {
                4 => client.refer(from, thing).unwrap(),
                _ => client.refer_back(from, thing).unwrap(),
            }
            world.labels.entry(from).or_default().insert(thing);
        }
    }
}

#[test]
fn a_sync_delete_returns_when_rows_and_files_are_gone() {
    let dir = tempfile::tempdir().unwrap();
    let client = client(&dir, Steps::none());
    let content = client.store.content_now(&scope());
    let mut writer = content.writer_now("w", WriteOptions::default()).unwrap();
    writer.write(&bytes(0)).unwrap();
    writer.commit(Commit::default()).unwrap();
    client.image("image", 0, Labels::new()).unwrap();
    let images = client.store.images(&scope());
    let sync = DeleteOptions { sync: true, target: None };
    client.runtime.block_on(images.delete("image", sync)).unwrap();
    assert!(content.info_now(&digest(0)).unwrap_err().is_not_found());
    let blobs = dir.path().join("root/io.containerd.content.v1.content/blobs/sha256");
    assert_eq!(std::fs::read_dir(blobs).unwrap().count(), 0);

    let leases = client.store.leases(&scope());
    client.runtime.block_on(leases.create("lease", Labels::new())).unwrap();
    let held = client.store.snapshots(&scope().with_lease("lease"), "native").unwrap();
    held.prepare_now("k", "", Labels::new()).unwrap();
    client.store.collect().unwrap();
    held.stat_now("k").unwrap();
    client.runtime.block_on(leases.delete("lease", true)).unwrap();
    assert!(held.stat_now("k").unwrap_err().is_not_found());
    let snapshots = dir.path().join("root/io.containerd.snapshotter.v1.native/snapshots");
    assert_eq!(std::fs::read_dir(snapshots).unwrap().count(), 0);
}

#[test]
fn a_store_that_is_closed_has_a_copy_of_the_day() {
    let dir = tempfile::tempdir().unwrap();
    let client = client(&dir, Steps::none());
    client.store.close().unwrap();
    let copy = dir.path().join("root/io.containerd.metadata.v1.sqlite/meta.db.backup");
    assert!(std::fs::metadata(&copy).unwrap().len() > 0);
}
