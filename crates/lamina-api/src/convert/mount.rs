//! Mounts, and what the mount manager made of them. Types, sources, targets and options stay as they
//! are, since clients parse them.

use lamina_core::mount::{Activation, ActiveMount};
use lamina_core::{Mount, Result};

use super::{field, timestamp};
use crate::proto::containerd::types;

/// A mount.
pub fn decode(mount: types::Mount) -> Mount {
    let types::Mount { r#type, source, target, options } = mount;
    Mount { kind: r#type, source, target, options }
}

/// A mount to send.
pub fn encode(mount: Mount) -> types::Mount {
    let Mount { kind, source, target, options } = mount;
    types::Mount { r#type: kind, source, target, options }
}

/// Mounts in order.
pub fn decode_all(mounts: Vec<types::Mount>) -> Vec<Mount> {
    mounts.into_iter().map(decode).collect()
}

/// Mounts to send, in order.
pub fn encode_all(mounts: Vec<Mount>) -> Vec<types::Mount> {
    mounts.into_iter().map(encode).collect()
}

/// An activation.
///
/// # Errors
/// InvalidArgument for an active mount without a mount, and for times that are none.
pub fn decode_activation(info: types::ActivationInfo) -> Result<Activation> {
    let active = info.active.into_iter().map(decode_active);
    Ok(Activation {
        name: info.name,
        active: active.collect::<Result<_>>()?,
        system: decode_all(info.system),
        labels: info.labels,
    })
}

/// An activation to send.
pub fn encode_activation(activation: Activation) -> types::ActivationInfo {
    types::ActivationInfo {
        name: activation.name,
        active: activation.active.into_iter().map(encode_active).collect(),
        system: encode_all(activation.system),
        labels: activation.labels,
    }
}

fn decode_active(active: types::ActiveMount) -> Result<ActiveMount> {
    Ok(ActiveMount {
        mount: decode(field::required("active.mount", active.mount)?),
        mount_point: active.mount_point,
        mounted_at: timestamp::decode("active.mounted_at", active.mounted_at)?,
        data: active.data,
    })
}

fn encode_active(active: ActiveMount) -> types::ActiveMount {
    types::ActiveMount {
        mount: Some(encode(active.mount)),
        mounted_at: Some(timestamp::encode(active.mounted_at)),
        mount_point: active.mount_point,
        data: active.data,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use lamina_core::{Kind, Labels};

    use super::*;

    #[test]
    fn activations_come_back() {
        let activation = Activation {
            name: "redis".to_owned(),
            active: vec![ActiveMount {
                mount: Mount::new("loop", "/images/disk", ["ro"]),
                mount_point: "/t/1/0".to_owned(),
                mounted_at: Timestamp::new(1, 2).unwrap(),
                data: BTreeMap::from([("device".to_owned(), "/dev/loop7".to_owned())]),
            }],
            system: vec![Mount::new("ext4", "/t/1/0", ["ro"])],
            labels: Labels::from([("a".to_owned(), "b".to_owned())]),
        };
        let mut sent = encode_activation(activation.clone());
        assert_eq!(sent.active[0].mount_point, "/t/1/0");
        assert_eq!(sent.active[0].data["device"], "/dev/loop7");
        assert_eq!(decode_activation(sent.clone()).unwrap(), activation);

        sent.active[0].mount = None;
        let error = decode_activation(sent).unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (Kind::InvalidArgument, "active.mount is required")
        );
    }

    #[test]
    fn order_and_text_are_kept() {
        let overlay = types::Mount {
            r#type: "overlay".to_owned(),
            source: "overlay".to_owned(),
            target: "data".to_owned(),
            options: vec!["workdir=/w".to_owned(), "lowerdir=/b:/a".to_owned(), String::new()],
        };
        let bind = types::Mount { r#type: "bind".to_owned(), ..Default::default() };
        let mounts = decode_all(vec![overlay.clone(), bind.clone()]);
        assert_eq!(mounts[0].kind, "overlay");
        assert_eq!(mounts[0].target, "data");
        assert_eq!(mounts[0].options, ["workdir=/w", "lowerdir=/b:/a", ""]);
        assert_eq!(encode_all(mounts), [overlay, bind]);
    }
}
