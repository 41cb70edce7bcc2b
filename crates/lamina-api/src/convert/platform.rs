//! Platforms, as written: nothing is normalised on the way.

use lamina_core::Platform;

use crate::proto::containerd::types;

/// A platform.
pub fn decode(platform: types::Platform) -> Platform {
    let types::Platform { os, architecture, variant, os_version, os_features } = platform;
    Platform { architecture, os, os_version, os_features, variant }
}

/// A platform to send.
pub fn encode(platform: Platform) -> types::Platform {
    let Platform { architecture, os, os_version, os_features, variant } = platform;
    types::Platform { os, architecture, variant, os_version, os_features }
}

/// Platforms.
pub fn decode_all(platforms: Vec<types::Platform>) -> Vec<Platform> {
    platforms.into_iter().map(decode).collect()
}

/// Platforms to send.
pub fn encode_all(platforms: Vec<Platform>) -> Vec<types::Platform> {
    platforms.into_iter().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_its_place() {
        let sent = types::Platform {
            os: "windows".to_owned(),
            architecture: "x86_64".to_owned(),
            variant: "v1".to_owned(),
            os_version: "10.0.17763".to_owned(),
            os_features: vec!["win32k".to_owned()],
        };
        let platforms = decode_all(vec![sent.clone()]);
        assert_eq!(
            platforms,
            [Platform {
                architecture: "x86_64".to_owned(),
                os: "windows".to_owned(),
                os_version: "10.0.17763".to_owned(),
                os_features: vec!["win32k".to_owned()],
                variant: "v1".to_owned(),
            }]
        );
        assert_eq!(encode_all(platforms), [sent]);
    }
}
