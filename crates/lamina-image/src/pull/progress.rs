//! How far a pull is.

use std::fmt;

use lamina_core::{Descriptor, Digest};

/// Where one piece of content is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Known of, and waiting for a download slot or for the layer below.
    Waiting,
    /// Its bytes come in, after `from` that an earlier pull left.
    Downloading {
        /// Bytes that were here already.
        from: u64,
    },
    /// All its bytes are here and verified; its files are being laid down.
    Unpacking,
    /// It was here before.
    Exists,
    /// Done.
    Done,
}

/// Is told how far a pull is. Called from the pull's own thread; must be quick.
pub trait Progress: Send + Sync + fmt::Debug {
    /// The reference stands for this.
    fn resolved(&self, target: &Descriptor);

    /// `parent` refers to `children`, and they are pulled too. Said before their first state.
    fn children(&self, _parent: &Descriptor, _children: &[Descriptor]) {}

    /// A piece of content entered a state.
    fn state(&self, content: &Descriptor, state: State);

    /// So many bytes of it are here now, so many of them are unpacked.
    fn bytes(&self, digest: &Digest, received: u64, unpacked: u64);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn resolved(&self, _: &Descriptor) {}

    fn state(&self, _: &Descriptor, _: State) {}

    fn bytes(&self, _: &Digest, _: u64, _: u64) {}
}
