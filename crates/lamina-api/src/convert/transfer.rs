//! The ends of transfers, and what is said on the way. Ends that are streams are put together by
//! whoever has the streams.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lamina_core::credentials::{Credential, CredentialRequest, Credentials, Secret};
use lamina_core::transfer::{
    NewImages, NewReference, Progress, RegistryEnd, Stage, StoredImages, Unpack,
};
use lamina_core::{Error, Result};

use super::{descriptor, field, platform};
use crate::proto::containerd::types::transfer as proto;

/// Image records to make: an image store as the destination.
///
/// # Errors
/// InvalidArgument for a reference without a name.
pub fn decode_new_images(store: proto::ImageStore) -> Result<NewImages> {
    let references = store.extra_references.into_iter().map(decode_reference);
    Ok(NewImages {
        name: store.name,
        labels: store.labels,
        platforms: platform::decode_all(store.platforms),
        all_metadata: store.all_metadata,
        manifest_limit: store.manifest_limit,
        references: references.collect::<Result<_>>()?,
        unpacks: store.unpacks.into_iter().map(decode_unpack).collect(),
    })
}

/// Image records to make, to send.
pub fn encode_new_images(images: NewImages) -> proto::ImageStore {
    proto::ImageStore {
        name: images.name,
        labels: images.labels,
        platforms: platform::encode_all(images.platforms),
        all_metadata: images.all_metadata,
        manifest_limit: images.manifest_limit,
        extra_references: images.references.into_iter().map(encode_reference).collect(),
        unpacks: images.unpacks.into_iter().map(encode_unpack).collect(),
    }
}

/// Images that are here: an image store as the source. Its name and those of its references.
///
/// # Errors
/// InvalidArgument for a reference without a name. Unimplemented for a prefix, as containerd answers.
pub fn decode_stored_images(store: proto::ImageStore) -> Result<StoredImages> {
    let mut names = Vec::new();
    if !store.name.is_empty() {
        names.push(store.name);
    }
    for reference in store.extra_references {
        match decode_reference(reference)? {
            NewReference::Name(name) => names.push(name),
            NewReference::Prefix { prefix, .. } => {
                return Err(Error::unimplemented(format!(
                    "extra_references: all images that begin with {prefix:?}"
                )));
            }
        }
    }
    Ok(StoredImages { names, platforms: platform::decode_all(store.platforms) })
}

/// Images that are there, to send.
pub fn encode_stored_images(images: StoredImages) -> proto::ImageStore {
    let mut names = images.names.into_iter();
    proto::ImageStore {
        name: names.next().unwrap_or_default(),
        extra_references: names.map(|name| encode_reference(NewReference::Name(name))).collect(),
        platforms: platform::encode_all(images.platforms),
        ..Default::default()
    }
}

fn decode_reference(reference: proto::ImageReference) -> Result<NewReference> {
    let proto::ImageReference { name, is_prefix, allow_overwrite, add_digest, skip_named_digest } =
        reference;
    // A prefix may be empty: images are then named by what they bring.
    Ok(match (is_prefix, name.is_empty()) {
        (true, _) => {
            NewReference::Prefix { prefix: name, allow_overwrite, add_digest, skip_named_digest }
        }
        (false, false) => NewReference::Name(name),
        (false, true) => {
            return Err(Error::invalid_argument("extra_references.name must not be empty"));
        }
    })
}

fn encode_reference(reference: NewReference) -> proto::ImageReference {
    match reference {
        NewReference::Name(name) => proto::ImageReference { name, ..Default::default() },
        NewReference::Prefix { prefix, allow_overwrite, add_digest, skip_named_digest } => {
            proto::ImageReference {
                name: prefix,
                is_prefix: true,
                allow_overwrite,
                add_digest,
                skip_named_digest,
            }
        }
    }
}

fn decode_unpack(unpack: proto::UnpackConfiguration) -> Unpack {
    Unpack { platform: unpack.platform.map(platform::decode), snapshotter: unpack.snapshotter }
}

