//! Types that a plain mount call cannot mount.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use lamina_core::mount::ActiveMount;
use lamina_core::{Mount, Result};

/// Mounts one type in its own way.
///
/// A crash may come at any moment of either call, and [`unmount`](Self::unmount) is then called with
/// whatever it left.
pub trait Handler: Send + Sync + fmt::Debug {
    /// Mounts at `point`, which does not exist yet, in a directory that does and is ours alone.
    /// `earlier` is what the activation mounted before. Leaves nothing behind on an error.
    fn mount(&self, mount: &Mount, point: &Path, earlier: &[ActiveMount]) -> Result<()>;

    /// Undoes it and removes `point`. Nothing there is no error.
    fn unmount(&self, mount: &Mount, point: &Path) -> Result<()>;
}

/// Handlers by mount type.
#[derive(Clone, Debug, Default)]
pub struct Handlers(BTreeMap<String, Arc<dyn Handler>>);

impl Handlers {
    /// None.
    pub fn none() -> Self {
        Handlers::default()
    }

    /// Adds one for mounts of type `kind`; it takes the place of an earlier one.
    #[must_use]
    pub fn with(mut self, kind: &str, handler: Arc<dyn Handler>) -> Self {
        self.0.insert(kind.to_owned(), handler);
        self
    }

    /// The one for a type.
    pub(super) fn get(&self, kind: &str) -> Option<&Arc<dyn Handler>> {
        self.0.get(kind)
    }
}
