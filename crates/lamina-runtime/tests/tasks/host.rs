//! A host of container records and mounts alone, in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lamina_core::mount::{ActivateOptions, Activation};
use lamina_core::{
    Container, ContainerStore, ContentStore, Differ, Envelope, Error, Event, EventSink, Filters,
    Host, ImageStore, LeaseStore, Mount, MountManager, NamespaceStore, Result, SandboxStore, Scope,
    Snapshotter,
};

#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    containers: BTreeMap<String, Container>,
    active: BTreeMap<String, Activation>,
    events: Vec<Envelope>,
}

impl Memory {
    pub(crate) fn add(&self, container: Container) {
        self.0.lock().unwrap().containers.insert(container.id.clone(), container);
    }

    /// Names of what the mount manager has active.
    pub(crate) fn active(&self) -> Vec<String> {
        self.0.lock().unwrap().active.keys().cloned().collect()
    }

    /// Topics published so far, with the payload's bytes.
    pub(crate) fn events(&self) -> Vec<(String, Vec<u8>)> {
        let state = self.0.lock().unwrap();
        let read = |envelope: &Envelope| match &envelope.event {
            Event::Other { topic, payload } => (topic.clone(), payload.value.clone()),
            event => panic!("{event:?}"),
        };
        state.events.iter().map(read).collect()
    }
}

impl EventSink for Memory {
    fn send(&self, envelope: Envelope) {
        self.0.lock().unwrap().events.push(envelope);
    }
}

impl Host for Memory {
    fn containers(&self, _: &Scope) -> Arc<dyn ContainerStore> {
        Arc::new(self.clone())
    }

    fn mounts(&self, _: &Scope) -> Arc<dyn MountManager> {
        Arc::new(self.clone())
    }

    fn namespaces(&self) -> Arc<dyn NamespaceStore> {
        panic!("the runtime needs no namespaces")
    }

    fn content(&self, _: &Scope) -> Arc<dyn ContentStore> {
        panic!("the runtime needs no content")
    }

    fn snapshotter(&self, _: &Scope, _: &str) -> Result<Arc<dyn Snapshotter>> {
        panic!("the runtime needs no snapshots")
    }

    fn layers(&self, _: &Scope, _: &str) -> Result<Arc<dyn lamina_core::layer::LayerStore>> {
        panic!("the runtime needs no layers")
    }

    fn images(&self, _: &Scope) -> Arc<dyn ImageStore> {
        panic!("the runtime needs no images")
    }

    fn differ(&self, _: &Scope) -> Arc<dyn Differ> {
        panic!("the runtime compares nothing")
    }

    fn sandboxes(&self, _: &Scope) -> Arc<dyn SandboxStore> {
        panic!("the runtime needs no sandboxes")
    }

    fn leases(&self, _: &Scope) -> Arc<dyn LeaseStore> {
        panic!("the runtime needs no leases")
    }
}

#[async_trait]
impl ContainerStore for Memory {
    async fn get(&self, id: &str) -> Result<Container> {
        let found = self.0.lock().unwrap().containers.get(id).cloned();
        found.ok_or_else(|| Error::not_found(format!("container {id:?}")))
    }

    async fn list(&self, _: Filters) -> Result<Vec<Container>> {
        panic!("the runtime lists no containers")
    }

    async fn create(&self, _: Container) -> Result<Container> {
        panic!("the runtime makes no containers")
    }

    async fn update(&self, _: Container, _: &[String]) -> Result<Container> {
        panic!("the runtime changes no containers")
    }

    async fn delete(&self, _: &str) -> Result<()> {
        panic!("the runtime deletes no containers")
    }
}

/// Activates what has the type `managed`, as a bind mount of the same source.
#[async_trait]
impl MountManager for Memory {
    async fn activate(
        &self,
        name: &str,
        mounts: &[Mount],
        options: ActivateOptions,
    ) -> Result<Activation> {
        if !mounts.iter().any(|mount| mount.kind == "managed") {
            return Err(Error::unimplemented("nothing to manage"));
        }
        let system = mounts.iter().map(|mount| Mount { kind: "bind".to_owned(), ..mount.clone() });
        let activation = Activation {
            name: name.to_owned(),
            active: Vec::new(),
            system: system.collect(),
            labels: options.labels,
        };
        self.0.lock().unwrap().active.insert(name.to_owned(), activation.clone());
        Ok(activation)
    }

    async fn deactivate(&self, name: &str) -> Result<()> {
        let removed = self.0.lock().unwrap().active.remove(name);
        removed.map(|_| ()).ok_or_else(|| Error::not_found(format!("activation {name:?}")))
    }

    async fn info(&self, name: &str) -> Result<Activation> {
        let found = self.0.lock().unwrap().active.get(name).cloned();
        found.ok_or_else(|| Error::not_found(format!("activation {name:?}")))
    }

    async fn list(&self) -> Result<Vec<Activation>> {
        panic!("the runtime lists no activations")
    }
}
