//! Content: infos of blobs, states of ingests.

use lamina_core::Result;
use lamina_core::content::{Info, Status};

use super::{field, timestamp};
use crate::proto::containerd::services::content::v1 as proto;

/// An info.
///
/// # Errors
/// InvalidArgument for a digest of wrong form, a negative size, times that are none.
pub fn decode_info(info: proto::Info) -> Result<Info> {
    Ok(Info {
        digest: field::decode_digest("info.digest", &info.digest)?,
        size: field::decode_size("info.size", info.size)?,
        labels: info.labels,
        created: timestamp::decode("info.created_at", info.created_at)?,
        updated: timestamp::decode("info.updated_at", info.updated_at)?,
    })
}

/// An info to send.
pub fn encode_info(info: Info) -> proto::Info {
    proto::Info {
        digest: info.digest.to_string(),
        size: field::encode_size(info.size),
        created_at: Some(timestamp::encode(info.created)),
        updated_at: Some(timestamp::encode(info.updated)),
        labels: info.labels,
    }
}

/// The state of an ingest.
///
/// # Errors
/// InvalidArgument for negative numbers, a digest of wrong form, times that are none.
pub fn decode_status(status: proto::Status) -> Result<Status> {
    Ok(Status {
        reference: status.r#ref,
        offset: field::decode_size("status.offset", status.offset)?,
        total: field::decode_size("status.total", status.total)?,
        expected: field::decode_optional_digest("status.expected", &status.expected)?,
        started: timestamp::decode("status.started_at", status.started_at)?,
        updated: timestamp::decode("status.updated_at", status.updated_at)?,
    })
}

/// The state of an ingest to send.
pub fn encode_status(status: Status) -> proto::Status {
    proto::Status {
        started_at: Some(timestamp::encode(status.started)),
        updated_at: Some(timestamp::encode(status.updated)),
        r#ref: status.reference,
        offset: field::encode_size(status.offset),
        total: field::encode_size(status.total),
        expected: field::encode_optional_digest(status.expected),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use lamina_core::{Digest, Kind, Labels};

    use super::*;

    fn info() -> Info {
        Info {
            digest: Digest::sha256(b"x"),
            size: 1,
            labels: Labels::from([("a".to_owned(), "b".to_owned())]),
            created: Timestamp::new(1, 2).unwrap(),
            updated: Timestamp::new(3, 4).unwrap(),
        }
    }

    fn status() -> Status {
        Status {
            reference: "layer-1".to_owned(),
            offset: 5,
            total: 6,
            expected: Some(Digest::sha256(b"x")),
            started: Timestamp::new(7, 0).unwrap(),
            updated: Timestamp::new(8, 0).unwrap(),
        }
    }

    #[test]
    fn infos_come_back() {
        let sent = encode_info(info());
        assert_eq!(sent.created_at, Some(prost_types::Timestamp { seconds: 1, nanos: 2 }));
        assert_eq!(decode_info(sent).unwrap(), info());
    }

    #[test]
    fn statuses_come_back() {
        let sent = encode_status(status());
        assert_eq!((sent.offset, sent.total), (5, 6));
        assert_eq!(sent.started_at, Some(prost_types::Timestamp { seconds: 7, nanos: 0 }));
        assert_eq!(decode_status(sent).unwrap(), status());
        let nothing_expected = Status { expected: None, total: 0, ..status() };
        let sent = encode_status(nothing_expected.clone());
        assert_eq!(sent.expected, "");
        assert_eq!(decode_status(sent).unwrap(), nothing_expected);
    }

    #[test]
    fn broken_ones_are_refused_by_field() {
        let (info, status) = (encode_info(info()), encode_status(status()));
        let bad = |message: &str| message.to_owned();
        let errors = [
            decode_info(proto::Info { digest: bad("sha256:"), ..info.clone() }).unwrap_err(),
            decode_info(proto::Info { size: -1, ..info }).unwrap_err(),
            decode_status(proto::Status { offset: -1, ..status.clone() }).unwrap_err(),
            decode_status(proto::Status { total: i64::MIN, ..status.clone() }).unwrap_err(),
            decode_status(proto::Status { expected: bad("x"), ..status }).unwrap_err(),
        ];
        let fields =
            ["info.digest", "info.size", "status.offset", "status.total", "status.expected"];
        for (error, field) in errors.iter().zip(fields) {
            assert_eq!(error.kind(), Kind::InvalidArgument);
            assert!(error.chain().starts_with(field), "{}", error.chain());
        }
    }
}
