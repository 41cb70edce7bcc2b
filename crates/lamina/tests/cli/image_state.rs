//! `lamina image check` and `image usage`: what of images is here, and the space it takes.

use lamina_core::Platform;
use lamina_testkit::image::{Flavor, Image, ImageBuilder};
use lamina_testkit::registry::TestRegistry;
use lamina_testkit::tar::{Entry, TarBuilder};
use serde_json::json;

use crate::environment::{TestEnvironment, says};

fn image(platform: &str, layers: &[&str]) -> Image {
    let builder = ImageBuilder::new(Flavor::Oci).platform(Platform::parse(platform).unwrap());
    let tar = |name: &&str| TarBuilder::archive([Entry::file(*name, *name)]);
    layers.iter().map(tar).fold(builder, ImageBuilder::layer).build()
}

fn pulled(env: &TestEnvironment, registry: &TestRegistry, tag: &str, more: &[&str]) -> String {
    let reference = format!("{}/app:{tag}", registry.host());
    let args = ["pull", "-q", "--plain-http", "--platform", "linux/amd64"];
    env.ok(&[&args, more, &[&reference]].concat());
    reference
}

fn size(image: &Image) -> usize {
    image.content.values().map(|content| content.bytes.len()).sum()
}

/// The words of the row of a table that is about an image.
fn row<'t>(table: &'t str, reference: &str) -> Vec<&'t str> {
    let row = table.lines().find(|line| line.starts_with(reference)).unwrap();
    row.split_whitespace().collect()
}

#[test]
fn check_tells_whole_from_parts() {
    let (env, registry) = (TestEnvironment::new(), TestRegistry::start());
    let image = image("linux/amd64", &["base", "top"]);
    registry.push("app", "1", &image);
    let reference = pulled(&env, &registry, "1", &[]);
    let (digest, all) = (image.root.digest.to_string(), size(&image));
    let table = env.ok(&["image", "check", "-b"]);
    assert!(table.starts_with("REF "), "{table}");
    assert_eq!(
        row(&table, &reference),
        [
            &*reference,
            &image.root.media_type,
            &digest,
            "complete",
            "(4/4)",
            &format!("{all}/{all}"),
            "native"
        ]
    );
    assert_eq!(env.ok(&["image", "check", "-q"]), format!("{reference}\n"));
    let other = ["image", "check", "-q", "--snapshotter", "overlayfs"];
    assert_eq!(env.ok(&other), "", "it is not unpacked there");

    let layer = &image.layers[1];
    env.ok(&["content", "rm", layer.digest.as_str()]);
    let table = env.ok(&["image", "check", "-b", &reference]);
    let left = all - usize::try_from(layer.size).unwrap();
    assert_eq!(
        row(&table, &reference)[3..],
        ["incomplete", "(3/4)", &format!("{left}/{all}"), "native"]
    );
    let checked = env.json(&["image", "check", "--format", "json"]);
    assert_eq!(checked[0]["Missing"][0]["digest"], json!(layer.digest));
    assert_eq!(checked[0]["Unpacked"]["native"], json!(true));
    assert_eq!(env.ok(&["image", "check", "-q"]), "");

    env.ok(&["content", "rm", &digest]);
    let table = env.ok(&["image", "check", "-b"]);
    assert_eq!(row(&table, &reference)[3..], ["unavailable", "(0/?)", "0/?", "-"]);
    says(&env.fails(&["image", "check", "none"]), &["none", "not found"]);
}

#[test]
fn check_asks_for_the_platforms_that_were_pulled() {
    let (env, registry) = (TestEnvironment::new(), TestRegistry::start());
    let platforms = ["linux/amd64", "linux/arm64"];
    let both = platforms.map(|p| (Platform::parse(p).unwrap(), image(p, &[p])));
    let index = Image::index(Flavor::Oci, both.iter().map(|(p, image)| (p.clone(), image)));
    registry.push("app", "1", &index);
    let reference = pulled(&env, &registry, "1", &["--no-unpack"]);
    let table = env.ok(&["image", "check"]);
    let words = row(&table, &reference);
    assert_eq!(words[3..5], ["complete", "(4/4)"]);
    assert_eq!(words.last(), Some(&"-"), "it was left packed");
    let table = env.ok(&["image", "check", "--platform", "linux/arm64"]);
    assert_eq!(row(&table, &reference)[3..5], ["unavailable", "(1/?)"]);
}

#[test]
fn usage_counts_what_is_shared_once() {
    let (env, registry) = (TestEnvironment::new(), TestRegistry::start());
    let (one, two) = (image("linux/amd64", &["base"]), image("linux/amd64", &["base", "top"]));
    registry.push("app", "1", &one);
    registry.push("app", "2", &two);
    let first = pulled(&env, &registry, "1", &[]);
    let second = pulled(&env, &registry, "2", &[]);
    let snapshot = |image: &Image| {
        let size = |row: &serde_json::Value| row["Size"].as_u64().unwrap();
        let rows = env.json(&["snapshot", "usage", "--format", "json"]);
        let rows = rows.as_array().unwrap();
        assert_eq!(rows.len(), 2);
        let base = rows.iter().find(|row| row["Key"] == json!(one.diff_ids[0])).unwrap();
        if image.layers.len() == 1 { size(base) } else { rows.iter().map(size).sum() }
    };
    let used = env.json(&["image", "usage", "--format", "json", &first, &second]);
    for (row, image) in used.as_array().unwrap().iter().zip([&one, &two]) {
        assert_eq!(row["Content"]["Size"], json!(size(image)));
        assert_eq!(row["Content"]["Blobs"], json!(image.layers.len() + 2));
        assert_eq!(row["Snapshots"]["native"]["Snapshots"], json!(image.layers.len()));
        assert_eq!(row["Snapshots"]["native"]["Size"], json!(snapshot(image)));
    }
    let table = env.ok(&["image", "usage", "-b"]);
    let shared = usize::try_from(one.layers[0].size).unwrap();
    let total = size(&one) + size(&two) - shared;
    says(&table, &["REF ", " IN ", " COUNT ", " SIZE"]);
    let totals: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("total"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(totals[0], ["total", "content", "6", &total.to_string()]);
    assert_eq!(totals[1], ["total", "native", "2", &snapshot(&two).to_string()]);
    says(&env.fails(&["image", "usage", "none"]), &["none", "not found"]);
}
