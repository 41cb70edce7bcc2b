//! [`Introspection`] of this process.

use async_trait::async_trait;
use lamina_api::convert::any;
use lamina_api::proto::containerd::types::RuntimeRequest;
use lamina_core::introspection::{Introspection, PluginDetails, PluginInfo, Server};
use lamina_core::{Any, Error, Filters, Result};

use super::Site;
use super::builtin::RUNTIME;

/// Tells about the store and the services of this process.
#[derive(Clone, Debug)]
pub struct Local(pub Site);

impl Local {
    /// Snapshotters may be opened for an answer, and the id of the store be made.
    async fn blocking<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Site) -> T + Send + 'static,
    ) -> Result<T> {
        let site = self.0.clone();
        let done = tokio::task::spawn_blocking(move || work(&site)).await;
        done.map_err(|error| Error::internal(what).with_source(error))
    }

    /// What the shim of a runtime says of itself.
    async fn runtime_info(&self, options: Any) -> Result<Any> {
        let options = any::encode(options);
        if !any::is::<RuntimeRequest>(&options) {
            let message = format!("the runtimes are not asked with {:?}", options.type_url);
            return Err(Error::unimplemented(message));
        }
        let asked: RuntimeRequest = any::unpack("options", &options)?;
        let none = || Error::unimplemented("no daemon runs containers");
        let runtime = self.0.runtime.as_ref().ok_or_else(none)?;
        runtime.info(&asked.runtime_path, asked.options.map(any::decode).as_ref()).await
    }
}

#[async_trait]
impl Introspection for Local {
    async fn plugins(&self, filters: Filters) -> Result<Vec<PluginInfo>> {
        let mut plugins = self.blocking("list plugins", Site::plugins).await?;
        plugins.retain(|plugin| filters.matches(plugin));
        Ok(plugins)
    }

    async fn plugin(&self, kind: &str, id: &str, options: Option<Any>) -> Result<PluginDetails> {
        let plugins = self.blocking("list plugins", Site::plugins).await?;
        let found = plugins.into_iter().find(|plugin| plugin.kind == kind && plugin.id == id);
        let plugin = found.ok_or_else(|| Error::not_found(format!("plugin {kind}.{id}")))?;
        if kind == RUNTIME
            && let Some(options) = options
        {
            let extra = Some(self.runtime_info(options).await?);
            return Ok(PluginDetails { plugin, extra });
        }
        if options.is_some() {
            return Err(Error::unimplemented(format!("plugin {kind}.{id} takes no options")));
        }
        Ok(PluginDetails { plugin, extra: None })
    }

    async fn server(&self) -> Result<Server> {
        let uuid = self.blocking("the id of the store", |site| site.store.uuid()).await??;
        let namespace = std::fs::metadata("/proc/self/ns/pid")
            .map_err(|error| Error::internal("look at /proc/self/ns/pid").with_source(error))?;
        Ok(Server {
            uuid,
            pid: std::process::id().into(),
            pid_namespace: std::os::unix::fs::MetadataExt::ino(&namespace),
            // Nothing that Lamina takes is on its way out.
            deprecations: Vec::new(),
        })
    }
}
