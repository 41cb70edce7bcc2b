//! A client of the store under test: random operations, carried out.

use std::future::poll_fn;

use lamina_core::labels::{GC_FLAT, GC_REF_SNAPSHOT, GC_ROOT, SNAPSHOT_REF};
use lamina_core::lease::{Resource, ResourceType};
use lamina_core::snapshot::{CommitOptions, Info, Kind as Snap};
use lamina_core::{Filters, Host, Labels, LeaseStore, Namespace, Result, Scope, Snapshotter};
use lamina_store::Store;
use lamina_store::snapshot::Handle;
use tokio::runtime::Runtime;

use super::random::Random;
use super::spec::{Answer, Extra, KEYS, Known, LEASES, Label, Op, Told};

/// The namespaces; snapshots of one are nothing to the other.
pub(crate) const SPACES: [&str; 2] = ["one", "two"];

const MARK: &str = "mark";

/// Calls from a thread of its own.
pub(crate) struct Client {
    store: Store,
    snapshotter: String,
    runtime: Runtime,
}

impl Client {
    pub(crate) fn new(store: &Store, snapshotter: &str) -> Client {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Client { store: store.clone(), snapshotter: snapshotter.to_owned(), runtime }
    }

    pub(crate) fn perform(&self, space: usize, op: Op) -> Answer {
        self.call(space, op).map_err(|error| error.kind())
    }

    fn call(&self, space: usize, op: Op) -> Result<Told> {
        let scope = Scope::new(Namespace::new(SPACES[space]).unwrap());
        let handle = self.store.snapshots(&scope, &self.snapshotter)?;
        let with = |extra: Extra| -> Result<Handle> {
            let leased = extra.lease.map(|lease| scope.clone().with_lease(LEASES[lease]));
            self.store.snapshots(&leased.unwrap_or_else(|| scope.clone()), &self.snapshotter)
        };
        let leases = self.store.leases(&scope);
        match op {
            Op::Create { kind, key, parent, extra } => {
                let (parent, labels) = (parent.map_or("", |on| KEYS[on]), marked(extra));
                match kind {
                    Snap::View => with(extra)?.view_now(KEYS[key], parent, labels)?,
                    _ => with(extra)?.prepare_now(KEYS[key], parent, labels)?,
                };
            }
            Op::Towards { key, target, extra } => {
                let mut labels = marked(extra);
                labels.insert(SNAPSHOT_REF.to_owned(), KEYS[target].to_owned());
                with(extra)?.prepare_now(KEYS[key], "", labels)?;
            }
            Op::Commit { name, key, parent, extra } => {
                let parent = parent.map(|on| KEYS[on].to_owned());
                let options = CommitOptions { labels: marked(extra), parent };
                with(extra)?.commit_now(KEYS[name], KEYS[key], options)?;
            }
            Op::Remove(key) => handle.remove_now(KEYS[key])?,
            Op::Stat(key) => return handle.stat_now(KEYS[key]).map(|i| Told::Info(self.known(&i))),
            Op::Mounts(key) => drop(handle.mounts_now(KEYS[key])?),
            Op::Usage(key) => drop(self.runtime.block_on(handle.usage(KEYS[key]))?),
            Op::Walk => return self.walk(&handle).map(Told::All),
            Op::Update(key, label) => return self.update(&handle, key, label).map(Told::Info),
            Op::Lease(lease) => {
                let flat = Labels::from([(GC_FLAT.to_owned(), "yes".to_owned())]);
                let labels = if LEASES[lease] == "flat" { flat } else { Labels::new() };
                self.runtime.block_on(leases.create(LEASES[lease], labels))?;
            }
            Op::Unlease(lease) => self.runtime.block_on(leases.delete(LEASES[lease], false))?,
            Op::Hold(lease, key) => {
                self.runtime.block_on(leases.add(LEASES[lease], self.resource(key)))?;
            }
            Op::LetGo(lease, key) => {
                self.runtime.block_on(leases.remove(LEASES[lease], self.resource(key)))?;
            }
            Op::Held(lease) => return self.held(&*leases, lease),
            Op::Collect => drop(self.store.collect()?),
        }
        Ok(Told::Done)
    }

