//! Things that can be collected, what keeps what, and a client that makes them.

use std::collections::{BTreeMap, BTreeSet};

use lamina_core::content::{CommitOptions as Commit, WriteOptions};
use lamina_core::labels::GC_ROOT;
use lamina_core::lease::{Resource, ResourceType};
use lamina_core::snapshot::CommitOptions;
use lamina_core::{
    Any, Container, Descriptor, Digest, Host, Image, Labels, Namespace, Result, Scope,
};
use lamina_store::fault::Steps;
use lamina_store::{Durability, Options, Store};
use tokio::runtime::Runtime;

use super::random::Random;

pub(crate) const BLOBS: usize = 12;
pub(crate) const SNAPSHOTS: usize = 8;

/// A thing that can be collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    Blob(usize),
    Snapshot(usize),
}

/// What keeps what, as the test made it.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) roots: BTreeSet<Thing>,
    /// Kept by flat leases: labels are not followed from there.
    pub(crate) flat: BTreeSet<Thing>,
    pub(crate) labels: BTreeMap<Thing, BTreeSet<Thing>>,
    pub(crate) parents: BTreeMap<usize, usize>,
}

impl World {
    pub(crate) fn reachable(&self) -> BTreeSet<Thing> {
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

pub(crate) fn random_thing(random: &mut Random) -> Thing {
    match random.below(BLOBS + SNAPSHOTS) {
        n if n < BLOBS => Thing::Blob(n),
        n => Thing::Snapshot(n - BLOBS),
    }
}

pub(crate) fn bytes(n: usize) -> Vec<u8> {
    format!("blob {n}").into_bytes()
}

pub(crate) fn digest(n: usize) -> Digest {
    Digest::sha256(&bytes(n))
}

pub(crate) fn scope() -> Scope {
    Scope::new(Namespace::new("gc").unwrap())
}

/// The label that refers to `thing` (`ref`), or back to it (`bref`).
pub(crate) fn reference(how: &str, thing: Thing) -> (String, String) {
    match thing {
        Thing::Blob(n) => (format!("containerd.io/gc.{how}.content.{n}"), digest(n).to_string()),
        Thing::Snapshot(n) => {
            (format!("containerd.io/gc.{how}.snapshot.native/{n}"), format!("s{n}"))
        }
    }
}

pub(crate) fn resource(thing: Thing) -> Resource {
    match thing {
        Thing::Blob(n) => Resource { kind: ResourceType::Content, id: digest(n).to_string() },
        Thing::Snapshot(n) => {
            Resource { kind: ResourceType::Snapshot("native".into()), id: format!("s{n}") }
        }
    }
}

/// Calls from a thread that no runtime owns, as the collector's steps are.
pub(crate) struct Client {
    pub(crate) store: Store,
    pub(crate) runtime: Runtime,
}

impl Client {
    /// Of the same store, for another thread.
    pub(crate) fn another(&self) -> Client {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Client { store: self.store.clone(), runtime }
    }

    pub(crate) fn image(&self, name: &str, thing: usize, labels: Labels) -> Result<Image> {
        let target = Descriptor::of("application/vnd.oci.image.manifest.v1+json", &bytes(thing));
        let (created, updated) = Default::default();
        let image = Image { name: name.into(), target, labels, created, updated };
        self.runtime.block_on(self.store.images(&scope()).create(image))
    }

    pub(crate) fn hold(&self, lease: &str, thing: Thing) {
        self.runtime.block_on(self.store.leases(&scope()).add(lease, resource(thing))).unwrap();
    }

    /// Makes `from` keep `to`.
    pub(crate) fn refer(&self, from: Thing, to: Thing) -> Result<()> {
        let (key, value) = reference("ref", to);
        self.label(from, key, Some(value))
    }

    /// The same, by a label of `to` that refers back.
    pub(crate) fn refer_back(&self, from: Thing, to: Thing) -> Result<()> {
        let (key, value) = reference("bref", from);
        self.label(to, key, Some(value))
    }

    /// Says that `thing` is to be kept for its own sake, or is not.
    pub(crate) fn root(&self, thing: Thing, root: bool) -> Result<()> {
        self.label(thing, GC_ROOT.to_owned(), root.then(|| "yes".to_owned()))
    }

    /// Sets a label of a thing that is there, or takes it away.
    pub(crate) fn label(&self, thing: Thing, key: String, value: Option<String>) -> Result<()> {
        let paths = [format!("labels.{key}")];
        let labels: Labels = value.map(|value| (key, value)).into_iter().collect();
        match thing {
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

    pub(crate) fn container(&self, id: &str, snapshot: usize) {
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

    /// Makes a blob, for the scope's lease if it has one.
    pub(crate) fn blob(&self, scope: &Scope, n: usize) {
        let content = self.store.content_now(scope);
        let mut writer = content.writer_now(&format!("w{n}"), WriteOptions::default()).unwrap();
        writer.write(&bytes(n)).unwrap();
        writer.commit(Commit::default()).unwrap();
    }

    /// Makes a committed snapshot, for the scope's lease if it has one.
    pub(crate) fn snapshot(&self, scope: &Scope, n: usize, parent: Option<usize>) {
        let handle = self.store.snapshots(scope, "native").unwrap();
        let parent = parent.map(|parent| format!("s{parent}")).unwrap_or_default();
        let key = format!("k{n}");
        handle.prepare_now(&key, &parent, Labels::new()).unwrap();
        handle.commit_now(&format!("s{n}"), &key, CommitOptions::default()).unwrap();
    }

    pub(crate) fn has(&self, thing: Thing) -> bool {
        let found = match thing {
            Thing::Blob(n) => self.store.content_now(&scope()).info_now(&digest(n)).map(drop),
            Thing::Snapshot(n) => {
                let handle = self.store.snapshots(&scope(), "native").unwrap();
                handle.stat_now(&format!("s{n}")).map(drop)
            }
        };
        found.map_err(|error| assert!(error.is_not_found(), "{}", error.chain())).is_ok()
    }

    pub(crate) fn there(&self) -> BTreeSet<Thing> {
        let all = (0..BLOBS).map(Thing::Blob).chain((0..SNAPSHOTS).map(Thing::Snapshot));
        all.filter(|thing| self.has(*thing)).collect()
    }
}

/// A store full of things, of which a random part is kept.
pub(crate) fn fill(client: &Client, random: &mut Random) -> World {
    let mut world = World::default();
    for n in 0..BLOBS {
        client.blob(&scope(), n);
    }
    for n in 0..SNAPSHOTS {
        let parent = (n > 0 && random.below(3) > 0).then(|| random.below(n));
        client.snapshot(&scope(), n, parent);
        world.parents.extend(parent.map(|parent| (n, parent)));
    }
    for _ in 0..random.below(14) {
        let (from, to) = (random_thing(random), random_thing(random));
        match random.below(2) {
            0 => client.refer(from, to).unwrap(),
            _ => client.refer_back(from, to).unwrap(),
        }
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
    if random.below(2) == 0 {
        let thing = random_thing(random);
        client.root(thing, true).unwrap();
        world.roots.insert(thing);
    }
    // Back references to records: to some that are kept, to one that expires, to some that are not.
    client.image("kept", 0, Labels::new()).unwrap();
    world.roots.insert(Thing::Blob(0));
    client.container("kept", 0);
    world.roots.insert(Thing::Snapshot(0));
    for _ in 0..random.below(4) {
        let thing = random_thing(random);
        let word = ["image", "container"][random.below(2)];
        let name = ["kept", "expired", "absent"][random.below(3)];
        let key = format!("containerd.io/gc.bref.{word}.{name}");
        client.label(thing, key, Some(name.to_owned())).unwrap();
        if name == "kept" {
            world.roots.insert(thing);
        }
    }
    world
}

pub(crate) fn client(dir: &tempfile::TempDir, steps: Steps) -> Client {
    let all = Options::new(dir.path().join("root"), dir.path().join("state"));
    let options = Options { durability: Durability::None, reserve: 0, steps, ..all };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    Client { store: Store::open(options).unwrap(), runtime }
}
