//! One task that can be reached: its bundle, its connection, and how it ended once that is known.

use std::sync::Arc;

use lamina_core::Result;
use lamina_core::task::Exit;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::bundle::Bundle;
use crate::runtime::{Inner, Key};
use crate::shim::client::Client;
use crate::{exits, log};

/// A task that can be reached.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) bundle: Bundle,
    pub(crate) client: Client,
    /// Whether it is gone for good; held while it goes, so that it goes once.
    pub(crate) gone: tokio::sync::Mutex<bool>,
    /// How it ended, once it is gone.
    pub(crate) exit: watch::Sender<Option<Exit>>,
    /// Ends what watches it.
    stop: CancellationToken,
}

impl Task {
    /// A task whose shim is there, and from now on watched for its end. `stop` ends the copy of its
    /// log as well.
    pub(crate) fn new(
        inner: &Arc<Inner>,
        bundle: Bundle,
        client: Client,
        stop: CancellationToken,
    ) -> Arc<Task> {
        let task = Arc::new(Task {
            bundle,
            client,
            gone: tokio::sync::Mutex::new(false),
            exit: watch::Sender::new(None),
            stop,
        });
        inner.watch(exits::watch(inner.clone(), task.clone()));
        task
    }

    pub(crate) fn key(&self) -> Key {
        (self.bundle.namespace().clone(), self.bundle.id().to_owned())
    }

    pub(crate) fn id(&self) -> &str {
        self.bundle.id()
    }

    /// Comes when the task is gone or nobody cares any more.
    pub(crate) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// It is gone: who waits for it is told.
    pub(crate) fn end(&self, exit: Exit) {
        self.exit.send_replace(Some(exit));
        self.stop.cancel();
    }
}

/// Copies a shim's log until the token is cancelled.
pub(crate) fn copy_log(inner: &Inner, bundle: &Bundle) -> Result<CancellationToken> {
    let stop = inner.closing.child_token();
    inner.watch(log::copy(log::open(bundle)?, bundle.id().to_owned(), stop.clone()));
    Ok(stop)
}
