//! Overlays that are hard to say: many layers, long paths, odd names.

use std::path::{Path, PathBuf};

use lamina_core::{Kind, Mount};

use super::super::testing::{MountDir, need_root, or_skip};
use super::super::{Api, How, escape_layer, lookup, unmount};
use super::{APIS, by};

/// Layers with a file each and one they all have; the topmost is number 0.
fn layers(root: &Path, count: usize) -> Vec<PathBuf> {
    (0..count)
        .map(|number| {
            let dir = root.join(number.to_string()).join("fs");
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join(format!("file-{number}")), "").unwrap();
            std::fs::write(dir.join("top"), number.to_string()).unwrap();
            dir
        })
        .collect()
}

fn overlay(lower: &[PathBuf], upper: Option<&Path>) -> Mount {
    let lower: Vec<String> = lower.iter().map(|path| escape_layer(path)).collect();
    let mut options = vec!["index=off".to_owned()];
    if let Some(upper) = upper {
        for (key, name) in [("upperdir", "fs"), ("workdir", "work")] {
            let dir = upper.join(name);
            std::fs::create_dir_all(&dir).unwrap();
            options.push(format!("{key}={}", escape_layer(&dir)));
        }
    }
    options.push(format!("lowerdir={}", lower.join(":")));
    Mount::new("overlay", "overlay", options)
}

fn check(target: &Path, count: usize) {
    assert_eq!(std::fs::read_to_string(target.join("top")).unwrap(), "0");
    for number in 0..count {
        assert!(target.join(format!("file-{number}")).exists(), "layer {number}");
    }
    std::fs::write(target.join("new"), "x").unwrap();
}

#[test]
fn privileged_200_layers_below_a_long_root() {
    need_root!("privileged_200_layers_below_a_long_root");
    for length in [10, 150, 200] {
        for api in APIS {
            let dir = MountDir::new();
            let target = dir.mkdir("target");
            // At the last length each path is longer than the 255 bytes of a string option.
            let root = dir.mkdir(&format!("{0}/{0}", "r".repeat(length)));
            let upper = root.join("upper");
            let mount = overlay(&layers(&root, 200), Some(&upper));
            or_skip!("privileged_200_layers_below_a_long_root", by(api).all(&[mount], &target));
            check(&target, 200);
            assert!(upper.join("fs/new").exists(), "{api:?} {length}");
            unmount(&target, How::Plain).unwrap();
        }
    }
}

#[test]
fn privileged_the_whole_stack_is_named_when_there_is_no_way() {
    need_root!("privileged_the_whole_stack_is_named_when_there_is_no_way");
    let dir = MountDir::new();
    let target = dir.mkdir("target");
    // No long directory in common: relative names do not help.
    let lower: Vec<PathBuf> =
        (0..40).map(|number| dir.mkdir(&format!("{number}/{}", "x".repeat(150)))).collect();
    let mount = overlay(&lower, None);
    let error = by(Api::Classic).all(std::slice::from_ref(&mount), &target).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
    assert!(error.chain().contains("40 layers"), "{}", error.chain());
    or_skip!(
        "privileged_the_whole_stack_is_named_when_there_is_no_way",
        by(Api::Newest).all(&[mount], &target)
    );
}

#[test]
fn privileged_names_with_colon_comma_and_backslash() {
    need_root!("privileged_names_with_colon_comma_and_backslash");
    for api in APIS {
        for name in ["a:b", "a,b", "a\\b", "a\\:b,c", "a b", "ä=ö"] {
            let dir = MountDir::new();
            let target = dir.mkdir("target");
            let root = dir.mkdir(name);
            let mount = overlay(&layers(&root, 3), Some(&root.join("upper")));
            or_skip!(
                "privileged_names_with_colon_comma_and_backslash",
                by(api).all(&[mount], &target)
            );
            check(&target, 3);
            assert!(root.join("upper/fs/new").exists(), "{api:?} {name}");
            unmount(&target, How::Plain).unwrap();
        }
    }
}

#[test]
fn privileged_many_odd_names_relative_to_their_root() {
    need_root!("privileged_many_odd_names_relative_to_their_root");
    let dir = MountDir::new();
    let target = dir.mkdir("target");
    let root = dir.mkdir(&"r".repeat(100));
    let lower: Vec<PathBuf> = (0..60)
        .map(|number| {
            let from = layers(&root, 60)[number].clone();
            let to = root.join(format!("l:{number},"));
            std::fs::rename(from, &to).unwrap();
            to
        })
        .collect();
    let mount = overlay(&lower, Some(&root.join("upper")));
    or_skip!(
        "privileged_many_odd_names_relative_to_their_root",
        by(Api::Classic).all(&[mount], &target)
    );
    assert!(lookup(&target).unwrap().super_options.to_string_lossy().contains("lowerdir=l"));
    check(&target, 60);
}

#[test]
fn privileged_data_only_layers() {
    need_root!("privileged_data_only_layers");
    for api in APIS {
        let dir = MountDir::new();
        let target = dir.mkdir("target");
        dir.write("a/seen", "");
        dir.write("data/hidden", "");
        let at = dir.path().display();
        let options = [
            "metacopy=on".to_owned(),
            "redirect_dir=follow".to_owned(),
            format!("lowerdir={at}/a::{at}/data"),
        ];
        let mount = Mount::new("overlay", "overlay", options);
        or_skip!("privileged_data_only_layers", by(api).all(&[mount], &target));
        assert!(target.join("seen").exists() && !target.join("hidden").exists(), "{api:?}");
        unmount(&target, How::Plain).unwrap();
    }
}
