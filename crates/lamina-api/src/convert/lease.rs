//! Leases and what they hold.

use lamina_core::lease::{Resource, ResourceType};
use lamina_core::{Lease, Result};

use super::{field, timestamp};
use crate::proto::containerd::services::leases::v1 as proto;

/// A lease. Its id may be any text: clients use paths, too.
///
/// # Errors
/// InvalidArgument for a time that is none.
pub fn decode(lease: proto::Lease) -> Result<Lease> {
    Ok(Lease {
        id: lease.id,
        created: timestamp::decode("lease.created_at", lease.created_at)?,
        labels: lease.labels,
    })
}

/// A lease to send.
pub fn encode(lease: Lease) -> proto::Lease {
    proto::Lease {
        id: lease.id,
        created_at: Some(timestamp::encode(lease.created)),
        labels: lease.labels,
    }
}

/// A thing to hold.
///
/// # Errors
/// As containerd answers: Unimplemented for a type nobody knows; InvalidArgument for a known one with
/// too few or too many parts, and for content whose id is no digest.
pub fn decode_resource(resource: proto::Resource) -> Result<Resource> {
    let kind = ResourceType::parse(&resource.r#type)?;
    if kind == ResourceType::Content {
        field::decode_digest("resource.id", &resource.id)?;
    }
    Ok(Resource { kind, id: resource.id })
}

/// A thing that is held, to send.
pub fn encode_resource(resource: Resource) -> proto::Resource {
    proto::Resource { id: resource.id, r#type: resource.kind.to_string() }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use lamina_core::{Digest, Kind, Labels};

    use super::*;

    #[test]
    fn leases_come_back() {
        let lease = Lease {
            id: "/mnt/a place".to_owned(),
            created: Timestamp::new(1, 2).unwrap(),
            labels: Labels::from([("a".to_owned(), "b".to_owned())]),
        };
        assert_eq!(decode(encode(lease.clone())).unwrap(), lease);
    }

    #[test]
    fn resources_come_back_by_containerds_types() {
        let digest = Digest::sha256(b"x").to_string();
        for (kind, id) in [
            ("content", digest.as_str()),
            ("ingests", "layer-1"),
            ("images", "redis:7"),
            ("snapshots/overlayfs", "key"),
        ] {
            let sent = proto::Resource { id: id.to_owned(), r#type: kind.to_owned() };
            let resource = decode_resource(sent.clone()).unwrap();
            assert_eq!(encode_resource(resource), sent);
        }
    }

    #[test]
    fn other_resources_are_refused_as_containerd_does() {
        for (kind, id, class) in [
            ("content", "not a digest", Kind::InvalidArgument),
            ("content", "", Kind::InvalidArgument),
            ("content/x", "", Kind::InvalidArgument),
            ("images/", "", Kind::InvalidArgument),
            ("snapshots", "key", Kind::InvalidArgument),
            ("snapshots/", "key", Kind::InvalidArgument),
            ("snapshots/a/b", "key", Kind::InvalidArgument),
            ("containers", "a", Kind::Unimplemented),
            ("", "a", Kind::Unimplemented),
        ] {
            let sent = proto::Resource { id: id.to_owned(), r#type: kind.to_owned() };
            assert_eq!(decode_resource(sent).unwrap_err().kind(), class, "{kind:?}");
        }
    }
}
