//! The snapshotter that a command works with.

use std::fmt;
use std::ops::Deref;
use std::sync::OnceLock;

use lamina_core::{Host, Namespace, Result, labels};

/// Its name: what was typed, else what the namespace's label says once a host was asked, else what the
/// configuration says.
#[derive(Debug)]
pub(crate) struct Chosen {
    name: String,
    typed: bool,
    of_namespace: OnceLock<String>,
}

impl Chosen {
    pub(super) fn new(typed: Option<&str>, configured: &str) -> Chosen {
        let name = typed.unwrap_or(configured).to_owned();
        Chosen { name, typed: typed.is_some(), of_namespace: OnceLock::new() }
    }

    /// Asks for the namespace's label, where nothing was typed.
    ///
    /// # Errors
    /// Those of asking.
    pub(crate) async fn learn(&self, host: &dyn Host, namespace: &Namespace) -> Result<()> {
        if self.typed || self.of_namespace.get().is_some() {
            return Ok(());
        }
        let mut found = host.namespaces().labels(namespace).await?;
        if let Some(name) = found.remove(labels::DEFAULT_SNAPSHOTTER) {
            self.of_namespace.get_or_init(|| name);
        }
        Ok(())
    }
}

impl Deref for Chosen {
    type Target = String;

    fn deref(&self) -> &String {
        self.of_namespace.get().unwrap_or(&self.name)
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}
