//! Mounts: type, source, target and options as they are, since clients parse them.

use lamina_core::Mount;

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

#[cfg(test)]
mod tests {
    use super::*;

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
