//! From a reference to a descriptor.
//!
//! HEAD first: it costs nothing against pull limits. What it leaves open (no digest, no length, a type
//! that is none) is found out by GET, whose body is then measured and hashed here. A header is never
//! believed over the body.

use bytes::Bytes;
use lamina_core::digest::{Algorithm, Hasher};
use lamina_core::{Descriptor, Digest, Error, Result, media_type};
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};

use super::answer::Answer;
use super::client::Repository;
use super::document::{Fetched, accept, declared_type, fetch, manifest_type};
use super::host::{Ask, Host};

/// The descriptor, and the body where it had to be fetched.
pub(super) async fn resolve(repository: &Repository) -> Result<(Descriptor, Option<Bytes>)> {
    let reference = repository.reference();
    let wanted = reference.digest();
    let name = match (wanted, reference.tag()) {
        (Some(digest), _) => digest.as_str().to_owned(),
        (None, Some(tag)) => tag.to_owned(),
        (None, None) => {
            return Err(Error::invalid_argument(format!(
                "{reference} has neither tag nor digest: nothing to resolve"
            )));
        }
    };
    // A digest proves itself; a tag is taken only from hosts that are trusted with it.
    let able = |host: &&Host| {
        let can = host.capabilities();
        if wanted.is_some() { can.pull } else { can.resolve }
    };
    let hosts = repository.hosts().iter().filter(able);
    let path = format!("manifests/{name}");
    repository.first(&format!("resolve {name}"), hosts, |host| at(repository, host, &path)).await
}

async fn at(
    repository: &Repository,
    host: &Host,
    path: &str,
) -> Result<(Descriptor, Option<Bytes>)> {
    let transport = repository.transport();
    let wanted = repository.reference().digest();
    let headers = accept();
    let head = Ask { method: Method::HEAD, path, headers, persist: false };
    let answer = host.send(transport, &head).await?;
    match answer.status().as_u16() {
        200..=299 => {
            if let Some(descriptor) = from_head(&answer, wanted)? {
                return Ok((descriptor, None));
            }
        }
        // Some servers do not know HEAD.
        405 | 501 => {}
        // The body of the GET says more than a status; but a missing image is asked for once.
        404 | 429 => return Err(transport.error(answer).await),
        _ => tracing::debug!(place = answer.place(), status = %answer.status(), "trying GET"),
    }
    let limit = transport.limits.manifest;
    let fetched = fetch(repository, host, path, limit).await?.ok_or_else(|| {
        let host = host.name();
        Error::resource_exhausted(format!("{host}: {path} has more than {limit} bytes"))
    })?;
    from_body(fetched, wanted)
}

/// The descriptor if a HEAD told everything.
fn from_head(answer: &Answer, wanted: Option<&Digest>) -> Result<Option<Descriptor>> {
    let Some(media_type) = answer.media_type() else { return Ok(None) };
    refuse_schema1(media_type, &answer.place())?;
    if !is_known(media_type) {
        return Ok(None);
    }
    let (Some(digest), Some(size)) = (header_digest(answer), answer.length()) else {
        return Ok(None);
    };
    match wanted {
        Some(wanted) if *wanted != digest => {
            Err(not_what_was_asked(&answer.place(), wanted, &digest))
        }
        _ if size == 0 => Ok(None),
        _ => Ok(Some(Descriptor::new(media_type, digest, size))),
    }
}

fn from_body(fetched: Fetched, wanted: Option<&Digest>) -> Result<(Descriptor, Option<Bytes>)> {
    let Fetched { place, media_type, digest: header, body } = fetched;
    let algorithm = wanted.or(header.as_ref()).map_or(Algorithm::Sha256, Digest::algorithm);
    let mut hasher = Hasher::new(algorithm);
    hasher.update(&body);
    let digest = hasher.finish();
    for claimed in wanted.into_iter().chain(&header) {
        if *claimed != digest {
            return Err(not_what_was_asked(&place, claimed, &digest));
        }
    }
    let media_type = manifest_type(media_type.as_deref(), declared_type(&body), &place)?;
    refuse_schema1(&media_type, &place)?;
    if !is_known(&media_type) {
        return Err(Error::unimplemented(format!(
            "{place}: the media type {:?} is neither an image nor an index of images",
            super::answer::clip(&media_type)
        )));
    }
    Ok((Descriptor::new(media_type, digest, body.len() as u64), Some(body)))
}

fn is_known(media_type: &str) -> bool {
    media_type::is_index(media_type) || media_type::is_manifest(media_type)
}

pub(super) fn refuse_schema1(media_type: &str, place: &str) -> Result<()> {
    if media_type::is_schema1(media_type) {
        return Err(Error::unimplemented(format!(
            "{place}: a Docker schema 1 manifest, which names no content that could be verified; the \
             image must be pushed again by a current tool"
        )));
    }
    Ok(())
}

/// `Docker-Content-Digest`, if it is a digest.
pub(super) fn header_digest(answer: &Answer) -> Option<Digest> {
    const NAME: HeaderName = HeaderName::from_static("docker-content-digest");
    answer.headers().get(NAME).map(HeaderValue::to_str)?.ok().and_then(|t| Digest::parse(t).ok())
}

fn not_what_was_asked(place: &str, wanted: &Digest, got: &Digest) -> Error {
    Error::failed_precondition(format!("{place}: the digest is {got}, not {wanted}"))
}
