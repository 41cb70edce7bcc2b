//! `lamina df`, `prune`, `info`, `plugins`

use serde_json::json;

use crate::environment::{TestEnvironment, says};

#[test]
fn df_measures_each_part() {
    let env = TestEnvironment::new();
    let file = env.file("blob", vec![1u8; 300_000]);
    env.ok(&["content", "ingest", "r", file.to_str().unwrap()]);
    env.ok(&["snapshot", "prepare", "k"]);
    let json = env.json(&["df", "--format", "json"]);
    let part = |name: &str| {
        let found = json.as_array().unwrap().iter().find(|part| part["Part"] == name);
        found.unwrap_or_else(|| panic!("no {name} in {json}")).clone()
    };
    assert_eq!(part("blobs")["Count"], 1);
    assert!(part("blobs")["Size"].as_u64().unwrap() >= 300_000);
    assert_eq!(part("ingests")["Count"], 0);
    assert_eq!(part("native")["Count"], 1);
    assert_eq!(part("native (trash)")["Count"], 0);
    assert!(part("database")["Size"].as_u64().unwrap() > 0);
    let table = env.ok(&["df", "-b"]);
    assert!(table.starts_with("PART "), "{table}");
    let total: u64 = json.as_array().unwrap().iter().map(|p| p["Size"].as_u64().unwrap()).sum();
    let last = table.lines().last().unwrap();
    assert!(last.starts_with("total "), "{table}");
    // The database may have grown by a page between the two.
    let shown: u64 = last.split_whitespace().last().unwrap().parse().unwrap();
    assert!(shown.abs_diff(total) < 1 << 20, "{shown} {total}");
}

#[test]
fn prune_frees_what_nothing_refers_to() {
    let env = TestEnvironment::new();
    let file = env.file("blob", vec![1u8; 300_000]);
    let digest = env.ok(&["content", "ingest", "r", file.to_str().unwrap()]);
    env.ok(&["snapshot", "prepare", "k"]);
    env.ok(&["snapshot", "prepare", "stays"]);
    assert_eq!(env.ok(&["prune"]), "freed 0.0 B\n");

    env.ok(&["content", "label", digest.trim(), "containerd.io/gc.root="]);
    env.ok(&["snapshot", "label", "k", "containerd.io/gc.root="]);
    env.ok(&[
        "lease",
        "create",
        "--id",
        "past",
        "-x",
        "0",
        "containerd.io/gc.expire=2001-01-01T00:00:00Z",
    ]);
    let report = env.json(&["prune", "--format", "json"]);
    assert_eq!((&report["Blobs"], &report["Snapshots"]), (&json!(1), &json!(1)), "{report}");
    assert_eq!(report["Leases"], 1, "{report}");
    assert_eq!(report["Busy"], json!([]));
    assert!(report["Freed"].as_u64().unwrap() >= 300_000, "{report}");

    assert_eq!(env.ok(&["content", "ls", "-q"]), "");
    assert_eq!(env.ok(&["snapshot", "tree"]), " stays\n");
    let parts = env.json(&["df", "--format", "json"]);
    let native = parts.as_array().unwrap().iter().find(|part| part["Part"] == "native").unwrap();
    assert_eq!(native["Count"], 1, "{parts}");
}

#[test]
fn info_tells_what_the_store_is() {
    let env = TestEnvironment::new();
    let info = env.json(&["info", "--format", "json"]);
    assert_eq!(info["Root"], "$TEMP/root");
    assert_eq!(info["State"], "$TEMP/state");
    assert_eq!(info["UUID"].as_str().unwrap().len(), 36);
    assert!(info["SchemaVersion"].as_u64().unwrap() >= 1);
    assert_eq!(info["Durability"], "full");
    assert_eq!(info["ContentSharing"], "shared");
    assert_eq!(info["Snapshotters"]["native"], "ok");
    let again = env.json(&["info", "--format", "json"]);
    assert_eq!(info["UUID"], again["UUID"]);
    says(&env.ok(&["info"]), &["Root: $TEMP/root\n", "Kernel: ", "native (ok)"]);

    let policy =
        "[plugins.\"io.containerd.metadata.v1.bolt\"]\ncontent_sharing_policy = \"isolated\"";
    env.file("config.toml", format!("durability = \"none\"\n{policy}\n"));
    let info = env.json(&["info", "--format", "json"]);
    assert_eq!(
        (&info["Durability"], &info["ContentSharing"]),
        (&json!("none"), &json!("isolated"))
    );
}

