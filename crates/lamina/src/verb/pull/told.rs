//! What a daemon says of a transfer, as what a pull says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use lamina_core::Digest;
use lamina_core::transfer::{Progress as Word, ProgressSink, Stage};
use lamina_image::pull::{Progress, State};

/// Passes words on. Words that say the same of a part are said once.
#[derive(Debug)]
pub(super) struct Told {
    to: Arc<dyn Progress>,
    last: Mutex<HashMap<Digest, Stage>>,
}

impl Told {
    pub(super) fn new(to: Arc<dyn Progress>) -> Self {
        Told { to, last: Mutex::default() }
    }
}

impl ProgressSink for Told {
    fn send(&self, word: Word) {
        let Some(part) = word.descriptor else { return };
        let state = match word.stage {
            Stage::FetchingContent => return self.to.resolved(&part),
            // Documents are read as soon as they are known of.
            Stage::Waiting if part.is_layer() => State::Waiting,
            Stage::Downloading => State::Downloading { from: word.done },
            Stage::Extracting => State::Unpacking,
            Stage::AlreadyExists => State::Exists,
            Stage::Complete | Stage::Extracted => State::Done,
            _ => return,
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.insert(part.digest.clone(), word.stage.clone());
        match (before == Some(word.stage), state) {
            (true, State::Downloading { .. }) => self.to.bytes(&part.digest, word.done, 0),
            (true, _) => {}
            (false, state) => self.to.state(&part, state),
        }
    }
}
