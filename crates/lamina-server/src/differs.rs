//! Who lays layers down and writes them: our own differ, and those of other processes, in the order of
//! `plugins."io.containerd.service.v1.diff-service".default`. One that does not know a kind of layer
//! passes to the next.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use lamina_client::Client;
use lamina_core::diff::{ApplyOptions, CompareOptions};
use lamina_core::{Descriptor, Differ, Error, Host as _, Kind, Mount, Result, Scope};
use lamina_store::Store;

use crate::config::{Config, ProxyKind};
use crate::plugin::DIFFER;

/// The differs of a daemon. Clones are the same ones.
#[derive(Clone)]
pub(crate) struct Differs {
    list: Arc<[Source]>,
    /// Each layer is to be durable when its call is answered.
    sync: bool,
}

enum Source {
    /// The store's.
    Own,
    /// Another process'.
    Proxy { name: String, client: Client },
}

/// The name of our own. `erofs` is one that containerd has beside it; ours lays layers for every
/// snapshotter as that wants them.
pub(crate) const OWN: [&str; 2] = ["walking", "erofs"];

impl Differs {
    /// Those of the configuration. Proxies are connected to when they are first used.
    ///
    /// # Errors
    /// InvalidArgument for a name that nothing has, or an address that no socket has.
    pub(crate) fn new(config: &Config) -> Result<Differs> {
        let mut list = Vec::new();
        for name in &config.differs {
            if OWN.contains(&name.as_str()) {
                if !list.iter().any(|source| matches!(source, Source::Own)) {
                    list.push(Source::Own);
                }
                continue;
            }
            let proxy = config
                .proxies
                .get(name)
                .filter(|proxy| proxy.kind == ProxyKind::Differ && !config.disables(DIFFER, name));
            let Some(proxy) = proxy else {
                return Err(Error::invalid_argument(format!(
                    "io.containerd.service.v1.diff-service.default: no differ is called {name:?}"
                )));
            };
            let client = Client::connect_lazily(&proxy.address)
                .map_err(|error| error.context(format!("proxy differ {name}")))?;
            list.push(Source::Proxy { name: name.clone(), client });
        }
        Ok(Differs { list: list.into(), sync: config.sync_diffs })
    }

    /// All of them, for one scope.
    pub(crate) fn scoped(&self, store: &Store, scope: &Scope) -> Arc<dyn Differ> {
        let of = |source: &Source| match source {
            Source::Own => ("walking".to_owned(), store.differ(scope)),
            Source::Proxy { name, client } => (name.clone(), client.differ(scope)),
        };
        Arc::new(InOrder { list: self.list.iter().map(of).collect(), sync: self.sync })
    }
}

impl fmt::Debug for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.list.iter().map(|source| match source {
            Source::Own => "walking",
            Source::Proxy { name, .. } => name,
        });
        f.debug_list().entries(names).finish()
    }
}

#[derive(Debug)]
struct InOrder {
    list: Vec<(String, Arc<dyn Differ>)>,
    sync: bool,
}

#[async_trait]
impl Differ for InOrder {
    async fn apply(
        &self,
        descriptor: &Descriptor,
        mounts: &[Mount],
        mut options: ApplyOptions,
    ) -> Result<Descriptor> {
        options.sync |= self.sync;
        let mut passed = Error::unimplemented("no differ is configured");
        for (name, differ) in &self.list {
            let answer = differ.apply(descriptor, mounts, options.clone()).await;
            match answer.map_err(|error| named(name, error)) {
                Err(error) if error.kind() == Kind::Unimplemented => passed = error,
                answer => return answer,
            }
        }
        Err(passed)
    }

    async fn compare(
        &self,
        lower: &[Mount],
        upper: &[Mount],
        options: CompareOptions,
    ) -> Result<Descriptor> {
        let mut passed = Error::unimplemented("no differ is configured");
        for (name, differ) in &self.list {
            let answer = differ.compare(lower, upper, options.clone()).await;
            match answer.map_err(|error| named(name, error)) {
                Err(error) if error.kind() == Kind::Unimplemented => passed = error,
                answer => return answer,
            }
        }
        Err(passed)
    }
}

/// What a proxy says is said to be the proxy's.
fn named(name: &str, error: Error) -> Error {
    if OWN.contains(&name) { error } else { error.context(format!("proxy differ {name}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Proxy;

    #[tokio::test]
    async fn names_are_those_of_differs() {
        let proxy = |kind| Proxy {
            kind,
            address: "/nowhere/sock".into(),
            platform: None,
            capabilities: Vec::new(),
            exports: Default::default(),
        };
        let mut config = Config::default();
        config.proxies.insert("mine".to_owned(), proxy(ProxyKind::Differ));
        config.proxies.insert("other".to_owned(), proxy(ProxyKind::Snapshotter));
        for (names, want) in [
            (&["walking"][..], Ok("[\"walking\"]")),
            (&["erofs", "walking"], Ok("[\"walking\"]")),
            (&["mine", "walking"], Ok("[\"mine\", \"walking\"]")),
            (&["walking", "mine"], Ok("[\"walking\", \"mine\"]")),
            (&["other"], Err("other")),
            (&["walking", "none"], Err("none")),
        ] {
            config.differs = names.iter().map(|&name| name.to_owned()).collect();
            match (Differs::new(&config), want) {
                (Ok(differs), want) => assert_eq!(Ok(format!("{differs:?}").as_str()), want),
                (Err(error), Err(name)) => assert!(error.message().contains(name), "{error}"),
                (Err(error), Ok(_)) => panic!("{names:?}: {error}"),
            }
        }
        config.differs = vec!["mine".to_owned()];
        config.disabled_plugins = vec![format!("{DIFFER}.mine")];
        assert_eq!(Differs::new(&config).unwrap_err().kind(), Kind::InvalidArgument);
    }
}