fn encode_unpack(unpack: Unpack) -> proto::UnpackConfiguration {
    proto::UnpackConfiguration {
        platform: unpack.platform.map(platform::encode),
        snapshotter: unpack.snapshotter,
    }
}

/// An image in a registry. `credentials` are asked: whoever made them listens on the resolver's
/// `auth_stream`.
pub fn decode_registry(
    registry: proto::OciRegistry,
    credentials: Arc<dyn Credentials>,
) -> RegistryEnd {
    let resolver = registry.resolver.unwrap_or_default();
    let headers = resolver.headers.into_iter();
    RegistryEnd {
        reference: registry.reference,
        credentials,
        headers: headers.map(|(name, value)| (name, Secret::new(value))).collect(),
        host_dir: resolver.host_dir,
        default_scheme: resolver.default_scheme,
    }
}

/// An image in a registry, to send. The credentials answer on the stream named `auth_stream`; empty
/// for none.
pub fn encode_registry(registry: &RegistryEnd, auth_stream: String) -> proto::OciRegistry {
    let headers = registry.headers.iter();
    proto::OciRegistry {
        reference: registry.reference.clone(),
        resolver: Some(proto::RegistryResolver {
            auth_stream,
            headers: headers
                .map(|(name, value)| (name.clone(), value.expose().to_owned()))
                .collect(),
            host_dir: registry.host_dir.clone(),
            default_scheme: registry.default_scheme.clone(),
            ..Default::default()
        }),
    }
}

/// A word on a transfer.
///
/// # Errors
/// InvalidArgument for negative numbers and a descriptor of wrong form.
pub fn decode_progress(progress: proto::Progress) -> Result<Progress> {
    let descriptor = progress.desc.map(|desc| descriptor::decode("desc", desc));
    Ok(Progress {
        stage: Stage::parse(&progress.event),
        name: progress.name,
        parents: progress.parents,
        done: field::decode_size("progress", progress.progress)?,
        total: field::decode_size("total", progress.total)?,
        descriptor: descriptor.transpose()?,
    })
}

/// A word on a transfer, to send.
pub fn encode_progress(progress: Progress) -> proto::Progress {
    proto::Progress {
        event: progress.stage.to_string(),
        name: progress.name,
        parents: progress.parents,
        progress: field::encode_size(progress.done),
        total: field::encode_size(progress.total),
        desc: progress.descriptor.map(descriptor::encode),
    }
}

/// For whom a credential is wanted. Whether the connection is encrypted is not said, so it counts as
/// not.
pub fn decode_credential_request(request: proto::AuthRequest) -> CredentialRequest {
    CredentialRequest { host: request.host, encrypted: false, reference: request.reference }
}

/// For whom a credential is wanted, to send.
pub fn encode_credential_request(request: CredentialRequest) -> proto::AuthRequest {
    let CredentialRequest { host, encrypted: _, reference } = request;
    proto::AuthRequest { host, reference, wwwauthenticate: Vec::new() }
}

/// A credential, or none: Go clients that have none send an empty token to refresh.
///
/// # Errors
/// InvalidArgument for a header that is neither `Bearer …` nor `Basic …`, and for a way nobody knows.
/// The secret is not in the message.
pub fn decode_credential(response: proto::AuthResponse) -> Result<Option<Credential>> {
    let proto::AuthResponse { auth_type, secret, username, expire_at: _ } = response;
    Ok(match proto::AuthType::try_from(auth_type) {
        Ok(proto::AuthType::None) => None,
        Ok(proto::AuthType::Credentials) => {
            Some(Credential::Password { user: username, password: Secret::new(secret) })
        }
        Ok(proto::AuthType::Refresh) => {
            (!secret.is_empty()).then(|| Credential::Refresh(Secret::new(secret)))
        }
        Ok(proto::AuthType::Header) => Some(decode_header(&secret)?),
        Err(_) => {
            return Err(Error::invalid_argument(format!("authType {auth_type} is unknown")));
        }
    })
}

