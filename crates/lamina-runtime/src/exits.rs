//! Shims that vanish: what they left is cleaned up, their tasks' ends are told, and who waits wakes.

use std::sync::Arc;

use jiff::Timestamp;
use lamina_api::convert::{any, timestamp};
use lamina_api::proto::containerd::events::{TaskDelete, TaskExit};
use lamina_api::proto::containerd::task::v2::DeleteResponse;
use lamina_core::event::{Envelope, Event};
use lamina_core::task::{Exit, UNKNOWN_EXIT_STATUS};
use lamina_core::{Error, Kind, Result, Scope};

use crate::bundle::Bundle;
use crate::runtime::Inner;
use crate::shim::start;
use crate::task::Task;

/// Waits until the shim of a task has gone, and cleans up then.
pub(crate) async fn watch(inner: Arc<Inner>, task: Arc<Task>) {
    tokio::select! {
        biased;
        () = task.stopped() => {}
        () = task.client.closed() => vanished(&inner, &task).await,
    }
}

async fn vanished(inner: &Inner, task: &Task) {
    let mut gone = task.gone.lock().await;
    if *gone {
        return;
    }
    tracing::warn!(task = task.id(), "the shim has vanished");
    let exit = clean_up(inner, &task.bundle).await;
    *gone = true;
    inner.forget(task);
    task.end(exit);
}

/// Cleans up after a task whose shim is dead, and publishes its end.
pub(crate) async fn clean_up(inner: &Inner, bundle: &Bundle) -> Exit {
    let deleted = call_delete(inner, bundle).await;
    remove_socket(bundle).await;
    if let Err(error) = remove(inner, bundle).await {
        tracing::error!(task = bundle.id(), "cannot clean up: {}", error.chain());
    }
    let ended = read_end(deleted);
    publish(inner, bundle, &ended);
    ended.exit
}

/// Has the shim's program clean up, if the bundle tells which that is.
pub(crate) async fn call_delete(inner: &Inner, bundle: &Bundle) -> Option<DeleteResponse> {
    let deleted = async {
        let shim = bundle.shim()?;
        start::delete(&inner.config, bundle, &shim).await
    };
    let warn = |error: &Error| tracing::warn!(task = bundle.id(), "{}", error.chain());
    deleted.await.inspect_err(warn).ok()
}

/// Removes the socket of a shim that had no time to.
pub(crate) async fn remove_socket(bundle: &Bundle) {
    let Ok(endpoint) = bundle.endpoint() else { return };
    let Ok(path) = endpoint.path() else { return };
    let refused = tokio::net::UnixStream::connect(path)
        .await
        .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused);
    if refused {
        // Gone already, or in the way of nobody: shims make theirs anew.
        let _ = std::fs::remove_file(path);
    }
}

/// Removes the bundle, and unmounts what was mounted for it.
pub(crate) async fn remove(inner: &Inner, bundle: &Bundle) -> Result<()> {
    let owned = bundle.clone();
    let removed = blocking(move || owned.remove()).await;
    let Some(host) = &inner.host else { return removed };
    let mounts = host.mounts(&Scope::new(bundle.namespace().clone()));
    let deactivated = match mounts.deactivate(bundle.id()).await {
        Err(error) if !matches!(error.kind(), Kind::NotFound | Kind::Unimplemented) => Err(error),
        _ => Ok(()),
    };
    removed.and(deactivated)
}

struct Ended {
    pid: u32,
    exit: Exit,
}

fn read_end(deleted: Option<DeleteResponse>) -> Ended {
    let unseen = Exit { status: UNKNOWN_EXIT_STATUS, at: Timestamp::now() };
    let Some(answer) = deleted else { return Ended { pid: 0, exit: unseen } };
    let at = timestamp::decode_optional("exited_at", answer.exited_at).ok().flatten();
    let exit = Exit { status: answer.exit_status, at: at.unwrap_or(unseen.at) };
    Ended { pid: answer.pid, exit }
}

fn publish(inner: &Inner, bundle: &Bundle, ended: &Ended) {
    let Ended { pid, exit } = *ended;
    let id = bundle.id().to_owned();
    let exited_at = Some(timestamp::encode(exit.at));
    let exited = TaskExit {
        container_id: id.clone(),
        id: id.clone(),
        pid,
        exit_status: exit.status,
        exited_at,
    };
    let deleted = TaskDelete {
        container_id: id,
        pid,
        exit_status: exit.status,
        exited_at,
        id: String::new(),
    };
    let events = [("/tasks/exit", any::pack(&exited)), ("/tasks/delete", any::pack(&deleted))];
    for (topic, payload) in events {
        inner.events.send(Envelope {
            timestamp: Timestamp::now(),
            namespace: bundle.namespace().clone(),
            event: Event::Other { topic: topic.to_owned(), payload: any::decode(payload) },
        });
    }
}

/// File system work, which may take a while, on a thread for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    // joined: here
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Error::internal("work on a bundle broke off").with_source(error))
    })
}
