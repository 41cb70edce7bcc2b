//! Reaching tasks again that somebody else started: this daemon before its restart, or a command.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use lamina_api::proto::containerd::task::v3 as api;
use lamina_core::namespace::check_identifier;
use lamina_core::{Error, Kind, Namespace, Result};

use crate::bundle::{self, Bundle};
use crate::exits::{self, blocking};
use crate::runtime::{Inner, Runtime};
use crate::shim::client::Client;
use crate::task::{Task, copy_log};

/// What became of the bundles that were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Tasks that can be reached.
    pub tasks: Vec<(Namespace, String)>,
    /// Tasks whose shims were dead or did not answer; they were cleaned up, and their ends published.
    pub lost: Vec<(Namespace, String)>,
}

impl Runtime {
    /// Reaches the tasks of every bundle again, and cleans up those that cannot be reached. For who
    /// holds the host's lock, before it serves: a bundle that somebody is making looks dead.
    ///
    /// # Errors
    /// Internal when the directory of bundles cannot be read.
    pub async fn load(&self) -> Result<Loaded> {
        let inner = self.inner.clone();
        self.inner.run(async move { load(&inner).await }).await
    }
}

async fn load(inner: &Arc<Inner>) -> Result<Loaded> {
    let place = inner.clone();
    let bundles = blocking(move || list(&place)).await?;
    let found = join_all(bundles.iter().map(|bundle| load_one(inner, bundle))).await;
    let mut loaded = Loaded::default();
    for (bundle, reached) in bundles.iter().zip(found) {
        let key = (bundle.namespace().clone(), bundle.id().to_owned());
        match reached {
            true => loaded.tasks.push(key),
            false => loaded.lost.push(key),
        }
    }
    Ok(loaded)
}

async fn load_one(inner: &Arc<Inner>, bundle: &Bundle) -> bool {
    let key = (bundle.namespace().clone(), bundle.id().to_owned());
    // Somebody was quicker, and knows better.
    let Ok(reserved) = inner.reserve(&key) else { return true };
    match connect(inner, bundle).await {
        Ok(task) => {
            reserved.keep(task);
            true
        }
        Err(error) => {
            tracing::warn!(task = bundle.id(), "cannot be reached again: {}", error.chain());
            exits::clean_up(inner, bundle).await;
            false
        }
    }
}

/// Reaches the task of a bundle that is not known yet. None when its shim was dead, and is cleaned up
/// after now.
///
/// # Errors
/// Unavailable for a bundle that somebody is making, or that does not tell what it is.
pub(crate) async fn reach(inner: &Arc<Inner>, bundle: &Bundle) -> Result<Option<Arc<Task>>> {
    if let Err(error) = bundle.endpoint() {
        let message = format!("the bundle of task {:?} is not complete", bundle.id());
        return Err(error.context(message).with_kind(Kind::Unavailable));
    }
    match connect(inner, bundle).await {
        Ok(task) => Ok(Some(task)),
        Err(error) if matches!(error.kind(), Kind::Unavailable | Kind::NotFound) => {
            tracing::warn!(task = bundle.id(), "its shim is dead: {}", error.chain());
            exits::clean_up(inner, bundle).await;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Connects to the shim of a bundle and asks whether it has the task.
async fn connect(inner: &Arc<Inner>, bundle: &Bundle) -> Result<Arc<Task>> {
    let limit = inner.config.timeouts.load;
    let connecting = async {
        let client = Client::connect(&bundle.endpoint()?, bundle.namespace()).await?;
        let ask = api::StateRequest { id: bundle.id().to_owned(), exec_id: String::new() };
        client.call::<api::StateResponse>("State", &ask).await?;
        Ok(client)
    };
    let client = tokio::time::timeout(limit, connecting).await.unwrap_or_else(|_| {
        Err(Error::new(Kind::DeadlineExceeded, format!("no answer of the shim in {limit:?}")))
    })?;
    let stop = copy_log(inner, bundle)?;
    Ok(Task::new(inner, bundle.clone(), client, stop))
}

/// Every bundle. What was half removed is removed, and so is what is none.
fn list(inner: &Inner) -> Result<Vec<Bundle>> {
    let mut bundles = Vec::new();
    for namespace in names(&bundle::folder(&inner.config.state))? {
        let Ok(checked) = Namespace::new(&namespace) else { continue };
        for id in names(&bundle::folder(&inner.config.state).join(&namespace))? {
            let plain = id.strip_prefix('.').unwrap_or(&id);
            if check_identifier(plain).is_err() {
                continue;
            }
            let bundle = Bundle::of(&inner.config, &checked, plain);
            if plain == id {
                bundles.push(bundle);
            } else if let Err(error) = bundle.remove_hidden() {
                tracing::warn!(task = plain, "cannot remove its rest: {}", error.chain());
            }
        }
    }
    Ok(bundles)
}

/// Ids of a namespace that have a bundle.
pub(crate) fn ids(inner: &Inner, namespace: &Namespace) -> Result<Vec<String>> {
    let mut ids = names(&bundle::folder(&inner.config.state).join(namespace.as_str()))?;
    ids.retain(|id| check_identifier(id).is_ok());
    ids.sort();
    Ok(ids)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    let failed = |error: std::io::Error| {
        Error::internal(format!("list {}", folder.display())).with_source(error)
    };
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        // A name that is no text is none of ours.
        names.extend(entry.map_err(failed)?.file_name().into_string().ok());
    }
    Ok(names)
}
