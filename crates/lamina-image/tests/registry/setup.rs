//! What every test here needs: a quick client, an image, a place for `hosts.toml`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lamina_core::{Descriptor, Error, Kind, Reference, Result};
use lamina_image::registry::{
    Anonymous, Config, Credential, CredentialRequest, Credentials, Registry, Repository, Retry,
    Secret, Timeouts,
};
use lamina_testkit::image::{Flavor, Image, ImageBuilder};
use lamina_testkit::registry::TestRegistry;

/// A configuration that fails fast.
pub(crate) fn config() -> Config {
    Config {
        retry: Retry {
            attempts: 3,
            pause: Duration::from_millis(2),
            longest: Duration::from_millis(10),
            longest_asked: Duration::from_secs(2),
        },
        timeouts: Timeouts {
            connect: Duration::from_secs(5),
            idle: Duration::from_millis(700),
            document: Duration::from_secs(2),
        },
        ..Config::default()
    }
}

/// The repository `a/b` of `registry` at `suffix` (`:tag` or `@digest`), as nobody.
pub(crate) async fn open(registry: &TestRegistry, suffix: &str) -> Repository {
    open_with(config(), registry, suffix, Arc::new(Anonymous)).await
}

/// The same with a configuration and credentials.
pub(crate) async fn open_with(
    config: Config,
    registry: &TestRegistry,
    suffix: &str,
    credentials: Arc<dyn Credentials>,
) -> Repository {
    let reference = Reference::parse(&format!("{}/a/b{suffix}", registry.host())).unwrap();
    Registry::new(config).unwrap().repository(&reference, credentials).await.unwrap()
}

/// A small image in `a/b:1`.
pub(crate) fn image(registry: &TestRegistry) -> Image {
    let image = ImageBuilder::new(Flavor::Oci).layer(noise(3000)).layer(noise(5000)).build();
    registry.push("a/b", "1", &image);
    image
}

/// A blob of `a/b`.
pub(crate) fn blob(registry: &TestRegistry, size: usize) -> (Descriptor, Bytes) {
    let bytes = Bytes::from(noise(size));
    let media_type = lamina_core::media_type::OCI_LAYER;
    (registry.push_blob("a/b", media_type, bytes.clone()), bytes)
}

/// Bytes that no two places of are alike and that do not compress.
pub(crate) fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ size as u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..size).map(|_| next()).collect()
}

/// Reads a blob from `offset` to its end.
pub(crate) async fn read(
    repository: &Repository,
    blob: &Descriptor,
    offset: u64,
) -> Result<Vec<u8>> {
    let mut stream = repository.blob(blob, offset).await?;
    let mut all = Vec::new();
    while let Some(bytes) = stream.next().await? {
        assert!(!bytes.is_empty());
        all.extend_from_slice(&bytes);
        assert_eq!(stream.offset(), offset + all.len() as u64);
    }
    assert!(stream.next().await?.is_none(), "the end stays the end");
    Ok(all)
}

/// The error is of this kind, and its chain says all of this.
#[track_caller]
pub(crate) fn assert_error<T: std::fmt::Debug>(
    result: Result<T>,
    kind: Kind,
    says: &[&str],
) -> Error {
    let error = result.unwrap_err();
    let text = error.chain();
    assert_eq!(error.kind(), kind, "{text}");
    for part in says {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
    error
}

/// Credentials that note who was asked about.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    pub(crate) credential: Option<Credential>,
    pub(crate) asked: std::sync::Mutex<Vec<CredentialRequest>>,
}

impl Noted {
    pub(crate) fn password(user: &str, password: &str) -> Arc<Noted> {
        Noted::of(Credential::Password { user: user.into(), password: Secret::new(password) })
    }

    pub(crate) fn of(credential: Credential) -> Arc<Noted> {
        Arc::new(Noted { credential: Some(credential), ..Noted::default() })
    }

    pub(crate) fn hosts(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|request| request.host.clone()).collect()
    }
}

#[async_trait::async_trait]
impl Credentials for Noted {
    async fn get(&self, request: &CredentialRequest) -> Result<Option<Credential>> {
        self.asked.lock().unwrap().push(request.clone());
        Ok(self.credential.clone())
    }
}

/// A directory for `hosts.toml`, with one for `registry`.
pub(crate) fn hosts_dir(registry: &TestRegistry, toml: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join(registry.host());
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("hosts.toml"), toml).unwrap();
    dir
}
