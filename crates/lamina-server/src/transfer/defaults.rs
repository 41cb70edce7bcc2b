//! Where images are unpacked when a client names no snapshotter: where the namespace's label says, in
//! the namespace of Kubernetes where the CRI's setting does, where `unpack_config` does for the platform,
//! and else where everything goes.

use lamina_core::platform::Matcher;
use lamina_core::transfer::Unpack;
use lamina_core::{Host as _, Namespace, Platform, Result, Scope, labels};
use lamina_store::Store;

use crate::config::{CRI_NAMESPACE, Config, DEFAULT_SNAPSHOTTER};

/// What the configuration says of it.
#[derive(Debug)]
pub(super) struct Defaults {
    cri: String,
    /// Those of `unpack_config` that name both.
    by_platform: Vec<(Platform, String)>,
}

impl Defaults {
    pub(super) fn new(config: &Config) -> Defaults {
        let entries = config.transfer.unpack.iter().flatten();
        let by_platform = entries.filter_map(|entry| {
            let platform = Platform::parse(&entry.platform).ok()?;
            (!entry.snapshotter.is_empty()).then(|| (platform, entry.snapshotter.clone()))
        });
        Defaults { cri: config.cri_snapshotter.clone(), by_platform: by_platform.collect() }
    }

    /// What a client asked for, with what it left out.
    ///
    /// # Errors
    /// Those of the database.
    pub(super) async fn fill(
        &self,
        store: &Store,
        scope: &Scope,
        unpacks: &[Unpack],
    ) -> Result<Vec<(String, Platform)>> {
        let mut of_namespace = None;
        if unpacks.iter().any(|unpack| unpack.snapshotter.is_empty()) {
            let mut found = store.namespaces().labels(&scope.namespace).await?;
            of_namespace = found.remove(labels::DEFAULT_SNAPSHOTTER);
        }
        let filled = unpacks.iter().map(|unpack| {
            let platform = unpack.platform.clone().unwrap_or_else(Platform::host);
            let name = match (unpack.snapshotter.as_str(), &of_namespace) {
                ("", Some(name)) => name,
                ("", None) => self.configured(&scope.namespace, &platform),
                (name, _) => name,
            };
            (name.to_owned(), platform)
        });
        Ok(filled.collect())
    }

    fn configured(&self, namespace: &Namespace, platform: &Platform) -> &str {
        if namespace.as_str() == CRI_NAMESPACE {
            return &self.cri;
        }
        let fits = |entry: &&(Platform, String)| Matcher::strict(&entry.0).matches(platform);
        self.by_platform.iter().find(fits).map_or(DEFAULT_SNAPSHOTTER, |(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[tokio::test]
    async fn the_nearest_word_counts() {
        let dir = tempfile::tempdir().unwrap();
        let entry = |platform: &str, snapshotter: &str| config::Unpack {
            platform: platform.to_owned(),
            snapshotter: snapshotter.to_owned(),
            ..Default::default()
        };
        let mut config = Config {
            root: dir.path().join("root"),
            state: dir.path().join("state"),
            cri_snapshotter: "of-cri".to_owned(),
            ..Config::default()
        };
        config.transfer.unpack =
            Some(vec![entry("linux/arm64", ""), entry("linux/arm64", "of-platform")]);
        let store = Store::open(config.store()).unwrap();
        let namespace = |name: &str| Namespace::new(name).unwrap();
        let labels = [(labels::DEFAULT_SNAPSHOTTER.to_owned(), "of-namespace".to_owned())];
        store.namespaces().create(&namespace("labelled"), labels.into()).await.unwrap();

        let defaults = Defaults::new(&config);
        for (name, arch, asked, want) in [
            ("default", "arm64", "asked", "asked"),
            ("labelled", "arm64", "asked", "asked"),
            ("labelled", "arm64", "", "of-namespace"),
            ("k8s.io", "arm64", "", "of-cri"),
            ("default", "arm64", "", "of-platform"),
            ("default", "amd64", "", "overlayfs"),
        ] {
            let platform = Platform::new("linux", arch);
            let unpack = Unpack { platform: Some(platform.clone()), snapshotter: asked.to_owned() };
            let filled = defaults.fill(&store, &Scope::new(namespace(name)), &[unpack]).await;
            assert_eq!(filled.unwrap(), [(want.to_owned(), platform)], "{name} {arch} {asked:?}");
        }
        store.close().unwrap();
    }
}