#[test]
fn plugins_tell_whether_they_work_and_why_not() {
    let env = TestEnvironment::new();
    let table = env.ok(&["plugins", "ls"]);
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["TYPE", "ID", "PLATFORMS", "STATUS"]);
    let snapshotters: Vec<&str> = rows
        .iter()
        .filter(|row| row[0] == "io.containerd.snapshotter.v1")
        .map(|row| row[1])
        .collect();
    assert_eq!(
        snapshotters,
        ["aufs", "blockfile", "btrfs", "devmapper", "erofs", "native", "overlayfs", "zfs"]
    );
    let native = rows.iter().find(|row| row[1] == "native").unwrap();
    assert!(native[2].starts_with("linux/"), "{table}");
    assert_eq!(native[3], "ok");
    says(
        &env.ok(&["plugins", "ls", "-d"]),
        &["Exports:      root = $TEMP/root/io.containerd.snapshotter.v1.native\n"],
    );

    // One that cannot keep its files does not stop the others.
    let file = env.file("occupied", "");
    env.file(
        "config.toml",
        format!("[plugins.\"io.containerd.snapshotter.v1.native\"]\nroot_path = {file:?}\n"),
    );
    let json = env.json(&["plugins", "ls", "--format", "json"]);
    let native = json.as_array().unwrap().iter().find(|row| row["ID"] == "native").unwrap();
    assert_eq!(native["Status"], "error", "{native}");
    says(native["Error"]["Message"].as_str().unwrap(), &["occupied"]);
    says(&env.fails(&["snapshot", "ls"]), &["native", "occupied"]);
    env.ok(&["content", "ls"]);
}

#[test]
fn fsck_finds_wrong_bytes_and_gives_them_up() {
    let env = TestEnvironment::new();
    let file = env.file("blob", "right");
    let digest = env.ok(&["content", "ingest", "r", file.to_str().unwrap()]);
    env.ok(&["snapshot", "prepare", "k"]);
    assert_eq!(env.ok(&["fsck", "--verify"]), "clean: 1 blobs, 0 ingests, 1 snapshots, 1 names\n");

    let hex = digest.trim().strip_prefix("sha256:").unwrap();
    let blob = env.root().join("io.containerd.content.v1.content/blobs/sha256").join(hex);
    std::fs::remove_file(&blob).unwrap();
    std::fs::write(&blob, "wrong").unwrap();
    env.ok(&["fsck"]);
    let found = env.run(&["fsck", "--verify"]);
    assert_eq!(found.code, 1);
    says(&found.stdout, &["damage", "blob-corrupt", digest.trim()]);
    says(&found.stderr, &["1 findings are left"]);
    let mended = env.ok(&["fsck", "--verify", "--repair"]);
    assert!(mended.contains("damage") && mended.contains("blob-corrupt"), "{mended}");
    assert_eq!(env.ok(&["content", "ls", "-q"]), "");
    env.ok(&["fsck", "--verify"]);
}

#[test]
fn fsck_tells_of_a_blob_that_was_lost_between_two_commands() {
    let env = TestEnvironment::new();
    let file = env.file("blob", "right");
    let digest = env.ok(&["content", "ingest", "r", file.to_str().unwrap()]);
    let hex = digest.trim().strip_prefix("sha256:").unwrap();
    let blob = env.root().join("io.containerd.content.v1.content/blobs/sha256").join(hex);
    std::fs::remove_file(&blob).unwrap();
    for _ in 0..2 {
        let found = env.run(&["fsck"]);
        assert_eq!(found.code, 1);
        says(&found.stdout, &["damage", "blob-lost", digest.trim(), "its file is missing"]);
        says(&found.stderr, &["1 findings are left"]);
    }
    says(&env.ok(&["fsck", "--repair"]), &["blob-lost", "yes"]);
    says(&env.ok(&["fsck"]), &["clean: 0 blobs"]);
    env.ok(&["content", "ingest", "r", file.to_str().unwrap()]);
    says(&env.ok(&["fsck"]), &["clean: 1 blobs"]);
}
