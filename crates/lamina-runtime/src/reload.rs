//! Reaching tasks again that somebody else started: this daemon before its restart, or a command.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use lamina_api::proto::containerd::task::v3 as api;
use lamina_core::namespace::check_identifier;
use lamina_core::{Error, Kind, Namespace, Result, Scope};

use crate::bundle::{self, Bundle};
use crate::exits::{self, blocking};
use crate::kill;
use crate::runtime::{Holder, Inner, Key, Runtime};
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

impl Runtime {
    /// Cleans up after shims that are dead, and after who made a task and was killed meanwhile; answers
    /// what these were. Shims that live are not asked anything. For who holds the host's lock: a bundle
    /// that somebody is making looks dead.
    ///
    /// # Errors
    /// Internal when the directory of bundles cannot be read.
    pub async fn reconcile(&self) -> Result<Vec<(Namespace, String)>> {
        let inner = self.inner.clone();
        self.inner.run(async move { reconcile(&inner).await }).await
    }

    /// Gives a task up, whatever its shim does: the shim is killed, with what it has started to make or
    /// end the container, and cleaned up after. For who holds the host's lock.
    ///
    /// # Errors
    /// NotFound when there is no bundle; Unavailable while somebody else is at it.
    pub async fn destroy(&self, scope: &Scope, id: &str) -> Result<()> {
        check_identifier(id)?;
        let (inner, namespace) = (self.inner.clone(), scope.namespace.clone());
        let bundle = Bundle::of(&inner.config, &namespace, id);
        if !bundle.exists() {
            return Err(Error::not_found(format!("task {id:?}")));
        }
        let key = (namespace, id.to_owned());
        self.inner.run(async move { destroy(&inner, &bundle, &key).await }).await
    }
}

async fn reconcile(inner: &Arc<Inner>) -> Result<Vec<(Namespace, String)>> {
    let place = inner.clone();
    let mut lost = Vec::new();
    for bundle in blocking(move || list(&place)).await? {
        let key = (bundle.namespace().clone(), bundle.id().to_owned());
        // Somebody of this process has it, and sees its end.
        let Ok(_reserved) = inner.reserve(&key) else { continue };
        let dead = match bundle.endpoint() {
            Ok(endpoint) => Client::connect(&endpoint, bundle.namespace()).await.is_err(),
            Err(_) => true,
        };
        if dead {
            tracing::warn!(task = bundle.id(), "nobody has it any more: it is cleaned up after");
            kill::all_of(&bundle).await;
            exits::clean_up(inner, &bundle).await;
            lost.push(key);
        }
    }
    Ok(lost)
}

async fn destroy(inner: &Arc<Inner>, bundle: &Bundle, key: &Key) -> Result<()> {
    match inner.reserve_or(key) {
        Ok(_reserved) => {
            kill::all_of(bundle).await;
            exits::clean_up(inner, bundle).await;
        }
        Err(Holder::Task(task)) => {
            let mut gone = task.gone.lock().await;
            // From here on the shim's end is no surprise.
            *gone = true;
            kill::all_of(bundle).await;
            let exit = exits::clean_up(inner, bundle).await;
            inner.forget(&task);
            task.end(exit);
        }
        Err(Holder::Busy(_)) => {
            return Err(Error::unavailable(format!("task {:?} is being made", key.1)));
        }
    }
    match bundle.exists() {
        true => Err(Error::unavailable(format!("the bundle of task {:?} stays", key.1))),
        false => Ok(()),
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
        // It lives and has no such task: somebody makes it just now, unless nobody else can.
        Err(error) if error.is_not_found() && inner.host.is_none() => Ok(None),
        Err(error) if error.is_not_found() => {
            tracing::warn!(task = bundle.id(), "its shim has no task: {}", error.chain());
            kill::all_of(bundle).await;
            exits::clean_up(inner, bundle).await;
            Ok(None)
        }
        Err(error) if error.kind() == Kind::Unavailable => {
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
