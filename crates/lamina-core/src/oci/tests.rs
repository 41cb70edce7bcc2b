use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};

use super::*;
use crate::{Descriptor, Digest, Kind, Platform};

const LIMITS: Limits = Limits { bytes: 4096, entries: 3 };

fn config() -> Value {
    descriptor(media_type::OCI_CONFIG)
}

fn descriptor(media_type: &str) -> Value {
    serde_json::to_value(Descriptor::of(media_type, media_type.as_bytes())).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

#[test]
fn indexes_and_manifests_are_read_by_their_type() {
    let layer = descriptor(media_type::OCI_LAYER_GZIP);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "artifactType": "a/b",
        "config": config(), "layers": [layer], "subject": descriptor(media_type::OCI_MANIFEST),
        "annotations": {"k": "v"},
    });
    let read = Manifest::parse(&bytes(&manifest), LIMITS).unwrap();
    assert!(read.config.is_config() && read.layers[0].is_layer());
    assert_eq!(serde_json::to_value(&read).unwrap(), manifest);
    let entry = Descriptor {
        platform: Some(Platform::new("linux", "arm64")),
        ..Descriptor::of(media_type::DOCKER_MANIFEST, b"")
    };
    let index = Index::new(vec![entry]);
    let text = serde_json::to_vec(&index).unwrap();
    for media_type in [media_type::OCI_INDEX, media_type::DOCKER_INDEX] {
        let read = Document::parse(&text, media_type, LIMITS).unwrap();
        assert_eq!(read, Document::Index(index.clone()));
    }
    for media_type in [media_type::OCI_MANIFEST, media_type::DOCKER_MANIFEST] {
        let read = Document::parse(&bytes(&manifest), media_type, LIMITS).unwrap();
        assert!(matches!(read, Document::Manifest(_)));
    }
}

#[test]
fn what_go_leaves_out_or_writes_as_null_is_empty() {
    for text in [r#"{"schemaVersion":2}"#, r#"{"manifests":null,"layers":null,"mediaType":null}"#] {
        assert!(Index::parse(text.as_bytes(), LIMITS).unwrap().manifests.is_empty(), "{text}");
    }
    let manifest = json!({"config": config(), "layers": null, "annotations": null, "new": [1]});
    assert!(Manifest::parse(&bytes(&manifest), LIMITS).unwrap().layers.is_empty());
}

/// A document, whether it passes for an index, a manifest, and what is detected.
fn ambiguous() -> Vec<(Value, bool, bool, Option<&'static str>)> {
    let (index, manifest) = (media_type::OCI_INDEX, media_type::OCI_MANIFEST);
    vec![
        (json!({"manifests": []}), true, false, Some(index)),
        (json!({"config": config(), "layers": []}), false, true, Some(manifest)),
        (json!({"config": config(), "manifests": []}), false, false, None),
        (json!({"config": config(), "layers": [], "manifests": []}), false, false, None),
        (json!({"config": config(), "manifests": null}), false, true, Some(manifest)),
        (json!({"manifests": [], "layers": [], "mediaType": index}), false, false, None),
        (json!({"manifests": [], "mediaType": manifest}), false, false, None),
        (json!({"config": config(), "mediaType": index}), false, false, None),
        (json!({"config": config(), "mediaType": "text/html"}), false, false, None),
        (
            json!({"manifests": [], "mediaType": media_type::DOCKER_INDEX}),
            true,
            false,
            Some(media_type::DOCKER_INDEX),
        ),
        (
            json!({"config": config(), "mediaType": media_type::DOCKER_MANIFEST}),
            false,
            true,
            Some(media_type::DOCKER_MANIFEST),
        ),
        (json!({"mediaType": index}), true, false, Some(index)),
        (json!({"mediaType": manifest}), false, false, None),
        (json!({}), true, false, None),
        // What Go would read as the field, other readers would not.
        (json!({"manifests": [], "Layers": []}), false, false, None),
        (json!({"config": config(), "MANIFESTS": []}), false, false, None),
        (json!({"config": config(), "manifeſts": []}), false, false, None),
        (json!({"config": config(), "MediaType": index}), false, false, None),
    ]
}

