//! Uploads: opened, filled, mounted, ended, by the rules of the distribution specification and no more
//! generous than them.

use lamina_core::{Digest, media_type};
use serde_json::{Value, json};

use super::message::{Reply, Request};
use super::serve::not_found;
use super::state::State;

/// The answer to a request that uploads something; `None` for others.
pub(super) fn route(state: &State, request: &Request, path: &str) -> Option<Reply> {
    if let Some((repository, rest)) = path.rsplit_once("/blobs/uploads/") {
        return Some(match (request.method.as_str(), rest) {
            ("POST", "") => open(state, request, repository),
            ("PATCH", number) => patch(state, request, repository, number),
            ("PUT", number) => end(state, request, repository, number),
            ("GET", number) => tell(state, repository, number),
            _ => not_found("UNSUPPORTED"),
        });
    }
    let (repository, name) = path.rsplit_once("/manifests/")?;
    (request.method == "PUT").then(|| manifest(state, request, repository, name))
}

/// Takes bytes of an upload whose connection breaks off.
pub(super) fn take(state: &State, request: &Request, bytes: &[u8]) {
    if let Some(number) = request.path.rsplit('/').next().and_then(|n| n.parse().ok()) {
        state.upload(number, |have| have.extend_from_slice(bytes));
    }
}

/// Forgets an upload.
pub(super) fn forget(state: &State, request: &Request) {
    if let Some(number) = request.path.rsplit('/').next().and_then(|n| n.parse().ok()) {
        state.end_upload(number);
    }
}

fn open(state: &State, request: &Request, repository: &str) -> Reply {
    if let (Some(mount), Some(from)) = (query(request, "mount"), query(request, "from"))
        && let Some((digest, content)) = state.get(&from, &mount)
    {
        state.put(repository, &digest, &content.media_type, content.bytes);
        return created(repository, "blobs", digest.as_str());
    }
    going(repository, state.begin_upload(), 0, 202)
}

fn patch(state: &State, request: &Request, repository: &str, number: &str) -> Reply {
    let Some(number) = number.parse().ok() else { return not_found("BLOB_UPLOAD_UNKNOWN") };
    let first = request.header("content-range").and_then(|range| range.split_once('-'));
    let first = first.and_then(|(first, _)| first.parse::<usize>().ok());
    let taken = state.upload(number, |have| {
        if first.is_some_and(|first| first != have.len()) {
            return Err(have.len());
        }
        have.extend_from_slice(&request.body);
        Ok(have.len())
    });
    match taken {
        None => not_found("BLOB_UPLOAD_UNKNOWN"),
        Some(Ok(size)) => going(repository, number, size, 202),
        Some(Err(size)) => going(repository, number, size, 416),
    }
}

fn end(state: &State, request: &Request, repository: &str, number: &str) -> Reply {
    let Some(number) = number.parse().ok() else { return not_found("BLOB_UPLOAD_UNKNOWN") };
    let Some(mut bytes) = state.end_upload(number) else {
        return not_found("BLOB_UPLOAD_UNKNOWN");
    };
    bytes.extend_from_slice(&request.body);
    let digest = Digest::sha256(&bytes);
    if query(request, "digest").as_deref() != Some(digest.as_str()) {
        return refused("DIGEST_INVALID", &format!("it has {digest}"));
    }
    state.put(repository, &digest, "application/octet-stream", bytes.into());
    created(repository, "blobs", digest.as_str())
}

fn tell(state: &State, repository: &str, number: &str) -> Reply {
    let size = number.parse().ok().and_then(|n| state.upload(n, |have| have.len()).map(|s| (n, s)));
    match size {
        Some((number, size)) => going(repository, number, size, 204),
        None => not_found("BLOB_UPLOAD_UNKNOWN"),
    }
}

/// Takes a manifest whose parts are here.
fn manifest(state: &State, request: &Request, repository: &str, name: &str) -> Reply {
    let digest = Digest::sha256(&request.body);
    let Ok(document) = serde_json::from_slice::<Value>(&request.body) else {
        return refused("MANIFEST_INVALID", "it is no JSON");
    };
    let kind = request.header("content-type").unwrap_or_default();
    let lists = ["layers", "manifests"].iter().filter_map(|list| document[list].as_array());
    let parts = lists.flatten().chain(document.get("config"));
    for part in parts {
        let foreign = part["mediaType"].as_str().is_some_and(media_type::is_nondistributable);
        let digest = part["digest"].as_str().unwrap_or_default();
        if !foreign && state.get(repository, digest).is_none() {
            return refused("MANIFEST_BLOB_UNKNOWN", digest);
        }
    }
    state.put(repository, &digest, kind, request.body.clone());
    if Digest::parse(name).is_err() {
        state.tag(repository, name, &digest);
    }
    created(repository, "manifests", digest.as_str()).with("Docker-Content-Digest", digest.as_str())
}

fn going(repository: &str, number: usize, size: usize, status: u16) -> Reply {
    Reply::new(status, "")
        .with("Location", format!("/v2/{repository}/blobs/uploads/{number}?state=x"))
        .with("Range", format!("0-{}", size.saturating_sub(1)))
}

fn created(repository: &str, kind: &str, name: &str) -> Reply {
    Reply::new(201, "").with("Location", format!("/v2/{repository}/{kind}/{name}"))
}

fn refused(code: &str, message: &str) -> Reply {
    let body = json!({"errors": [{"code": code, "message": message}]});
    Reply::new(400, body.to_string()).with("Content-Type", "application/json")
}

/// A value of the query, with the colons and slashes that were escaped.
fn query(request: &Request, name: &str) -> Option<String> {
    let pairs = request.query.split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next()?;
    Some(found.replace("%3A", ":").replace("%2F", "/"))
}
