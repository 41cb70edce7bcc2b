//! Errors over the wire: a code, and a message that ends in the class's text.
//!
//! Go clients decide by the code alone, except for two classes that share the code of a third: those
//! they tell apart by the end of the message (`…: conflict`). Others look for the text of any class.

use lamina_core::Error;
use lamina_core::error::Kind;
use tonic::{Code, Status};

/// Bytes of a message. It travels in a header, with up to three characters for a byte, and clients take
/// headers of 16 KiB together; over that they see a broken stream in place of the status.
const MESSAGE: usize = 4 << 10;

/// What a server answers: the whole chain of the error on one line, its class's text last. A very long
/// one lacks its middle.
pub fn to_status(error: &Error) -> Status {
    let class = error.kind().text();
    let mut message = shortened(error.chain());
    // Of errors without a class, Go's packages say so only when they have come over a wire.
    if error.kind() != Kind::Unknown && !ends_in(&message, class) {
        message.push_str(": ");
        message.push_str(class);
    }
    Status::new(code(error.kind()), message)
}

/// What a client got: the class by the code, and the message without the class's text.
pub fn from_status(status: &Status) -> Error {
    let message = status.message();
    let kind = match status.code() {
        Code::FailedPrecondition if ends_in(message, Kind::Conflict.text()) => Kind::Conflict,
        Code::FailedPrecondition if ends_in(message, Kind::NotModified.text()) => Kind::NotModified,
        code => kind(code),
    };
    let without = message.strip_suffix(kind.text()).and_then(|rest| rest.strip_suffix(": "));
    Error::new(kind, without.unwrap_or(message))
}

/// What failed stands first, and why last.
fn shortened(message: String) -> String {
    if message.len() <= MESSAGE {
        return message;
    }
    let (head, tail) = message.split_at(message.floor_char_boundary(MESSAGE / 2));
    let tail = &tail[tail.ceil_char_boundary(tail.len() - MESSAGE / 2)..];
    format!("{head} … {tail}")
}

/// What a client of ttrpc got, which has gRPC's codes and messages and no type of its own for them.
pub fn from_code(code: i32, message: &str) -> Error {
    from_status(&Status::new(Code::from(code), message))
}

/// Whether the last part of the chain is the class's text.
fn ends_in(message: &str, class: &str) -> bool {
    message.strip_suffix(class).is_some_and(|rest| rest.is_empty() || rest.ends_with(": "))
}

fn code(kind: Kind) -> Code {
    match kind {
        Kind::InvalidArgument => Code::InvalidArgument,
        Kind::NotFound => Code::NotFound,
        Kind::AlreadyExists => Code::AlreadyExists,
        Kind::PermissionDenied => Code::PermissionDenied,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::ResourceExhausted => Code::ResourceExhausted,
        Kind::FailedPrecondition | Kind::Conflict | Kind::NotModified => Code::FailedPrecondition,
        Kind::Aborted => Code::Aborted,
        Kind::OutOfRange => Code::OutOfRange,
        Kind::Unimplemented => Code::Unimplemented,
        Kind::Internal => Code::Internal,
        Kind::Unavailable => Code::Unavailable,
        Kind::DataLoss => Code::DataLoss,
        Kind::Cancelled => Code::Cancelled,
        Kind::DeadlineExceeded => Code::DeadlineExceeded,
        _ => Code::Unknown,
    }
}