#[test]
fn documents_that_could_be_read_both_ways_are_refused() {
    for (document, is_index, is_manifest, detected) in ambiguous() {
        let bytes = bytes(&document);
        let index = Index::parse(&bytes, LIMITS);
        let manifest = Manifest::parse(&bytes, LIMITS);
        assert_eq!(index.is_ok(), is_index, "{document}: {index:?}");
        assert_eq!(manifest.is_ok(), is_manifest, "{document}: {manifest:?}");
        for error in [index.err(), manifest.err()].into_iter().flatten() {
            assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
        }
        assert_eq!(detect(&bytes, LIMITS).ok().as_deref(), detected, "{document}");
    }
}

#[test]
fn each_kind_of_rubbish_has_its_own_message() {
    let digest = Digest::sha256(b"");
    let one = format!(r#"{{"mediaType":"x","digest":"{digest}","size":1}}"#);
    let four = [one.as_str(); 4].join(",");
    for (text, kind, says) in [
        (String::new(), Kind::InvalidArgument, "index is empty"),
        (" \n".into(), Kind::InvalidArgument, "index is empty"),
        ("<!DOCTYPE html>".into(), Kind::InvalidArgument, "HTML or XML page"),
        ("{".into(), Kind::InvalidArgument, "index is malformed: EOF"),
        ("[]".into(), Kind::InvalidArgument, "expected a JSON object"),
        ("{} {}".into(), Kind::InvalidArgument, "trailing characters"),
        (" ".repeat(4097), Kind::ResourceExhausted, "4097 bytes is larger than the limit of 4096"),
        (
            format!(r#"{{"manifests":[{four}]}}"#),
            Kind::ResourceExhausted,
            "4 manifests in an index",
        ),
        (r#"{"manifests":[],"manifests":[]}"#.into(), Kind::InvalidArgument, "there twice"),
        (r#"{"schemaVersion":3}"#.into(), Kind::InvalidArgument, "schema version 3"),
        (r#"{"schemaVersion":1,"fsLayers":[]}"#.into(), Kind::Unimplemented, "schema 1"),
        (
            format!(r#"{{"mediaType":"{}"}}"#, media_type::DOCKER_MANIFEST_V1_SIGNED),
            Kind::Unimplemented,
            "schema 1",
        ),
        (r#"{"manifests":[{}]}"#.into(), Kind::InvalidArgument, "missing field `mediaType`"),
        (r#"{"manifests":[null]}"#.into(), Kind::InvalidArgument, "null"),
        ("[".repeat(4000), Kind::InvalidArgument, "malformed"),
        (format!(r#"{{"x":{}"#, "[".repeat(4000)), Kind::InvalidArgument, "EOF"),
    ] {
        let error = Index::parse(text.as_bytes(), LIMITS).unwrap_err();
        assert_eq!(error.kind(), kind, "{text:.60}: {error}");
        assert!(error.message().contains(says), "{text:.60}: {error}");
    }
    let no_config = Manifest::parse(b"{\"layers\":[]}", LIMITS).unwrap_err();
    assert!(no_config.message().contains("missing field `config`"), "{no_config}");
    let layers = format!(r#"{{"config":{one},"layers":[{four}]}}"#);
    assert!(Manifest::parse(layers.as_bytes(), LIMITS).unwrap_err().message().contains("4 layers"));
    for (media_type, kind) in [
        (media_type::DOCKER_MANIFEST_V1, Kind::Unimplemented),
        ("text/html", Kind::InvalidArgument),
    ] {
        assert_eq!(Document::parse(b"{}", media_type, LIMITS).unwrap_err().kind(), kind);
    }
}

#[test]
fn image_configs_are_read_whole() {
    let digests = [Digest::sha256(b"1"), Digest::sha256(b"2")];
    let value = json!({
        "created": "2024-02-30T99:00:00Z", "author": "me", "architecture": "arm", "variant": "v7",
        "os": "linux", "os.version": "1", "os.features": ["f"],
        "config": {
            "User": "999:999", "ExposedPorts": {"6379/tcp": {}}, "Env": ["A=b"],
            "Entrypoint": ["/entry"], "Cmd": ["redis-server"], "Volumes": {"/data": {}},
            "WorkingDir": "/data", "Labels": {"l": "v"}, "StopSignal": "SIGTERM",
        },
        "rootfs": {"type": "layers", "diff_ids": digests},
        "history": [
            {"created": "x", "created_by": "ADD", "author": "a", "comment": "c"},
            {"created_by": "ENV", "empty_layer": true},
        ],
    });
    let config = ImageConfig::parse(&bytes(&value), LIMITS).unwrap();
    assert_eq!(serde_json::to_value(&config).unwrap(), value);
    assert_eq!(config.platform().to_string(), "linux(1+f)/arm/v7");
    assert_eq!(config.chain_ids(), crate::digest::chain_ids(&digests));
    let layer = Descriptor::of(media_type::OCI_LAYER, b"");
    let mut manifest = Manifest::new(layer.clone(), vec![layer.clone(), layer.clone()]);
    config.check_layers(&manifest).unwrap();
    manifest.layers.push(layer);
    let error = config.check_layers(&manifest).unwrap_err();
    assert_eq!(error.message(), "image config has 2 diff IDs, but the manifest has 3 layers");
}

#[test]
fn image_configs_as_docker_writes_them() {
    let value = json!({
        "architecture": "amd64", "os": "linux", "container": "x", "docker_version": "1.10",
        "config": {
            "Hostname": "", "ExposedPorts": null, "Env": null, "Cmd": null, "Entrypoint": null,
            "Volumes": null, "Labels": null, "User": null, "OnBuild": null,
            "Healthcheck": {"Test": ["NONE"]},
        },
        "rootfs": {"diff_ids": null},
        "history": null, "created": null,
    });
    let config = ImageConfig::parse(&bytes(&value), LIMITS).unwrap();
    assert_eq!(config.config, ExecConfig::default());
    assert!(config.rootfs.diff_ids.is_empty());
    for text in ["{}", r#"{"config":null,"rootfs":null}"#] {
        assert_eq!(ImageConfig::parse(text.as_bytes(), LIMITS).unwrap(), ImageConfig::default());
    }
}

#[test]
fn malformed_image_configs_are_refused() {
    let id = format!("\"{}\"", Digest::sha256(b""));
    let four = [id.as_str(); 4].join(",");
    for (text, says) in [
        (String::new(), "image config is empty"),
        ("[]".into(), "expected a JSON object"),
        (r#"{"config":[]}"#.into(), "expected a JSON object"),
        (r#"{"rootfs":["layers"]}"#.into(), "expected a JSON object"),
        (r#"{"history":[[]]}"#.into(), "expected a JSON object"),
        (r#"{"rootfs":{"type":"base"}}"#.into(), "root filesystem of type \"base\""),
        (r#"{"rootfs":{"diff_ids":["sha256:x"]}}"#.into(), "invalid digest"),
        (format!(r#"{{"rootfs":{{"diff_ids":[{four}]}}}}"#), "4 diff IDs in an image config"),
        (r#"{"config":{"Env":"A=b"}}"#.into(), "malformed"),
        (r#"{"os":1}"#.into(), "malformed"),
    ] {
        let error = ImageConfig::parse(text.as_bytes(), LIMITS).unwrap_err();
        assert!(error.message().contains(says), "{text}: {error}");
    }
}

proptest! {
    // The same in every run; more cases are other ones.
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(20), ..ProptestConfig::default() })]

    #[test]
    fn no_document_is_both(
        keys in prop::sample::subsequence(
            vec!["manifests", "config", "layers", "Manifests", "fsLayers", "schemaVersion"], 0..=6),
        media_type in prop::option::of(prop::sample::select(vec![
            media_type::OCI_INDEX, media_type::OCI_MANIFEST, media_type::DOCKER_INDEX, "",
        ])),
    ) {
        let mut document = serde_json::Map::new();
        for key in keys {
            let value = match key {
                "config" => config(),
                "schemaVersion" => json!(2),
                _ => json!([]),
            };
            document.insert(key.to_owned(), value);
        }
        if let Some(media_type) = media_type {
            document.insert("mediaType".to_owned(), json!(media_type));
        }
        let bytes = bytes(&Value::Object(document));
        let both = Index::parse(&bytes, LIMITS).is_ok() && Manifest::parse(&bytes, LIMITS).is_ok();
        prop_assert!(!both);
    }

    #[test]
    fn parsing_never_panics(text in "[\\[\\]{}\":,a-z0-9 ]{0,60}") {
        let _ = Index::parse(text.as_bytes(), LIMITS);
        let _ = Manifest::parse(text.as_bytes(), LIMITS);
        let _ = ImageConfig::parse(text.as_bytes(), LIMITS);
    }
    /// Real documents with some bytes changed, cut, or doubled.
    #[test]
    fn changed_documents_are_read_or_refused(
        which in 0..3usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), change()), 1..8),
    ) {
        let mut text = bytes(&documents()[which]);
        for (place, change) in changes {
            if text.is_empty() {
                break;
            }
            let at = place.index(text.len());
            match change {
                Change::Byte(byte) => text[at] = byte,
                Change::Text(new) => drop(text.splice(at..at, new.bytes())),
                Change::Cut(len) => drop(text.drain(at..(at + len).min(text.len()))),
                Change::Twice => drop(text.splice(at..at, text[at..].to_vec())),
            }
        }
        let read = [
            Index::parse(&text, LIMITS).map(|read| read.manifests.len()),
            Manifest::parse(&text, LIMITS).map(|read| read.layers.len()),
            ImageConfig::parse(&text, LIMITS).map(|read| read.chain_ids().len()),
        ];
        for entries in read.iter().flatten() {
            prop_assert!(*entries <= LIMITS.entries);
        }
        prop_assert!(!(read[0].is_ok() && read[1].is_ok()), "both");
    }
}

#[derive(Clone, Debug)]
enum Change {
    Byte(u8),
    Text(&'static str),
    Cut(usize),
    Twice,
}

fn change() -> impl Strategy<Value = Change> {
    let words = [
        "null",
        "-1",
        "1e999",
        "18446744073709551616",
        "\\ud800",
        "{",
        "[[[[",
        "\"",
        ",",
        "sha256:",
    ];
    prop_oneof![
        4 => any::<u8>().prop_map(Change::Byte),
        4 => prop::sample::select(words.to_vec()).prop_map(Change::Text),
        2 => (1..40usize).prop_map(Change::Cut),
        1 => Just(Change::Twice),
    ]
}

/// An index, a manifest and a config with everything that is read.
fn documents() -> [Value; 3] {
    let layer = descriptor(media_type::OCI_LAYER_GZIP);
    let mut entry = descriptor(media_type::OCI_MANIFEST);
    entry["platform"] = json!({
        "os": "linux", "architecture": "arm", "variant": "v7", "os.version": "1",
        "os.features": ["a"],
    });
    let digest = Digest::sha256(b"layer");
    [
        json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": [entry],
            "annotations": {"k": "v"},
        }),
        json!({
            "schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config(),
            "layers": [layer.clone(), layer],
        }),
        json!({
            "created": "2026-01-01T00:00:00Z", "os": "linux", "architecture": "amd64",
            "config": {"Env": ["A=b"], "Cmd": ["sh"], "Labels": {"k": "v"}, "Volumes": {"/a": {}}},
            "rootfs": {"type": "layers", "diff_ids": [digest.clone(), digest]},
            "history": [{"created_by": "x", "empty_layer": true}],
        }),
    ]
}

#[test]
fn documents_to_change_are_read_as_they_are() {
    let [index, manifest, config] = documents().map(|document| bytes(&document));
    Index::parse(&index, LIMITS).unwrap();
    Manifest::parse(&manifest, LIMITS).unwrap();
    assert_eq!(ImageConfig::parse(&config, LIMITS).unwrap().chain_ids().len(), 2);
}
