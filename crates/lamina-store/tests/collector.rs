//! The collector against reachability said plainly, with writers at work between its steps.

// Helpers of tests fail by panicking, as tests do.
#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub)]

#[path = "support/random.rs"]
mod random;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use lamina_core::content::{CommitOptions as Commit, WriteOptions};
use lamina_core::image::DeleteOptions;
use lamina_core::lease::{Resource, ResourceType};
use lamina_core::snapshot::CommitOptions;
use lamina_core::{
    Any, Container, Descriptor, Digest, Host, Image, Labels, Namespace, Result, Scope,
};
use lamina_store::fault::Steps;
use lamina_store::{Durability, Options, Store};
use random::Random;
use tokio::runtime::Runtime;

const BLOBS: usize = 12;
const SNAPSHOTS: usize = 8;

/// A thing that can be collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Thing {
    Blob(usize),
    Snapshot(usize),
}

/// What keeps what, as the test made it.
#[derive(Clone, Debug, Default)]
struct World {
    roots: BTreeSet<Thing>,
    /// Kept by flat leases: labels are not followed from there.
    flat: BTreeSet<Thing>,
    labels: BTreeMap<Thing, BTreeSet<Thing>>,
    parents: BTreeMap<usize, usize>,
}

impl World {
    fn reachable(&self) -> BTreeSet<Thing> {
        let mut full = self.roots.clone();
        let mut flat = self.flat.clone();
        loop {
            let before = (full.len(), flat.len());
            for thing in full.clone() {
                full.extend(self.labels.get(&thing).into_iter().flatten());
            }
            for set in [&mut full, &mut flat] {
                for thing in set.clone() {
                    if let Thing::Snapshot(n) = thing
                        && let Some(parent) = self.parents.get(&n)
                    {
                        set.insert(Thing::Snapshot(*parent));
                    }
                }
            }
            if before == (full.len(), flat.len()) {
                full.extend(flat);
                return full;
            }
        }
    }
}

fn random_thing(random: &mut Random) -> Thing {
    match random.below(BLOBS + SNAPSHOTS) {
        n if n < BLOBS => Thing::Blob(n),
        n => Thing::Snapshot(n - BLOBS),
    }
}

fn bytes(n: usize) -> Vec<u8> {
    format!("blob {n}").into_bytes()
}

fn digest(n: usize) -> Digest {
    Digest::sha256(&bytes(n))
}

fn scope() -> Scope {
    Scope::new(Namespace::new("gc").unwrap())
}

/// The label by which something keeps `thing`.
fn reference(thing: Thing) -> (String, String) {
    match thing {
        Thing::Blob(n) => (format!("containerd.io/gc.ref.content.{n}"), digest(n).to_string()),
        Thing::Snapshot(n) => {
            (format!("containerd.io/gc.ref.snapshot.native/{n}"), format!("s{n}"))
        }
    }
}

fn resource(thing: Thing) -> Resource {
    match thing {
        Thing::Blob(n) => Resource { kind: ResourceType::Content, id: digest(n).to_string() },
        Thing::Snapshot(n) => {
            Resource { kind: ResourceType::Snapshot("native".into()), id: format!("s{n}") }
        }
    }
}

/// Calls from a thread that no runtime owns, as the collector's steps are.
struct Client {
    store: Store,
    runtime: Runtime,
}

impl Client {
    fn image(&self, name: &str, thing: usize, labels: Labels) -> Result<Image> {
        let target = Descriptor::of("application/vnd.oci.image.manifest.v1+json", &bytes(thing));
        let (created, updated) = Default::default();
        let image = Image { name: name.into(), target, labels, created, updated };
        self.runtime.block_on(self.store.images(&scope()).create(image))
    }

    fn hold(&self, lease: &str, thing: Thing) {
        self.runtime.block_on(self.store.leases(&scope()).add(lease, resource(thing))).unwrap();
    }

    /// Makes `from` keep `to`.
    fn refer(&self, from: Thing, to: Thing) -> Result<()> {
        let (key, value) = reference(to);
        let paths = [format!("labels.{key}")];
        let labels = Labels::from([(key, value)]);
        match from {
            Thing::Blob(n) => {
                let content = self.store.content_now(&scope());
                let info = content.info_now(&digest(n))?;
                let info = lamina_core::content::Info { labels, ..info };
                content.update_now(info, &paths).map(drop)
            }
            Thing::Snapshot(n) => {
                let handle = self.store.snapshots(&scope(), "native")?;
                let info = handle.stat_now(&format!("s{n}"))?;
                let info = lamina_core::snapshot::Info { labels, ..info };
                let update = lamina_core::Snapshotter::update(&handle, info, &paths);
                self.runtime.block_on(update).map(drop)
            }
        }
    }

