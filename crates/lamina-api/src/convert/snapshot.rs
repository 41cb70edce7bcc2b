//! Snapshots: kinds, infos, usage.

use lamina_core::Result;
use lamina_core::snapshot::{Info, Kind, Usage};

use super::{field, timestamp};
use crate::proto::containerd::services::snapshots::v1 as proto;

/// A kind. Any number that is neither active nor view is committed, as containerd reads it: clients
/// that change labels send 0.
pub fn decode_kind(number: i32) -> Kind {
    match proto::Kind::try_from(number) {
        Ok(proto::Kind::Active) => Kind::Active,
        Ok(proto::Kind::View) => Kind::View,
        _ => Kind::Committed,
    }
}

/// A kind to send.
pub fn encode_kind(kind: Kind) -> proto::Kind {
    match kind {
        Kind::View => proto::Kind::View,
        Kind::Active => proto::Kind::Active,
        Kind::Committed => proto::Kind::Committed,
    }
}

/// An info.
///
/// # Errors
/// InvalidArgument for times that are none.
pub fn decode_info(info: proto::Info) -> Result<Info> {
    Ok(Info {
        kind: decode_kind(info.kind),
        name: info.name,
        parent: info.parent,
        labels: info.labels,
        created: timestamp::decode("info.created_at", info.created_at)?,
        updated: timestamp::decode("info.updated_at", info.updated_at)?,
    })
}

/// An info to send.
pub fn encode_info(info: Info) -> proto::Info {
    proto::Info {
        name: info.name,
        parent: info.parent,
        kind: encode_kind(info.kind).into(),
        created_at: Some(timestamp::encode(info.created)),
        updated_at: Some(timestamp::encode(info.updated)),
        labels: info.labels,
    }
}

/// A usage.
///
/// # Errors
/// InvalidArgument for negative numbers.
pub fn decode_usage(usage: proto::UsageResponse) -> Result<Usage> {
    field::decode_size("size", usage.size)?;
    field::decode_size("inodes", usage.inodes)?;
    Ok(Usage { inodes: usage.inodes, size: usage.size })
}

/// A usage to send.
pub fn encode_usage(usage: Usage) -> proto::UsageResponse {
    proto::UsageResponse { size: usage.size, inodes: usage.inodes }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use lamina_core::Labels;

    use super::*;

    #[test]
    fn kinds_have_containerds_numbers() {
        for (number, kind) in [(1, Kind::View), (2, Kind::Active), (3, Kind::Committed)] {
            assert_eq!(i32::from(encode_kind(kind)), number);
            assert_eq!(decode_kind(number), kind);
        }
        for number in [0, 4, -1, i32::MIN] {
            assert_eq!(decode_kind(number), Kind::Committed);
        }
    }

    #[test]
    fn infos_come_back() {
        let info = Info {
            kind: Kind::Active,
            name: "redis".to_owned(),
            parent: "sha256:base".to_owned(),
            labels: Labels::from([("a".to_owned(), "b".to_owned())]),
            created: Timestamp::new(1, 2).unwrap(),
            updated: Timestamp::new(3, 4).unwrap(),
        };
        let sent = encode_info(info.clone());
        assert_eq!((sent.name.as_str(), sent.parent.as_str()), ("redis", "sha256:base"));
        assert_eq!(sent.created_at, Some(prost_types::Timestamp { seconds: 1, nanos: 2 }));
        assert_eq!(decode_info(sent).unwrap(), info);

        // As `ctr snapshots label` sends it.
        let named = proto::Info { name: "redis".to_owned(), ..Default::default() };
        assert_eq!(decode_info(named).unwrap().name, "redis");
        let wrong = prost_types::Timestamp { seconds: 0, nanos: -1 };
        decode_info(proto::Info { updated_at: Some(wrong), ..Default::default() }).unwrap_err();
    }

    #[test]
    fn usage_is_not_negative() {
        let usage = Usage { inodes: 3, size: 4096 };
        let sent = encode_usage(usage);
        assert_eq!((sent.size, sent.inodes), (4096, 3));
        assert_eq!(decode_usage(sent).unwrap(), usage);
        decode_usage(proto::UsageResponse { size: -1, inodes: 0 }).unwrap_err();
        decode_usage(proto::UsageResponse { size: 0, inodes: -1 }).unwrap_err();
    }
}
