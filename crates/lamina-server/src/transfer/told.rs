//! How far a pull or a push is, in the words of transfers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lamina_core::transfer::{Progress as Word, ProgressSink, Stage};
use lamina_core::{Descriptor, Digest};
use lamina_image::pull::{Progress, State};

/// How long between two words on the bytes of one part, as containerd has it.
const PAUSE: Duration = Duration::from_millis(300);

/// Tells a sink.
#[derive(Debug)]
pub(super) struct Told {
    to: Arc<dyn ProgressSink>,
    /// The registry, as clients show it.
    place: String,
    /// The image record; everything hangs from it.
    image: String,
    way: Way,
    parts: Mutex<HashMap<Digest, Part>>,
}

/// Which way content goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Pull,
    Push,
}

#[derive(Debug)]
struct Part {
    descriptor: Descriptor,
    parents: Vec<String>,
    extracting: bool,
    /// When its bytes were last told.
    told: Option<Instant>,
}

impl Told {
    pub(super) fn new(to: Arc<dyn ProgressSink>, place: String, image: String, way: Way) -> Self {
        Told { to, place, image, way, parts: Mutex::default() }
    }

    fn going(&self) -> Stage {
        match self.way {
            Way::Pull => Stage::Downloading,
            Way::Push => Stage::Uploading,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Part>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, part: &Part, stage: Stage, done: u64) {
        self.to.send(Word {
            stage,
            name: name(&part.descriptor),
            parents: part.parents.clone(),
            done,
            total: part.descriptor.size,
            descriptor: Some(part.descriptor.clone()),
        });
    }

    /// Notes a part that was not known yet.
    fn add(&self, descriptor: &Descriptor, parent: &str) {
        let mut parts = self.lock();
        if let Some(part) = parts.get_mut(&descriptor.digest) {
            if !part.parents.iter().any(|known| known == parent) {
                part.parents.push(parent.to_owned());
            }
            return;
        }
        let part = Part {
            descriptor: descriptor.clone(),
            parents: vec![parent.to_owned()],
            extracting: false,
            told: None,
        };
        self.tell(&part, Stage::Waiting, 0);
        parts.insert(descriptor.digest.clone(), part);
    }
}

impl Progress for Told {
    fn resolved(&self, target: &Descriptor) {
        let (begins, content) = match self.way {
            Way::Pull => (Stage::Pulling(self.place.clone()), Stage::FetchingContent),
            Way::Push => (Stage::Pushing(self.place.clone()), Stage::PushingContent),
        };
        self.to.send(Word::whole(begins));
        self.to.send(Word {
            name: self.image.clone(),
            descriptor: Some(target.clone()),
            ..Word::whole(content)
        });
        self.add(target, &self.image);
    }

    fn children(&self, parent: &Descriptor, children: &[Descriptor]) {
        let parent = name(parent);
        for child in children {
            self.add(child, &parent);
        }
    }

    fn state(&self, content: &Descriptor, state: State) {
        let mut parts = self.lock();
        let Some(part) = parts.get_mut(&content.digest) else { return };
        let size = part.descriptor.size;
        let (stage, done) = match state {
            State::Waiting => return,
            State::Downloading { from } => (self.going(), from),
            State::Unpacking => (Stage::Extracting, size),
            State::Exists => (Stage::AlreadyExists, size),
            State::Done if part.extracting => (Stage::Extracted, size),
            State::Done => (Stage::Complete, size),
        };
        part.extracting |= state == State::Unpacking;
        part.told = Some(Instant::now());
        self.tell(part, stage, done);
    }

    fn bytes(&self, digest: &Digest, received: u64, _: u64) {
        let mut parts = self.lock();
        let Some(part) = parts.get_mut(digest) else { return };
        if part.told.is_none_or(|told| told.elapsed() >= PAUSE) {
            part.told = Some(Instant::now());
            self.tell(part, self.going(), received);
        }
    }
}

/// A part as clients know it: the name under which containerd would write it.
fn name(descriptor: &Descriptor) -> String {
    let kind = match descriptor {
        d if d.is_manifest() => "manifest",
        d if d.is_index() => "index",
        d if d.is_layer() => "layer",
        d if d.is_config() => "config",
        _ => "unknown",
    };
    format!("{kind}-{}", descriptor.digest)
}
