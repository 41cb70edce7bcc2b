//! What filters of subscribers see of an event.
//!
//! As in containerd: `namespace`, `topic`, and `event.<field>` for the messages and fields below, read
//! by hand-written accessors. Numbers and times are not seen, nor is any other message. A text that is
//! empty is absent; a path that goes on behind a text is that text.

use std::borrow::Cow;
use std::fmt;
use std::sync::OnceLock;

use lamina_core::{Fields, Labels, filter};
use prost::{Message, Name};

use super::super::any;
use crate::proto::containerd::events::container_create::Runtime;
use crate::proto::containerd::events::{
    ContainerCreate, ContainerDelete, ContainerUpdate, ContentCreate, ContentDelete,
    NamespaceCreate, NamespaceDelete, NamespaceUpdate, SandboxCreate, SandboxExit, SandboxStart,
    SnapshotCommit, SnapshotPrepare, SnapshotRemove, TaskCheckpointed, TaskCreate, TaskDelete,
    TaskExecAdded, TaskExecStarted, TaskExit, TaskIo, TaskOom, TaskPaused, TaskResumed, TaskStart,
};
use crate::proto::containerd::services::images::v1::{ImageCreate, ImageDelete, ImageUpdate};
use crate::proto::containerd::types;

/// An envelope as filters see it. Make one an event and ask all filters; the message is decoded when
/// the first of them looks into it.
pub struct Subject<'a> {
    envelope: &'a types::Envelope,
    payload: OnceLock<Option<Payload>>,
}

type Payload = Box<dyn Fields + Send + Sync>;

impl<'a> Subject<'a> {
    /// Looks at an envelope.
    pub fn new(envelope: &'a types::Envelope) -> Self {
        Subject { envelope, payload: OnceLock::new() }
    }
}

impl fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("envelope", self.envelope).finish_non_exhaustive()
    }
}

impl Fields for Subject<'_> {
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
        let (first, rest) = path.split_first()?;
        match *first {
            "namespace" => self.envelope.namespace.part(rest),
            "topic" => self.envelope.topic.part(rest),
            "event" => {
                let event = self.envelope.event.as_ref()?;
                self.payload.get_or_init(|| payload(event)).as_ref()?.field(rest)
            }
            _ => None,
        }
    }
}

/// A field's value, as far as filters see it.
trait Part {
    fn part(&self, rest: &[&str]) -> Option<Cow<'_, str>>;
}

impl Part for String {
    fn part(&self, _: &[&str]) -> Option<Cow<'_, str>> {
        (!self.is_empty()).then_some(Cow::Borrowed(self))
    }
}

impl Part for bool {
    fn part(&self, _: &[&str]) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(if *self { "true" } else { "false" }))
    }
}

impl Part for Labels {
    fn part(&self, rest: &[&str]) -> Option<Cow<'_, str>> {
        filter::label(self, rest)
    }
}

impl<M: Fields> Part for Option<M> {
    fn part(&self, rest: &[&str]) -> Option<Cow<'_, str>> {
        self.as_ref()?.field(rest)
    }
}

/// The message in a value, if it is one of those below and whole.
fn payload(event: &prost_types::Any) -> Option<Payload> {
    READERS.iter().find(|reader| (reader.is)(any::bare(&event.type_url)))?.read(&event.value)
}

struct Reader {
    is: fn(&str) -> bool,
    read: fn(&[u8]) -> Option<Payload>,
}

impl Reader {
    const fn of<M: Message + Name + Default + Fields + 'static>() -> Self {
        Reader {
            is: |name| {
                let rest = name.strip_suffix(M::NAME).and_then(|rest| rest.strip_suffix('.'));
                rest == Some(M::PACKAGE)
            },
            read: |bytes| M::decode(bytes).ok().map(|message| Box::new(message) as Payload),
        }
    }

    fn read(&self, bytes: &[u8]) -> Option<Payload> {
        (self.read)(bytes)
    }
}

macro_rules! seen {
    ($($message:ident { $($field:ident $(as $name:literal)?),+ })+) => {
        $(impl Fields for $message {
            fn field(&self, path: &[&str]) -> Option<Cow<'_, str>> {
                let (first, rest) = path.split_first()?;
                $(if *first == seen!(@name $field $($name)?) {
                    return self.$field.part(rest);
                })+
                None
            }
        })+

        const READERS: &[Reader] = &[$(Reader::of::<$message>()),+];
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };
}

seen! {
    ContainerCreate { id, image, runtime }
    ContainerDelete { id }
    ContainerUpdate { id, image, labels, snapshot_key }
    ContentCreate { digest, media_type as "mediaType" }
    ContentDelete { digest }
    ImageCreate { name, labels }
    ImageDelete { name }
    ImageUpdate { name, labels }
    NamespaceCreate { name, labels }
    NamespaceDelete { name }
    NamespaceUpdate { name, labels }
    Runtime { name }
    SandboxCreate { sandbox_id }
    SandboxExit { sandbox_id }
    SandboxStart { sandbox_id }
    SnapshotCommit { key, name, snapshotter }
    SnapshotPrepare { key, parent, snapshotter }
    SnapshotRemove { key, snapshotter }
    TaskCheckpointed { container_id, checkpoint }
    TaskCreate { container_id, bundle, io, checkpoint }
    TaskDelete { container_id, id }
    TaskExecAdded { container_id, exec_id }
    TaskExecStarted { container_id, exec_id }
    TaskExit { container_id, id }
    TaskIo { stdin, stdout, stderr, terminal }
    TaskOom { container_id }
    TaskPaused { container_id }
    TaskResumed { container_id }
    TaskStart { container_id }
}
