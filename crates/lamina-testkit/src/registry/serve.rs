//! From a request to an answer: routes, ranges, and the fault that was ordered.

use bytes::Bytes;
use serde_json::json;

use super::access;
use super::fault::Fault;
use super::message::{Framing, Reply, Request};
use super::state::State;
use super::upload;

/// What is done with a connection.
#[derive(Debug)]
pub(super) enum Outcome {
    Reply(Reply),
    Close,
    Hang,
}

/// Answers `request`, which is number `number`.
pub(super) fn answer(state: &State, request: &Request, number: usize) -> Outcome {
    let fault = state.rule(request);
    match &fault {
        Some(Fault::TakeOnly(most)) => {
            let most = request.body.len().min(*most);
            upload::take(state, request, &request.body[..most]);
            return Outcome::Close;
        }
        Some(Fault::Forget) => {
            upload::forget(state, request);
            return Outcome::Reply(not_found("BLOB_UPLOAD_UNKNOWN"));
        }
        _ if request.cut => return Outcome::Close,
        Some(Fault::Close) => return Outcome::Close,
        Some(Fault::Hang) => return Outcome::Hang,
        Some(Fault::Status { code, headers, body }) => {
            let mut reply = Reply::new(*code, body.clone());
            reply.headers.extend(headers.iter().cloned());
            return Outcome::Reply(reply);
        }
        Some(Fault::Redirect(to)) => {
            return Outcome::Reply(Reply::new(307, "").with("Location", to));
        }
        _ => {}
    }
    let reply = route(state, request, number, fault.as_ref());
    Outcome::Reply(match fault {
        Some(fault) if reply.status < 300 => spoil(reply, &fault),
        _ => reply,
    })
}

fn route(state: &State, request: &Request, number: usize, fault: Option<&Fault>) -> Reply {
    if request.path == "/token" {
        return access::token(state, request, number);
    }
    // For tests that need a place outside of any registry's access.
    if let Some(name) = request.path.strip_prefix("/open/") {
        return match state.get("open", name) {
            Some((_, content)) => ranged(request, &content.bytes, fault),
            None => not_found("BLOB_UNKNOWN"),
        };
    }
    if let Some(refusal) = access::refusal(state, request) {
        return refusal;
    }
    let Some(path) = request.path.strip_prefix("/v2/") else { return not_found("UNSUPPORTED") };
    if path.is_empty() {
        return Reply::new(200, "{}");
    }
    if let Some(reply) = upload::route(state, request, path) {
        return reply;
    }
    let split = |kind: &str| path.rsplit_once(kind);
    if let Some((repository, name)) = split("/manifests/") {
        return match state.get(repository, name) {
            Some((digest, content)) => Reply::new(200, content.bytes)
                .with("Content-Type", content.media_type)
                .with("Docker-Content-Digest", digest.as_str()),
            None => not_found("MANIFEST_UNKNOWN"),
        };
    }
    if let Some((repository, name)) = split("/blobs/") {
        return match state.get(repository, name) {
            Some((digest, content)) => ranged(request, &content.bytes, fault)
                .with("Content-Type", "application/octet-stream")
                .with("Docker-Content-Digest", digest.as_str()),
            None => not_found("BLOB_UNKNOWN"),
        };
    }
    not_found("UNSUPPORTED")
}

pub(super) fn not_found(code: &str) -> Reply {
    let body = json!({"errors": [{"code": code, "message": "there is no such thing"}]});
    Reply::new(404, body.to_string()).with("Content-Type", "application/json")
}

/// The body, or the closed range of it that was asked for.
fn ranged(request: &Request, body: &Bytes, fault: Option<&Fault>) -> Reply {
    let size = body.len();
    let Some(range) = request.header("range") else { return Reply::new(200, body.clone()) };
    if matches!(fault, Some(Fault::IgnoreRange)) {
        return Reply::new(200, body.clone());
    }
    let parsed = range.strip_prefix("bytes=").and_then(|range| range.split_once('-'));
    // Open ranges are refused, as one widely used implementation does.
    let parsed = parsed.and_then(|(first, last)| {
        Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?))
    });
    let refused = matches!(fault, Some(Fault::RefuseRange));
    let Some((first, last)) =
        parsed.filter(|&(first, last)| first <= last && first < size && !refused)
    else {
        return Reply::new(416, "").with("Content-Range", format!("bytes */{size}"));
    };
    let last = last.min(size - 1);
    let shift = match fault {
        Some(Fault::ShiftRange(by)) => usize::try_from(*by).unwrap_or(0),
        _ => 0,
    };
    let total = match fault {
        Some(Fault::RangeTotal(total)) => *total,
        _ => size as u64,
    };
    let (first, last) = ((first + shift).min(size - 1), (last + shift).min(size - 1));
    Reply::new(206, body.slice(first..=last))
        .with("Content-Range", format!("bytes {first}-{last}/{total}"))
}

/// Does to a proper answer what the fault says.
fn spoil(mut reply: Reply, fault: &Fault) -> Reply {
    match fault {
        Fault::Flip => {
            let mut body = reply.body.to_vec();
            let middle = body.len() / 2;
            if let Some(byte) = body.get_mut(middle) {
                *byte ^= 1;
            }
            reply.body = body.into();
        }
        Fault::DropAfter(bytes) => reply.stop_after = Some(*bytes),
        Fault::EndAfter(bytes) => {
            let end = reply.body.len().min(usize::try_from(*bytes).unwrap_or(usize::MAX));
            reply.body = reply.body.slice(..end);
            reply.framing = Framing::Chunked;
        }
        Fault::Empty => {
            reply.body = Bytes::new();
            reply.framing = Framing::Length(0);
        }
        Fault::Length(by) => {
            let length = (reply.body.len() as u64).saturating_add_signed(*by);
            reply.framing = Framing::Length(length);
            reply.close = true;
        }
        Fault::Surplus(bytes) => {
            let mut body = reply.body.to_vec();
            let more = usize::try_from(*bytes).unwrap_or(0);
            body.extend(std::iter::repeat_n(b' ', more));
            reply.body = body.into();
            reply.framing = Framing::Chunked;
        }
        Fault::Html => {
            let page = "<!DOCTYPE html>\n<html><head><title>Log in, please</title></head></html>";
            reply = Reply::new(200, page).with("Content-Type", "text/html; charset=utf-8");
        }
        Fault::MediaType(media_type) => reply.set("Content-Type", media_type.clone()),
        Fault::Digest(digest) => reply.set("Docker-Content-Digest", digest.clone()),
        Fault::Endless => {
            if reply.body.is_empty() {
                reply.body = Bytes::from_static(b" ");
            }
            reply.framing = Framing::Endless;
        }
        Fault::Slow(piece, pause) => reply.slow = Some((*piece, *pause)),
        // These decided the answer already.
        Fault::IgnoreRange
        | Fault::RefuseRange
        | Fault::ShiftRange(_)
        | Fault::RangeTotal(_)
        | Fault::Status { .. }
        | Fault::Redirect(_)
        | Fault::Close
        | Fault::TakeOnly(_)
        | Fault::Forget
        | Fault::Hang => {}
    }
    reply
}
