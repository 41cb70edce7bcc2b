//! Checkpoints: what a shim writes of a task into a directory becomes blobs, and a blob such a directory.
//!
//! As with containerd there are two blobs, a tar of the directory and the container's spec, and a client
//! that names a directory itself gets all of it there and no blobs. A dump is always a whole one, also when
//! an earlier one is named.

use std::path::Path;
use std::sync::Arc;

use lamina_api::convert::any;
use lamina_api::proto::containerd::runc::v1 as runc;
use lamina_api::proto::containerd::task::v3 as api;
use lamina_core::content::{CommitOptions, WriteOptions};
use lamina_core::diff::{ApplyOptions, CompareOptions};
use lamina_core::task;
use lamina_core::{Any, Descriptor, Digest, Error, Host, Labels, Mount, Result, Scope, media_type};
use prost::Message;

use crate::bundle::{Bundle, Scratch};
use crate::exits::blocking;
use crate::runtime::Inner;
use crate::task::Task;

/// Has the shim dump a task; answers the blobs that it became.
pub(crate) async fn checkpoint(
    inner: Arc<Inner>,
    scope: Scope,
    task: Arc<Task>,
    options: task::CheckpointOptions,
) -> Result<Vec<Descriptor>> {
    let host = inner.host()?;
    let named = match options.options.clone().map(any::encode) {
        Some(options) if any::is::<runc::CheckpointOptions>(&options) => {
            any::unpack::<runc::CheckpointOptions>("options", &options)?.image_path
        }
        _ => String::new(),
    };
    if !named.is_empty() {
        return dump(&task, Path::new(&named), options.options).await.map(|()| Vec::new());
    }
    let spec = host.containers(&scope).get(task.id()).await?.spec;
    let scratch = scratch(&task.bundle).await?;
    let made = async {
        dump(&task, scratch.path(), options.options).await?;
        Ok(vec![
            store_dump(&**host, &scope, scratch.path()).await?,
            store_spec(&**host, &scope, spec).await?,
        ])
    };
    let made = made.await;
    let removed = blocking(move || scratch.remove()).await;
    made.and_then(|blobs| removed.map(|()| blobs))
}

async fn dump(task: &Task, path: &Path, options: Option<Any>) -> Result<()> {
    let ask = api::CheckpointTaskRequest {
        id: task.id().to_owned(),
        path: path.display().to_string(),
        options: options.map(any::encode),
    };
    task.client.call::<()>("Checkpoint", &ask).await
}

async fn store_dump(host: &dyn Host, scope: &Scope, path: &Path) -> Result<Descriptor> {
    let plain = CompareOptions {
        media_type: media_type::OCI_LAYER.to_owned(),
        ..CompareOptions::default()
    };
    let dump = host.differ(scope).compare(&[], &[bind(path, "ro")], plain).await?;
    Ok(Descriptor::new(media_type::CHECKPOINT, dump.digest, dump.size))
}

/// The spec with its type: a message in itself.
async fn store_spec(host: &dyn Host, scope: &Scope, spec: Any) -> Result<Descriptor> {
    let bytes = any::encode(spec).encode_to_vec();
    let made = Descriptor::of(media_type::CHECKPOINT_CONFIG, &bytes);
    let expected = Some(made.digest.clone());
    let content = host.content(scope);
    let reference = format!("checkpoint-spec-{}", made.digest);
    let written = async {
        let options = WriteOptions { expected, total: made.size };
        let mut writer = content.writer(&reference, options).await?;
        // Of a call that was cut short.
        writer.truncate(0).await?;
        writer.write(bytes.into()).await?;
        writer.commit(CommitOptions { labels: Labels::new(), ..CommitOptions::default() }).await
    };
    match written.await {
        // The spec of a container stays the same from one checkpoint to the next.
        Err(error) if !error.is_already_exists() => Err(error),
        _ => Ok(made),
    }
}

/// Where the shim of a new task is to find the dump it goes on from: a directory that the runtime's options
/// name, or one for the blob, which lasts as long as the bundle. Empty for a task that starts anew.
pub(crate) async fn restore(
    inner: &Inner,
    bundle: &Bundle,
    checkpoint: Option<Descriptor>,
    options: Option<&Any>,
) -> Result<String> {
    if let Some(options) = options.cloned().map(any::encode)
        && any::is::<runc::Options>(&options)
    {
        let named = any::unpack::<runc::Options>("options", &options)?.criu_image_path;
        if !named.is_empty() {
            return Ok(named);
        }
    }
    let Some(Descriptor { media_type, digest, size, .. }) = checkpoint else {
        return Ok(String::new());
    };
    if media_type != media_type::CHECKPOINT {
        return Err(Error::invalid_argument(format!("a checkpoint of media type {media_type:?}")));
    }
    let scratch = scratch(bundle).await?;
    let scope = Scope::new(bundle.namespace().clone());
    lay(&**inner.host()?, &scope, digest, size, scratch.path()).await?;
    Ok(scratch.path().display().to_string())
}

async fn lay(host: &dyn Host, scope: &Scope, digest: Digest, size: u64, at: &Path) -> Result<()> {
    let tar = Descriptor::new(media_type::OCI_LAYER, digest.clone(), size);
    let mounts = [bind(at, "rw")];
    let laid = host.differ(scope).apply(&tar, &mounts, ApplyOptions::default()).await?;
    if laid.digest == digest {
        return Ok(());
    }
    Err(Error::data_loss(format!("the checkpoint {digest} has bytes of {}", laid.digest)))
}

fn bind(path: &Path, mode: &str) -> Mount {
    Mount::new("bind", path.display().to_string(), ["rbind", mode])
}

async fn scratch(bundle: &Bundle) -> Result<Scratch> {
    let bundle = bundle.clone();
    blocking(move || bundle.scratch()).await
}
