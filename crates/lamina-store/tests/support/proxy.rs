//! A proxy snapshotter that is hostile when told to: another store's, which goes away before or after
//! it did what it was asked, or has layers already.

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use lamina_core::labels::SNAPSHOT_REF;
use lamina_core::snapshot::{CommitOptions, Info, Pages, Usage};
use lamina_core::{Error, Filters, Host, Labels, Mount, Result, Scope, Snapshotter};
use lamina_store::snapshot::driver::Capabilities;
use lamina_store::snapshot::remote::RemoteSource;
use lamina_store::{Options, Store};
use tokio::runtime::Handle;

/// The name under which a store uses it.
pub(crate) const NAME: &str = "remote";

/// How it behaves; changed while it is in use.
#[derive(Debug, Default)]
pub(crate) struct Script {
    /// Nobody listens.
    pub(crate) down: bool,
    /// The call whose answer never arrives, although it is carried out.
    pub(crate) deaf: Option<&'static str>,
    /// It has every layer.
    pub(crate) lazy: bool,
    /// It has so many layers, if it is not lazy.
    pub(crate) layers: usize,
    /// It wants to be told what a layer belongs to.
    pub(crate) annotations: bool,
    /// What each layer that it was asked for was labelled.
    pub(crate) labels: Vec<Labels>,
    /// What it was asked, with the key.
    pub(crate) asked: Vec<(&'static str, String)>,
}

/// A proxy, and what is behind it.
pub(crate) struct Proxy {
    pub(crate) behind: Store,
    pub(crate) script: Arc<Mutex<Script>>,
    name: &'static str,
}

impl Proxy {
    /// One that keeps its snapshots as the snapshotter `name` of a store of its own.
    pub(crate) fn open(options: Options, name: &'static str) -> Result<Proxy> {
        Ok(Proxy { behind: Store::open(options)?, script: Arc::default(), name })
    }

    /// One with plain directories in `dir`.
    pub(crate) fn native(dir: &Path) -> Result<Proxy> {
        let all = Options::new(dir.join("proxy/root"), dir.join("proxy/state"));
        let wait = std::time::Duration::from_secs(20);
        Proxy::open(Options { reserve: 0, wait, ..all }, "native")
    }

    /// How a store uses it.
    pub(crate) fn source(&self, runtime: &Handle) -> RemoteSource {
        let (behind, script, name) = (self.behind.clone(), Arc::clone(&self.script), self.name);
        RemoteSource {
            name: NAME.to_owned(),
            capabilities: Capabilities::default(),
            annotations: self.script.lock().unwrap().annotations,
            runtime: runtime.clone(),
            connect: Arc::new(move |scope: &Scope| {
                // What is behind a proxy knows no namespaces.
                let all = Scope::new(lamina_core::Namespace::new("all")?);
                assert_eq!(scope.lease, None);
                let inner = behind.snapshotter(&all, name)?;
                Ok(Arc::new(Asked { inner, script: Arc::clone(&script) }) as Arc<dyn Snapshotter>)
            }),
        }
    }
}

#[derive(Debug)]
struct Asked {
    inner: Arc<dyn Snapshotter>,
    script: Arc<Mutex<Script>>,
}

fn gone() -> Error {
    Error::unavailable("the socket is closed")
}

impl Asked {
    fn before(&self, call: &'static str, key: &str) -> Result<()> {
        let mut script = self.script.lock().unwrap();
        script.asked.push((call, key.to_owned()));
        if script.down { Err(gone()) } else { Ok(()) }
    }

    fn after<T>(&self, call: &'static str, answer: Result<T>) -> Result<T> {
        if self.script.lock().unwrap().deaf == Some(call) { Err(gone()) } else { answer }
    }

    async fn have(&self, target: &str, key: &str, parent: &str, labels: Labels) -> Result<()> {
        self.inner.prepare(key, parent, Labels::new()).await?;
        let name = format!("lazy {target}");
        let committed = self.inner.commit(&name, key, CommitOptions { labels, parent: None }).await;
        match committed {
            Err(error) if error.is_already_exists() => self.inner.remove(key).await,
            committed => committed,
        }
    }
}

#[async_trait]
impl Snapshotter for Asked {
    async fn stat(&self, key: &str) -> Result<Info> {
        self.before("stat", key)?;
        self.after("stat", self.inner.stat(key).await)
    }

    async fn update(&self, info: Info, paths: &[String]) -> Result<Info> {
        self.before("update", &info.name)?;
        self.inner.update(info, paths).await
    }

    async fn usage(&self, key: &str) -> Result<Usage> {
        self.before("usage", key)?;
        self.inner.usage(key).await
    }

    async fn mounts(&self, key: &str) -> Result<Vec<Mount>> {
        self.before("mounts", key)?;
        self.inner.mounts(key).await
    }

    async fn prepare(&self, key: &str, parent: &str, labels: Labels) -> Result<Vec<Mount>> {
        self.before("prepare", key)?;
        let target = labels.get(SNAPSHOT_REF).cloned();
        let has = {
            let mut script = self.script.lock().unwrap();
            script.labels.extend(target.is_some().then(|| labels.clone()));
            let has = script.lazy || (target.is_some() && script.layers > 0);
            script.layers = script.layers.saturating_sub(1);
            has
        };
        let answer = match target.filter(|_| has) {
            Some(target) => match self.have(&target, key, parent, labels).await {
                Ok(()) => Err(Error::already_exists("the proxy has it")),
                Err(error) => Err(error),
            },
            None => {
                // What is behind it would go by the label.
                let mut kept = labels;
                kept.remove(SNAPSHOT_REF);
                self.inner.prepare(key, parent, kept).await
            }
        };
        self.after("prepare", answer)
    }

    async fn view(&self, key: &str, parent: &str, labels: Labels) -> Result<Vec<Mount>> {
        self.before("view", key)?;
        self.after("view", self.inner.view(key, parent, labels).await)
    }

    async fn commit(&self, name: &str, key: &str, options: CommitOptions) -> Result<()> {
        self.before("commit", key)?;
        self.after("commit", self.inner.commit(name, key, options).await)
    }

    async fn remove(&self, key: &str) -> Result<()> {
        self.before("remove", key)?;
        self.after("remove", self.inner.remove(key).await)
    }

    fn walk(&self, filters: Filters) -> Pages<'_, Info> {
        self.inner.walk(filters)
    }

    async fn cleanup(&self) -> Result<()> {
        self.before("cleanup", "")?;
        self.inner.cleanup().await
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
