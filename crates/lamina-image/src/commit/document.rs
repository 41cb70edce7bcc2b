//! The documents of the new image, made of those of the one below it. Pure.

use jiff::Timestamp;
use lamina_core::oci::Manifest;
use lamina_core::{Descriptor, Digest, Error, Result, media_type};
use serde_json::{Map, Value, json};

use super::CommitOptions;

/// The config: that of the image below, of which the lowest `layers` stay, with one layer more and
/// another history. What it has that nobody here knows stays.
pub(super) fn config(
    below: &[u8],
    layers: usize,
    diff_id: &Digest,
    created_by: &str,
    created: Timestamp,
    options: &CommitOptions,
) -> Result<Vec<u8>> {
    let broken =
        |what: &str| Error::invalid_argument(format!("the config of the image below {what}"));
    let mut config: Map<String, Value> = serde_json::from_slice(below)
        .map_err(|error| broken("cannot be read").with_source(error))?;
    let created = created.to_string();
    config.insert("created".into(), json!(created));
    if !options.author.is_empty() {
        config.insert("author".into(), json!(options.author));
    }
    // Docker's words about the container that the image below was made of.
    for gone in ["container", "container_config", "id", "parent"] {
        config.remove(gone);
    }
    let rootfs = object(&mut config, "rootfs").ok_or_else(|| broken("has no rootfs"))?;
    rootfs.entry("type").or_insert(json!("layers"));
    let ids = array(rootfs, "diff_ids").ok_or_else(|| broken("has no list of diff IDs"))?;
    ids.truncate(layers);
    ids.push(json!(diff_id.as_str()));
    let mut entry = json!({"created": created, "created_by": created_by});
    for (key, text) in [("author", &options.author), ("comment", &options.message)] {
        if !text.is_empty() {
            entry[key] = json!(text);
        }
    }
    let history = array(&mut config, "history").ok_or_else(|| broken("has no list as history"))?;
    keep_layers(history, layers);
    history.push(entry);
    if !options.changes.is_empty() {
        let run = object(&mut config, "config").ok_or_else(|| broken("has no object as config"))?;
        options.changes.iter().for_each(|change| change.make(run));
    }
    serde_json::to_vec(&config).map_err(|error| broken("cannot be written").with_source(error))
}

/// Cuts a history behind the entry of the last of `layers` layers. One that tells of no more stays.
fn keep_layers(history: &mut Vec<Value>, layers: usize) {
    let filled =
        history.iter().enumerate().filter(|(_, entry)| entry["empty_layer"] != json!(true));
    let filled: Vec<usize> = filled.map(|(at, _)| at).collect();
    if let (Some(first_gone), Some(last)) = (filled.get(layers), layers.checked_sub(1)) {
        let kept = filled.get(last).map_or(*first_gone, |at| at + 1);
        history.truncate(kept);
    }
}

/// The manifest, Docker's for an image that is Docker's. `layer` is named as that wants it.
pub(super) fn manifest(
    below: &Manifest,
    layers: usize,
    docker: bool,
    config: Descriptor,
    layer: Descriptor,
) -> Manifest {
    let mut layer = layer;
    if docker {
        layer.media_type = media_type::to_docker(&layer.media_type).to_owned();
    }
    let layers = below.layers.iter().take(layers).cloned().chain([layer]).collect();
    let mut manifest = Manifest::new(config, layers);
    if docker {
        manifest.media_type = Some(media_type::DOCKER_MANIFEST.to_owned());
    }
    manifest
}

fn object<'a>(parent: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    let value = parent.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = json!({});
    }
    value.as_object_mut()
}

fn array<'a>(parent: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Vec<Value>> {
    let value = parent.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = json!([]);
    }
    value.as_array_mut()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_keeps_what_nobody_knows() {
        let below = json!({
            "architecture": "arm64", "os": "linux", "variant": "v8", "mystery": {"a": [1]},
            "created": "2001-01-01T00:00:00Z", "container": "x", "container_config": {"Cmd": ["x"]},
            "config": {"Cmd": ["sh"], "Healthcheck": {"Test": ["x"]}},
            "rootfs": {"type": "layers", "diff_ids": [Digest::sha256(b"1").as_str()]},
            "history": [{"created_by": "first"}],
        });
        let options = CommitOptions {
            author: "Me".into(),
            message: "why".into(),
            changes: vec!["CMD [\"a\"]".parse().unwrap()],
            ..CommitOptions::default()
        };
        let diff_id = Digest::sha256(b"2");
        let below = below.to_string();
        let created: Timestamp = "2020-02-02T02:02:02Z".parse().unwrap();
        let found = config(below.as_bytes(), 1, &diff_id, "sh -c x", created, &options).unwrap();
        let found: Value = serde_json::from_slice(&found).unwrap();
        assert_eq!(
            found,
            json!({
                "architecture": "arm64", "os": "linux", "variant": "v8", "mystery": {"a": [1]},
                "created": "2020-02-02T02:02:02Z", "author": "Me",
                "config": {"Cmd": ["a"], "Healthcheck": {"Test": ["x"]}},
                "rootfs": {
                    "type": "layers",
                    "diff_ids": [Digest::sha256(b"1").as_str(), diff_id.as_str()],
                },
                "history": [
                    {"created_by": "first"},
                    {
                        "created": "2020-02-02T02:02:02Z", "created_by": "sh -c x",
                        "author": "Me", "comment": "why",
                    },
                ],
            })
        );
    }

    #[test]
    fn a_config_may_have_nothing() {
        let diff_id = Digest::sha256(b"2");
        let options = CommitOptions::default();
        for below in ["{}", r#"{"rootfs": null, "history": null, "config": null}"#] {
            let found = config(below.as_bytes(), 0, &diff_id, "", Timestamp::UNIX_EPOCH, &options);
            let found: Value = serde_json::from_slice(&found.unwrap()).unwrap();
            assert_eq!(found["rootfs"]["diff_ids"], json!([diff_id.as_str()]));
        }
        for below in ["", "[]", r#"{"history": {}}"#, r#"{"rootfs": 7}"#] {
            config(below.as_bytes(), 0, &diff_id, "", Timestamp::UNIX_EPOCH, &options).unwrap_err();
        }
    }

    #[test]
    fn a_history_goes_as_far_as_its_layers() {
        let history = |text: &str| -> Vec<Value> {
            let entry = |c: char| json!({"created_by": c.to_string(), "empty_layer": c == 'e'});
            text.chars().map(entry).collect()
        };
        for (before, layers, after) in [
            ("abc", 3, "abc"),
            ("abc", 2, "ab"),
            ("aebec", 2, "aeb"),
            ("aebe", 2, "aebe"),
            ("ab", 5, "ab"),
            ("", 1, ""),
        ] {
            let mut found = history(before);
            keep_layers(&mut found, layers);
            assert_eq!(found, history(after), "{before} {layers}");
        }
    }
}
