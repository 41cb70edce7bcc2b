//! An activation and its end, cut short at every step.

use std::path::Path;
use std::sync::Arc;

use lamina_core::Result;
use lamina_testkit::crash::{self, Listener, Scenario};

use super::super::super::temp::TempMounts;
use super::super::super::testing::{MountDir, need_root};
use super::super::super::{How, is_mounted, unmount_recursive};
use super::super::Manager;
use super::{mounts_below, names, namespace, open, options, scope, targets, temporary, tmpfs};
use crate::db::{Db, Options};
use crate::durability::Durability;
use crate::fault::{Faults, Steps};

struct Cuts(Listener);

impl Faults for Cuts {
    fn reach(&self, step: &'static str) -> Result<()> {
        self.0.reach(step)
    }
}

/// Takes mounts along when the check fails; the harness deletes the directory behind it.
struct Guard<'a>(&'a Path);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        unmount_recursive(self.0, How::Detach).unwrap();
    }
}

fn act(dir: &Path, listener: Listener) -> Result<()> {
    let steps = Steps::watched(Arc::new(Cuts(listener)));
    let database = Options { steps: steps.clone(), ..Options::new(Durability::Full) };
    let db = Db::open(&dir.join("db"), database)?;
    let manager = Manager::open(db, super::ManagerOptions { steps, ..options(dir) })?;
    manager.activate(&scope(), "a", &[tmpfs(), tmpfs()], &temporary())?;
    manager.deactivate(&namespace(), "a")
}

fn check(dir: &Path) {
    let _guard = Guard(dir);
    let manager = open(dir);
    // Either it is not there, or it is whole.
    for found in manager.list(&namespace()).unwrap() {
        assert_eq!(found.active.len(), 2);
        assert!(found.active.iter().all(|mount| is_mounted(mount.mount_point.as_ref()).unwrap()));
        manager.deactivate(&namespace(), "a").unwrap();
    }
    assert!(names(&manager).is_empty());
    assert_eq!((targets(dir).len(), mounts_below(dir)), (0, 0));
    manager.activate(&scope(), "a", &[tmpfs()], &temporary()).unwrap();
    manager.deactivate(&namespace(), "a").unwrap();
    assert_eq!((targets(dir).len(), mounts_below(dir)), (0, 0));
}

#[test]
fn privileged_cut_at_every_step() {
    need_root!("privileged_cut_at_every_step");
    // Undone at once: the children that are killed begin here too.
    let probe = MountDir::new();
    let probed = TempMounts::new(probe.path().join("tmp")).with(&[tmpfs()], |_| Ok(()));
    drop(probe);
    if let Err(error) = probed {
        return eprintln!("SKIP privileged_cut_at_every_step: {}", error.chain());
    }
    let steps = crash::at_every_step(&Scenario {
        test: "mount::manager::tests::crash::privileged_cut_at_every_step",
        prepare: &|dir| drop(open(dir)),
        act: &act,
        check: &|dir, _| check(dir),
    });
    let reached = |step| steps.iter().any(|(name, _)| *name == step);
    for step in
        ["activate.row", "activate.mounted", "deactivate.row", "deactivate.unmounted", "db.commit"]
    {
        assert!(reached(step), "{step} in {steps:?}");
    }
}
