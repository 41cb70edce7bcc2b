//! A registry on loopback that serves images made by code, and misbehaves when told to.
//!
//! It runs in a thread of its own, so that synchronous and asynchronous tests use it alike, on a port
//! the system chose, and ends when dropped. Its HTTP is written by hand: a lie about a length or a body
//! that stops half-way is one line here and impossible with a proper server. Every request is recorded
//! with the bytes that were sent for it.

mod access;
mod connection;
mod fault;
mod message;
mod serve;
mod state;
mod tls;
mod upload;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use lamina_core::{Descriptor, Digest};
use tokio::sync::oneshot;

pub use access::{Access, Tokens};
pub use fault::{Fault, On};
pub use state::Record;
pub use tls::Identity;

use crate::image::Image;
use state::State;

/// A registry that is running.
#[derive(Debug)]
pub struct TestRegistry {
    address: SocketAddr,
    state: Arc<State>,
    tls: Option<Arc<tls::Tls>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// How a registry is started.
#[derive(Debug, Default)]
pub struct Options {
    /// Who may use it.
    pub access: Access,
    /// TLS with a certificate of its own authority, instead of plain HTTP.
    pub tls: bool,
    /// With TLS: only clients that show the certificate of [`TestRegistry::client`].
    pub client_certificate: bool,
}

impl TestRegistry {
    /// A registry in plain HTTP for everyone.
    pub fn start() -> TestRegistry {
        TestRegistry::with(Options::default())
    }

    /// A registry as `options` say.
    ///
    /// # Panics
    /// When no port or thread can be had.
    pub fn with(options: Options) -> TestRegistry {
        let tls = options.tls.then(|| Arc::new(tls::Tls::new(options.client_certificate)));
        TestRegistry::serve(options.access, tls)
    }

    /// Another registry for everyone with the certificates of this one: what either takes, the other
    /// takes as well.
    pub fn sibling(&self) -> TestRegistry {
        TestRegistry::serve(Access::Open, self.tls.clone())
    }

    fn serve(access: Access, tls: Option<Arc<tls::Tls>>) -> TestRegistry {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("bind a port on loopback");
        listener.set_nonblocking(true).expect("make the listener non-blocking");
        let address = listener.local_addr().expect("the listener has an address");
        let base = format!("{}://{address}", if tls.is_some() { "https" } else { "http" });
        let state = Arc::new(State::new(access, base));
        let (stop, stopped) = oneshot::channel();
        let acceptor = tls.as_ref().map(|tls| tls.acceptor());
        let shared = Arc::clone(&state);
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("start a runtime");
            runtime.block_on(connection::accept(listener, acceptor, shared, stopped));
        };
        let thread = std::thread::Builder::new().name(format!("registry-{}", address.port()));
        let thread = thread.spawn(run).expect("start a thread");
        TestRegistry { address, state, tls, stop: Some(stop), thread: Some(thread) }
    }

    /// `127.0.0.1:PORT`, the domain of its references.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// `http://127.0.0.1:PORT` or `https://…`.
    pub fn url(&self) -> &str {
        &self.state.base
    }

    /// Its certificate authority in PEM.
    ///
    /// # Panics
    /// Without TLS.
    pub fn ca(&self) -> &str {
        &self.tls.as_ref().expect("a registry with TLS").ca
    }

    /// A client certificate that it takes.
    ///
    /// # Panics
    /// Without TLS.
    pub fn client(&self) -> &Identity {
        &self.tls.as_ref().expect("a registry with TLS").client
    }

    /// Serves `image` under `repository`, its root also as `tag`. Returns the root.
    pub fn push(&self, repository: &str, tag: &str, image: &Image) -> Descriptor {
        for (digest, content) in &image.content {
            self.state.put(repository, digest, &content.media_type, content.bytes.clone());
        }
        self.state.tag(repository, tag, &image.root.digest);
        image.root.clone()
    }

    /// What a tag or digest of a repository stands for here: its media type and its bytes.
    pub fn content(&self, repository: &str, name: &str) -> Option<(String, Bytes)> {
        let (_, content) = self.state.get(repository, name)?;
        Some((content.media_type, content.bytes))
    }

    /// Serves any bytes as a manifest under `tag` and their digest.
    pub fn push_manifest(
        &self,
        repository: &str,
        tag: &str,
        media_type: &str,
        bytes: impl Into<Bytes>,
    ) -> Descriptor {
        let descriptor = self.push_blob(repository, media_type, bytes);
        self.state.tag(repository, tag, &descriptor.digest);
        descriptor
    }

    /// Serves any bytes as a blob.
    pub fn push_blob(
        &self,
        repository: &str,
        media_type: &str,
        bytes: impl Into<Bytes>,
    ) -> Descriptor {
        let bytes = bytes.into();
        let descriptor = Descriptor::of(media_type, &bytes);
        self.state.put(repository, &descriptor.digest, media_type, bytes);
        descriptor
    }

    /// From now on, misbehaves: requests that `on` picks get `fault`. The first rule that still has
    /// something to do is used.
    pub fn fault(&self, on: On, fault: Fault) {
        self.state.add_rule(on, fault);
    }

    /// Behaves again.
    pub fn clear_faults(&self) {
        self.state.clear_rules();
    }

    /// Makes every token that was given out so far invalid.
    pub fn revoke_tokens(&self) {
        self.state.revoke();
    }

    /// Every request so far, in the order in which they came in.
    pub fn requests(&self) -> Vec<Record> {
        self.state.records()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.state.forget();
    }

    /// How many bytes of the blob `digest` were sent so far, over all requests for it.
    pub fn bytes_sent(&self, digest: &Digest) -> u64 {
        let suffix = format!("/blobs/{digest}");
        let mine = |record: &&Record| record.path.ends_with(&suffix);
        self.requests().iter().filter(mine).map(|record| record.sent).sum()
    }
}

impl Drop for TestRegistry {
    fn drop(&mut self) {
        // Fails only when the thread has ended already.
        let _ = self.stop.take().map(|stop| stop.send(()));
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            panic!("the test registry panicked");
        }
    }
}

#[cfg(test)]
mod tests;