fn kind(code: Code) -> Kind {
    match code {
        Code::InvalidArgument => Kind::InvalidArgument,
        Code::NotFound => Kind::NotFound,
        Code::AlreadyExists => Kind::AlreadyExists,
        Code::PermissionDenied => Kind::PermissionDenied,
        Code::Unauthenticated => Kind::Unauthenticated,
        Code::ResourceExhausted => Kind::ResourceExhausted,
        Code::FailedPrecondition => Kind::FailedPrecondition,
        Code::Aborted => Kind::Aborted,
        Code::OutOfRange => Kind::OutOfRange,
        Code::Unimplemented => Kind::Unimplemented,
        Code::Internal => Kind::Internal,
        Code::Unavailable => Kind::Unavailable,
        Code::DataLoss => Kind::DataLoss,
        Code::Cancelled => Kind::Cancelled,
        Code::DeadlineExceeded => Kind::DeadlineExceeded,
        // An error that says `Ok` is none we know.
        Code::Unknown | Code::Ok => Kind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers from gRPC's status codes, written out: what Go's `errdefs` reads.
    const CLASSES: &[(Kind, i32, &str)] = &[
        (Kind::Unknown, 2, "unknown"),
        (Kind::InvalidArgument, 3, "invalid argument"),
        (Kind::NotFound, 5, "not found"),
        (Kind::AlreadyExists, 6, "already exists"),
        (Kind::PermissionDenied, 7, "permission denied"),
        (Kind::Unauthenticated, 16, "unauthenticated"),
        (Kind::ResourceExhausted, 8, "resource exhausted"),
        (Kind::FailedPrecondition, 9, "failed precondition"),
        (Kind::Conflict, 9, "conflict"),
        (Kind::NotModified, 9, "not modified"),
        (Kind::Aborted, 10, "aborted"),
        (Kind::OutOfRange, 11, "out of range"),
        (Kind::Unimplemented, 12, "not implemented"),
        (Kind::Internal, 13, "internal"),
        (Kind::Unavailable, 14, "unavailable"),
        (Kind::DataLoss, 15, "data loss"),
        (Kind::Cancelled, 1, "context canceled"),
        (Kind::DeadlineExceeded, 4, "context deadline exceeded"),
    ];

    #[test]
    fn each_class_has_its_code_and_comes_back() {
        for &(kind, number, text) in CLASSES {
            let status = to_status(&Error::new(kind, "image \"redis\""));
            assert_eq!(i32::from(status.code()), number, "{kind:?}");
            let end = if kind == Kind::Unknown { String::new() } else { format!(": {text}") };
            assert_eq!(status.message(), format!("image \"redis\"{end}"));
            let back = from_status(&status);
            assert_eq!((back.kind(), back.message()), (kind, "image \"redis\""));
        }
    }

    #[test]
    fn the_chain_comes_before_the_class() {
        let error = Error::unavailable("ref \"layer\" locked").context("open ingest");
        assert_eq!(to_status(&error).message(), "open ingest: ref \"layer\" locked: unavailable");
    }

    #[test]
    fn the_class_is_not_said_twice() {
        let told = from_status(&Status::not_found("snapshot a does not exist: not found"));
        let again = to_status(&told.context("prepare b"));
        assert_eq!(again.message(), "prepare b: snapshot a does not exist: not found");
        assert_eq!(to_status(&Error::not_found("key a: not found")).message(), "key a: not found");
        assert_eq!(to_status(&Error::not_found("not found")).message(), "not found");
        // A word that only ends like the class is not the class.
        assert_eq!(
            to_status(&Error::not_found("key was not found")).message(),
            "key was not found: not found"
        );
    }

    #[test]
    fn messages_of_other_servers_stay_whole() {
        for message in ["", "not found", "no such thing"] {
            let error = from_status(&Status::not_found(message));
            assert_eq!((error.kind(), error.message()), (Kind::NotFound, message));
        }
        let plain = from_status(&Status::failed_precondition("edit conflict"));
        assert_eq!(plain.kind(), Kind::FailedPrecondition);
    }

    #[test]
    fn a_very_long_message_lacks_its_middle() {
        let name = "ä".repeat(50_000);
        let error =
            Error::not_found(format!("image {name:?}")).with_source(Error::internal("disk"));
        let status = to_status(&error);
        let message = status.message();
        assert!(message.len() < MESSAGE + 50, "{}", message.len());
        assert!(message.starts_with("image \"ää"), "{message}");
        assert!(message.contains("ä … ä"), "{message}");
        assert!(message.ends_with("disk: not found"), "{message}");
    }
}
