//! The async trait over the synchronous manager.

use async_trait::async_trait;
use lamina_core::mount::{ActivateOptions, Activation};
use lamina_core::{Mount, MountManager, Result, Scope};

use super::core::Manager;
use crate::blocking;

/// What one scope sees.
#[derive(Clone, Debug)]
pub(super) struct Scoped {
    pub(super) manager: Manager,
    pub(super) scope: Scope,
}

#[async_trait]
impl MountManager for Scoped {
    async fn activate(
        &self,
        name: &str,
        mounts: &[Mount],
        options: ActivateOptions,
    ) -> Result<Activation> {
        let (this, name, mounts) = (self.clone(), name.to_owned(), mounts.to_vec());
        blocking::run(move || this.manager.activate(&this.scope, &name, &mounts, &options)).await
    }

    async fn deactivate(&self, name: &str) -> Result<()> {
        let (this, name) = (self.clone(), name.to_owned());
        blocking::run(move || this.manager.deactivate(&this.scope.namespace, &name)).await
    }

    async fn info(&self, name: &str) -> Result<Activation> {
        let (this, name) = (self.clone(), name.to_owned());
        blocking::run(move || this.manager.info(&this.scope.namespace, &name)).await
    }

    async fn list(&self) -> Result<Vec<Activation>> {
        let this = self.clone();
        blocking::run(move || this.manager.list(&this.scope.namespace)).await
    }
}
