//! One namespace of a snapshotter as it is meant: what an operation answers, and what becomes of it.

use std::collections::{BTreeMap, BTreeSet};

use lamina_core::Kind;
use lamina_core::snapshot::Kind as Snap;

pub(crate) const KEYS: [&str; 4] = ["a", "b", "c", "d"];

/// Leases that may be there. The second is flat: labels are not followed from what it holds.
pub(crate) const LEASES: [&str; 2] = ["full", "flat"];

/// Keys and leases by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Create {
        kind: Snap,
        key: usize,
        parent: Option<usize>,
        extra: Extra,
    },
    /// A prepare whose labels say what it is to become.
    Towards {
        key: usize,
        target: usize,
        extra: Extra,
    },
    /// With a parent of its own: a rebase, when the active has none.
    Commit {
        name: usize,
        key: usize,
        parent: Option<usize>,
        extra: Extra,
    },
    Remove(usize),
    Stat(usize),
    Mounts(usize),
    Usage(usize),
    Walk,
    Update(usize, Label),
    /// Makes a lease.
    Lease(usize),
    /// Deletes a lease.
    Unlease(usize),
    Hold(usize, usize),
    LetGo(usize, usize),
    Held(usize),
    /// Of all namespaces.
    Collect,
}

/// What comes with a snapshot that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extra {
    pub(crate) lease: Option<usize>,
    pub(crate) mark: usize,
}

/// A change of one label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    Mark(Option<usize>),
    Root(bool),
    Refer(Option<usize>),
}

/// What is known of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Known {
    pub(crate) kind: Snap,
    pub(crate) parent: Option<usize>,
    /// A label without a meaning.
    pub(crate) mark: Option<usize>,
    /// `gc.root`
    pub(crate) root: bool,
    /// `gc.ref.snapshot`
    pub(crate) refers: Option<usize>,
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Done,
    Info(Known),
    All(Vec<(usize, Known)>),
    Held(BTreeSet<usize>),
}

/// That, or an error's class.
pub(crate) type Answer = Result<Told, Kind>;

/// The state of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Model {
    /// Whether the driver can give a parent at commit.
    pub(crate) rebase: bool,
    pub(crate) names: BTreeMap<usize, Known>,
    pub(crate) leases: BTreeMap<usize, BTreeSet<usize>>,
}

impl Model {
    /// Carries out `op`. What a failed one changed, it changed.
    pub(crate) fn step(&mut self, op: Op) -> Answer {
        match op {
            Op::Create { kind, key, parent, extra } => self.create(kind, key, parent, extra),
            Op::Towards { key, target, extra } => {
                self.check_lease(extra)?;
                if self.names.contains_key(&target) {
                    self.hold(extra, target);
                    return Err(Kind::AlreadyExists);
                }
                self.create(Snap::Active, key, None, extra)
            }
            Op::Commit { name, key, parent, extra } => self.commit(name, key, parent, extra),
            Op::Remove(key) => {
                self.known(key)?;
                if self.has_child(key) {
                    return Err(Kind::FailedPrecondition);
                }
                self.names.remove(&key);
                Ok(Told::Done)
            }
            Op::Stat(key) => self.known(key).map(Told::Info),
            Op::Mounts(key) => match self.known(key)?.kind {
                Snap::Committed => Err(Kind::FailedPrecondition),
                _ => Ok(Told::Done),
            },
            Op::Usage(key) => self.known(key).map(|_| Told::Done),
            Op::Walk => {
                Ok(Told::All(self.names.iter().map(|(key, known)| (*key, *known)).collect()))
            }
            Op::Update(key, label) => {
                let known = self.names.get_mut(&key).ok_or(Kind::NotFound)?;
                match label {
                    Label::Mark(mark) => known.mark = mark,
                    Label::Root(root) => known.root = root,
                    Label::Refer(to) => known.refers = to,
                }
                Ok(Told::Info(*known))
            }
            Op::Lease(lease) => {
                if self.leases.contains_key(&lease) {
                    return Err(Kind::AlreadyExists);
                }
                self.leases.insert(lease, BTreeSet::new());
                Ok(Told::Done)
            }
            Op::Unlease(lease) => {
                self.leases.remove(&lease).map(|_| Told::Done).ok_or(Kind::NotFound)
            }
            Op::Hold(lease, key) => {
                self.leases.get_mut(&lease).ok_or(Kind::NotFound)?.insert(key);
                Ok(Told::Done)
            }
            Op::LetGo(lease, key) => {
                self.leases.get_mut(&lease).ok_or(Kind::NotFound)?.remove(&key);
                Ok(Told::Done)
            }
            Op::Held(lease) => {
                self.leases.get(&lease).cloned().map(Told::Held).ok_or(Kind::NotFound)
            }
            // With nobody else at work: exactly what is reachable stays.
            Op::Collect => {
                let kept = self.reachable();
                self.names.retain(|key, _| kept.contains(key));
                Ok(Told::Done)
            }
        }
    }