    fn container(&self, id: &str, snapshot: usize) {
        let (created, updated) = Default::default();
        let container = Container {
            id: id.into(),
            labels: Labels::new(),
            image: String::new(),
            runtime: "r".into(),
            runtime_options: None,
            spec: Any { type_url: "spec".into(), value: Vec::new() },
            snapshotter: "native".into(),
            snapshot_key: format!("s{snapshot}"),
            sandbox: String::new(),
            extensions: BTreeMap::new(),
            created,
            updated,
        };
        self.runtime.block_on(self.store.containers(&scope()).create(container)).unwrap();
    }

    fn there(&self) -> BTreeSet<Thing> {
        let content = self.store.content_now(&scope());
        let handle = self.store.snapshots(&scope(), "native").unwrap();
        let blobs = (0..BLOBS).filter(|n| content.info_now(&digest(*n)).is_ok()).map(Thing::Blob);
        let snapshots = (0..SNAPSHOTS).filter(|n| handle.stat_now(&format!("s{n}")).is_ok());
        blobs.chain(snapshots.map(Thing::Snapshot)).collect()
    }
}

/// A store full of things, of which a random part is kept.
fn fill(client: &Client, random: &mut Random) -> World {
    let mut world = World::default();
    let content = client.store.content_now(&scope());
    let handle = client.store.snapshots(&scope(), "native").unwrap();
    for n in 0..BLOBS {
        let mut writer = content.writer_now(&format!("w{n}"), WriteOptions::default()).unwrap();
        writer.write(&bytes(n)).unwrap();
        writer.commit(Commit::default()).unwrap();
    }
    for n in 0..SNAPSHOTS {
        let parent = (n > 0 && random.below(3) > 0).then(|| random.below(n));
        let name = parent.map(|parent| format!("s{parent}")).unwrap_or_default();
        handle.prepare_now("k", &name, Labels::new()).unwrap();
        handle.commit_now(&format!("s{n}"), "k", CommitOptions::default()).unwrap();
        world.parents.extend(parent.map(|parent| (n, parent)));
    }
    for _ in 0..random.below(14) {
        let (from, to) = (random_thing(random), random_thing(random));
        client.refer(from, to).unwrap();
        world.labels.entry(from).or_default().insert(to);
    }
    for n in 0..random.below(3) {
        let blob = random.below(BLOBS);
        client.image(&format!("image{n}"), blob, Labels::new()).unwrap();
        world.roots.insert(Thing::Blob(blob));
    }
    let past = Labels::from([("containerd.io/gc.expire".into(), "2001-01-01T00:00:00Z".into())]);
    client.image("expired", random.below(BLOBS), past.clone()).unwrap();
    for (lease, labels) in [
        ("full", Labels::new()),
        ("flat", Labels::from([("containerd.io/gc.flat".into(), "yes".into())])),
        ("past", past),
    ] {
        let leases = client.store.leases(&scope());
        client.runtime.block_on(leases.create(lease, labels)).unwrap();
        for _ in 0..random.below(3) {
            let thing = random_thing(random);
            client.hold(lease, thing);
            match lease {
                "full" => drop(world.roots.insert(thing)),
                "flat" => drop(world.flat.insert(thing)),
                _ => {}
            }
        }
    }
    if random.below(2) == 0 {
        let snapshot = random.below(SNAPSHOTS);
        client.container("c", snapshot);
        world.roots.insert(Thing::Snapshot(snapshot));
    }
    world
}

fn client(dir: &tempfile::TempDir, steps: Steps) -> Client {
    let all = Options::new(dir.path().join("root"), dir.path().join("state"));
    let options = Options { durability: Durability::None, reserve: 0, steps, ..all };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    Client { store: Store::open(options).unwrap(), runtime }
}

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
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let inside = Client { store: client.store.clone(), runtime };
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
    match (random.below(4), thing) {
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
        _ => {
            let from = there[random.below(there.len())];
            client.refer(from, thing).unwrap();
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