/// The credential in an `Authorization` header (RFC 6750, RFC 7617).
fn decode_header(header: &str) -> Result<Credential> {
    let bad = || Error::invalid_argument("secret: a header that is neither Bearer nor Basic");
    let (scheme, value) = header.split_once(' ').ok_or_else(bad)?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Credential::Bearer(Secret::new(value)));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(bad());
    }
    let pair = BASE64.decode(value).ok().and_then(|pair| String::from_utf8(pair).ok());
    let pair = pair.ok_or_else(bad)?;
    let (user, password) = pair.split_once(':').ok_or_else(bad)?;
    Ok(Credential::Password { user: user.to_owned(), password: Secret::new(password) })
}

/// A credential, or none, to send.
pub fn encode_credential(credential: Option<Credential>) -> proto::AuthResponse {
    let (auth_type, username, secret) = match credential {
        None => (proto::AuthType::None, String::new(), String::new()),
        Some(Credential::Password { user, password }) => {
            (proto::AuthType::Credentials, user, password.expose().to_owned())
        }
        Some(Credential::Refresh(token)) => {
            (proto::AuthType::Refresh, String::new(), token.expose().to_owned())
        }
        Some(Credential::Bearer(token)) => {
            (proto::AuthType::Header, String::new(), format!("Bearer {}", token.expose()))
        }
    };
    proto::AuthResponse { auth_type: auth_type.into(), secret, username, expire_at: None }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use lamina_core::credentials::Anonymous;
    use lamina_core::{Descriptor, Kind, Labels, Platform};

    use super::*;

    #[test]
    fn destinations_come_back() {
        let images = NewImages {
            name: "docker.io/library/redis:7".to_owned(),
            labels: Labels::from([("a".to_owned(), "b".to_owned())]),
            platforms: vec![Platform::new("linux", "arm64")],
            all_metadata: true,
            manifest_limit: 3,
            references: vec![
                NewReference::Name("redis:7".to_owned()),
                NewReference::Prefix {
                    prefix: "import-2026-11-25".to_owned(),
                    allow_overwrite: true,
                    add_digest: false,
                    skip_named_digest: true,
                },
            ],
            unpacks: vec![
                Unpack { platform: None, snapshotter: "native".to_owned() },
                Unpack {
                    platform: Some(Platform::new("linux", "amd64")),
                    snapshotter: String::new(),
                },
            ],
        };
        let sent = encode_new_images(images.clone());
        assert!(sent.extra_references[1].is_prefix && sent.extra_references[1].allow_overwrite);
        assert_eq!(decode_new_images(sent).unwrap(), images);

        let nameless = proto::ImageReference { add_digest: true, ..Default::default() };
        let store = proto::ImageStore { extra_references: vec![nameless], ..Default::default() };
        assert_eq!(decode_new_images(store.clone()).unwrap_err().kind(), Kind::InvalidArgument);
        assert_eq!(decode_stored_images(store).unwrap_err().kind(), Kind::InvalidArgument);
    }

    #[test]
    fn sources_name_their_images_in_two_places() {
        let images = StoredImages {
            names: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
            platforms: vec![Platform::new("linux", "amd64")],
        };
        let sent = encode_stored_images(images.clone());
        assert_eq!((sent.name.as_str(), sent.extra_references[1].name.as_str()), ("a", "c"));
        assert_eq!(decode_stored_images(sent).unwrap(), images);
        // As `ctr images export` sends them.
        let store = proto::ImageStore {
            extra_references: vec![encode_reference(NewReference::Name("a".to_owned()))],
            ..Default::default()
        };
        assert_eq!(decode_stored_images(store).unwrap().names, ["a"]);
        assert_eq!(decode_stored_images(proto::ImageStore::default()).unwrap().names, [""; 0]);

        let prefix =
            proto::ImageReference { name: "a".to_owned(), is_prefix: true, ..Default::default() };
        let store = proto::ImageStore { extra_references: vec![prefix], ..Default::default() };
        assert_eq!(decode_stored_images(store).unwrap_err().kind(), Kind::Unimplemented);
    }

    #[test]
    fn registries_keep_how_they_are_spoken_to() {
        let registry = RegistryEnd {
            reference: "localhost:5000/a:b".to_owned(),
            credentials: Arc::new(Anonymous),
            headers: BTreeMap::from([("x-a".to_owned(), Secret::new("b"))]),
            host_dir: "/etc/certs.d".to_owned(),
            default_scheme: "http".to_owned(),
        };
        let sent = encode_registry(&registry, "stream-1".to_owned());
        assert_eq!(sent.resolver.as_ref().unwrap().auth_stream, "stream-1");
        let back = decode_registry(sent.clone(), Arc::new(Anonymous));
        assert_eq!((&back.reference, &back.host_dir), (&registry.reference, &registry.host_dir));
        assert_eq!((&back.headers, &back.default_scheme), (&registry.headers, &"http".to_owned()));
        let plain = proto::OciRegistry { resolver: None, ..sent };
        assert_eq!(decode_registry(plain, Arc::new(Anonymous)).host_dir, "");
    }

    #[test]
    fn progress_comes_back() {
        let progress = Progress {
            stage: Stage::Pulling("OCI Registry (redis:7)".to_owned()),
            name: "layer-sha256:0".to_owned(),
            parents: vec!["manifest-sha256:1".to_owned()],
            done: 5,
            total: 9,
            descriptor: Some(Descriptor::of("x", b"y")),
        };
        let sent = encode_progress(progress.clone());
        assert_eq!(sent.event, "Pulling from OCI Registry (redis:7)");
        assert_eq!((sent.progress, sent.total), (5, 9));
        assert_eq!(decode_progress(sent.clone()).unwrap(), progress);
        for broken in [
            proto::Progress { progress: -1, ..sent.clone() },
            proto::Progress { total: -1, ..sent.clone() },
            proto::Progress { desc: Some(Default::default()), ..sent },
        ] {
            assert_eq!(decode_progress(broken).unwrap_err().kind(), Kind::InvalidArgument);
        }
    }

    #[test]
    fn credentials_come_back() {
        let request = CredentialRequest {
            host: "registry-1.docker.io".to_owned(),
            encrypted: true,
            reference: "docker.io/library/redis:7".to_owned(),
        };
        let back = decode_credential_request(encode_credential_request(request.clone()));
        assert_eq!(back, CredentialRequest { encrypted: false, ..request });

        for (credential, auth_type) in [
            (None, 0),
            (Some(Credential::Password { user: "u".to_owned(), password: Secret::new("p") }), 1),
            (Some(Credential::Refresh(Secret::new("t"))), 2),
            (Some(Credential::Bearer(Secret::new("t"))), 3),
        ] {
            let sent = encode_credential(credential.clone());
            assert_eq!(sent.auth_type, auth_type);
            assert_eq!(decode_credential(sent).unwrap(), credential);
        }
    }

    #[test]
    fn answers_of_other_clients_are_understood() {
        let answer = |auth_type, secret: &str| {
            let secret = secret.to_owned();
            decode_credential(proto::AuthResponse { auth_type, secret, ..Default::default() })
        };
        assert_eq!(answer(2, "").unwrap(), None);
        let bearer = Some(Credential::Bearer(Secret::new("t")));
        assert_eq!(answer(3, "bearer  t").unwrap(), bearer);
        let password = Credential::Password { user: "u".to_owned(), password: Secret::new("p:q") };
        assert_eq!(answer(3, "Basic dTpwOnE=").unwrap(), Some(password));
        let broken =
            [(3, "Basic hunter2"), (3, "Basic dQ=="), (3, "hunter2"), (3, ""), (4, "x"), (-1, "")];
        for (auth_type, secret) in broken {
            let error = answer(auth_type, secret).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{auth_type} {secret:?}");
            assert!(!error.chain().contains("hunter2"), "{}", error.chain());
        }
    }
}