    fn resource(&self, key: usize) -> Resource {
        let kind = ResourceType::Snapshot(self.snapshotter.clone());
        Resource { kind, id: KEYS[key].to_owned() }
    }

    fn held(&self, leases: &dyn LeaseStore, lease: usize) -> Result<Told> {
        let held = self.runtime.block_on(leases.resources(LEASES[lease]))?;
        Ok(Told::Held(held.iter().filter_map(|resource| number(&resource.id)).collect()))
    }

    fn reference(&self) -> String {
        format!("{GC_REF_SNAPSHOT}{}", self.snapshotter)
    }

    fn known(&self, info: &Info) -> Known {
        let label = |key: &str| info.labels.get(key);
        Known {
            kind: info.kind,
            parent: number(&info.parent),
            mark: label(MARK).map(|mark| mark.parse().unwrap()),
            root: label(GC_ROOT).is_some(),
            refers: label(&self.reference()).and_then(|to| number(to)),
        }
    }

    /// One page is one look: all keys fit on it.
    fn walk(&self, handle: &Handle) -> Result<Vec<(usize, Known)>> {
        let mut pages = handle.walk(Filters::default());
        let mut all = Vec::new();
        self.runtime.block_on(async {
            while let Some(page) = poll_fn(|cx| pages.as_mut().poll_next(cx)).await {
                all.extend(page?.iter().map(|i| (number(&i.name).unwrap(), self.known(i))));
            }
            Ok(all)
        })
    }

    fn update(&self, handle: &Handle, key: usize, label: Label) -> Result<Known> {
        let (name, value) = match label {
            Label::Mark(mark) => (MARK.to_owned(), mark.map(|mark| mark.to_string())),
            Label::Root(root) => (GC_ROOT.to_owned(), root.then(|| "yes".to_owned())),
            Label::Refer(to) => (self.reference(), to.map(|to| KEYS[to].to_owned())),
        };
        let path = format!("labels.{name}");
        let labels = value.into_iter().map(|value| (name.clone(), value)).collect();
        let (created, updated) = Default::default();
        let (kind, parent) = (Snap::Active, String::new());
        let info = Info { kind, name: KEYS[key].to_owned(), parent, labels, created, updated };
        Ok(self.known(&self.runtime.block_on(handle.update(info, &[path]))?))
    }
}

fn marked(extra: Extra) -> Labels {
    Labels::from([(MARK.to_owned(), extra.mark.to_string())])
}

fn number(key: &str) -> Option<usize> {
    KEYS.iter().position(|name| *name == key)
}

/// An operation of those that clients do, the common ones more often.
pub(crate) fn random_op(random: &mut Random) -> Op {
    let key = random.below(KEYS.len());
    let other = random.below(KEYS.len());
    let lease = random.below(LEASES.len());
    let maybe = |random: &mut Random, n| (random.below(3) > 0).then_some(n);
    let mark = random.below(9);
    let extra = Extra { lease: (random.below(2) == 0).then_some(lease), mark };
    match random.below(52) {
        0..=9 | 44..=46 => {
            Op::Create { kind: Snap::Active, key, parent: maybe(random, other), extra }
        }
        10 | 11 => Op::Create { kind: Snap::View, key, parent: maybe(random, other), extra },
        12 | 13 => Op::Towards { key, target: other, extra },
        14..=20 => Op::Commit { name: other, key, parent: None, extra },
        21 | 22 | 48..=51 => {
            let parent = Some(random.below(KEYS.len()));
            Op::Commit { name: other, key, parent, extra }
        }
        23..=26 => Op::Remove(key),
        27 => Op::Stat(key),
        28 => Op::Mounts(key),
        29 => Op::Usage(key),
        30 | 31 => Op::Walk,
        32 => Op::Update(key, Label::Mark(maybe(random, mark))),
        33 => Op::Update(key, Label::Root(random.below(2) == 0)),
        34 | 35 => Op::Update(key, Label::Refer(maybe(random, other))),
        36..=38 => Op::Lease(lease),
        39 | 40 => Op::Unlease(lease),
        41 => Op::Hold(lease, key),
        42 => Op::LetGo(lease, key),
        43 => Op::Held(lease),
        _ => Op::Collect,
    }
}
