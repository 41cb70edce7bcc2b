//! A store for tests of races: something is done at exactly one step of an operation.

use std::sync::{Arc, Mutex};

use lamina_core::content::CommitOptions;
use lamina_core::{Digest, Namespace, Scope};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::fault::Steps;
use crate::{Durability, Options, Store};

/// A fresh store with whoever is to act at a step.
pub(crate) struct Rig {
    pub(crate) store: Store,
    /// For calls of the async traits.
    pub(crate) runtime: Runtime,
    pub(crate) dir: TempDir,
    wanted: Arc<Mutex<Option<Wanted>>>,
}

struct Wanted {
    step: &'static str,
    action: Box<dyn FnOnce() + Send>,
}

impl Rig {
    pub(crate) fn new() -> Rig {
        let wanted: Arc<Mutex<Option<Wanted>>> = Arc::default();
        let at = Arc::clone(&wanted);
        let steps = Steps::watched(Arc::new(move |step: &'static str| {
            let found = at.lock().unwrap().take_if(|wanted| wanted.step == step);
            // Not under the lock: the action reaches steps of its own.
            if let Some(wanted) = found {
                (wanted.action)();
            }
            Ok(())
        }));
        let dir = tempfile::tempdir().unwrap();
        let all = Options::new(dir.path().join("root"), dir.path().join("state"));
        let options = Options { durability: Durability::None, reserve: 0, steps, ..all };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
        Rig { store: Store::open(options).unwrap(), runtime: runtime.unwrap(), dir, wanted }
    }

    /// Does `action` when `step` is reached next, on the thread that reaches it.
    pub(crate) fn at(&self, step: &'static str, action: impl FnOnce() + Send + 'static) {
        *self.wanted.lock().unwrap() = Some(Wanted { step, action: Box::new(action) });
    }

    /// Fails when the step of [`at`](Self::at) was not reached.
    pub(crate) fn has_acted(&self) {
        let left = self.wanted.lock().unwrap().as_ref().map(|wanted| wanted.step);
        assert_eq!(left, None, "was not reached");
    }

    /// A blob of these bytes that nothing refers to.
    pub(crate) fn blob(&self, bytes: &[u8]) -> Digest {
        let content = self.store.content_now(&scope());
        let mut writer = content.writer_now("blob", Default::default()).unwrap();
        writer.write(bytes).unwrap();
        writer.commit(CommitOptions::default()).unwrap()
    }
}

pub(crate) fn space() -> Namespace {
    Namespace::new("a").unwrap()
}

pub(crate) fn scope() -> Scope {
    Scope::new(space())
}