    fn create(&mut self, kind: Snap, key: usize, parent: Option<usize>, extra: Extra) -> Answer {
        self.check_lease(extra)?;
        if self.names.contains_key(&key) {
            self.hold(extra, key);
            return Err(Kind::AlreadyExists);
        }
        if let Some(parent) = parent
            && self.known(parent)?.kind != Snap::Committed
        {
            return Err(Kind::InvalidArgument);
        }
        self.insert(key, kind, parent, extra);
        Ok(Told::Done)
    }

    fn commit(&mut self, name: usize, key: usize, on: Option<usize>, extra: Extra) -> Answer {
        self.check_lease(extra)?;
        if self.names.contains_key(&name) {
            return Err(Kind::AlreadyExists);
        }
        let active = self.known(key)?;
        if active.kind != Snap::Active {
            return Err(Kind::FailedPrecondition);
        }
        if on.is_some() && on != active.parent {
            if active.parent.is_some() {
                return Err(Kind::InvalidArgument);
            }
            let below = on.map(|on| self.known(on)).transpose()?.map(|below| below.kind);
            if below != Some(Snap::Committed) || !self.rebase {
                return Err(Kind::FailedPrecondition);
            }
        }
        self.names.remove(&key);
        for held in self.leases.values_mut() {
            if held.remove(&key) {
                held.insert(name);
            }
        }
        self.insert(name, Snap::Committed, on.or(active.parent), extra);
        Ok(Told::Done)
    }

    fn insert(&mut self, key: usize, kind: Snap, parent: Option<usize>, extra: Extra) {
        let mark = Some(extra.mark);
        self.names.insert(key, Known { kind, parent, mark, root: false, refers: None });
        self.hold(extra, key);
    }

    fn known(&self, key: usize) -> Result<Known, Kind> {
        self.names.get(&key).copied().ok_or(Kind::NotFound)
    }

    fn check_lease(&self, extra: Extra) -> Result<(), Kind> {
        match extra.lease {
            Some(lease) if !self.leases.contains_key(&lease) => Err(Kind::NotFound),
            _ => Ok(()),
        }
    }

    fn hold(&mut self, extra: Extra, key: usize) {
        if let Some(held) = extra.lease.and_then(|lease| self.leases.get_mut(&lease)) {
            held.insert(key);
        }
    }

    fn has_child(&self, key: usize) -> bool {
        self.names.values().any(|known| known.parent == Some(key))
    }

    fn reachable(&self) -> BTreeSet<usize> {
        let held = |lease: usize| self.leases.get(&lease).into_iter().flatten().copied();
        let mut full: BTreeSet<usize> = held(0).collect();
        full.extend(self.names.iter().filter(|(_, known)| known.root).map(|(key, _)| *key));
        let mut flat: BTreeSet<usize> = held(1).collect();
        // As often as there are keys, every way is gone to its end.
        for _ in KEYS {
            for (reached, follows_labels) in [(&mut full, true), (&mut flat, false)] {
                for key in reached.clone() {
                    let Some(known) = self.names.get(&key) else { continue };
                    reached.extend(known.parent);
                    reached.extend(known.refers.filter(|_| follows_labels));
                }
            }
        }
        full.union(&flat).copied().collect()
    }

    /// The states in which a collection under way may leave this one by its next deletion.
    pub(crate) fn collections(&self) -> Vec<Model> {
        let kept = self.reachable();
        let dropped = self.names.keys().filter(|key| !kept.contains(key) && !self.has_child(**key));
        dropped
            .map(|key| {
                let mut next = self.clone();
                next.names.remove(key);
                next
            })
            .collect()
    }
}
