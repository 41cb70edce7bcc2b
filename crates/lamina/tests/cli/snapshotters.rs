//! Which snapshotter a command works with, and rows of those that are not for this host.

use crate::environment::{TestEnvironment, says};

fn used(env: &TestEnvironment, args: &[&str]) -> String {
    let info = env.json(&[args, &["info", "--format", "json"]].concat());
    info["Snapshotter"].as_str().unwrap().to_owned()
}

#[test]
fn the_nearest_word_counts() {
    let env = TestEnvironment::new().with_snapshotter("");
    assert_eq!(used(&env, &[]), "overlayfs");
    env.file(
        "config.toml",
        "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\nsnapshotter = \"btrfs\"\n",
    );
    assert_eq!(used(&env, &["-n", "k8s.io"]), "btrfs");
    env.file(
        "config.toml",
        "version = 3\n[plugins.\"io.containerd.cri.v1.images\"]\nsnapshotter = \"native\"\n",
    );
    assert_eq!(used(&env, &["-n", "k8s.io"]), "native");
    for namespace in ["default", "k8s.io"] {
        let label = "containerd.io/defaults/snapshotter=of-label";
        env.ok(&["namespace", "label", namespace, label]);
        assert_eq!(used(&env, &["-n", namespace]), "of-label");
    }
    assert_eq!(used(&env, &["--snapshotter", "typed"]), "typed");
    assert_eq!(used(&env, &["-n", "other"]), "overlayfs");
    // It is what is used, and not only what is shown.
    let run = env.run(&["snapshot", "prepare", "k"]);
    assert_ne!(run.code, 0);
    says(&run.stderr, &["of-label"]);
}

#[test]
fn rows_are_honest() {
    let env = TestEnvironment::new();
    let row = |name: &str| {
        let all = env.json(&["plugins", "ls", "--format", "json"]);
        let kind = "io.containerd.snapshotter.v1";
        let mut rows = all.as_array().unwrap().iter();
        let row = rows.find(|row| row["Type"] == kind && row["ID"] == name);
        row.unwrap_or_else(|| panic!("{name}: {all}")).clone()
    };
    let blockfile = row("blockfile");
    assert_eq!(blockfile["Status"], "skip");
    says(blockfile["Error"]["Message"].as_str().unwrap(), &["scratch_file"]);
    let scratch = env.file("scratch.img", "");
    let config = |scratch: &std::path::Path| {
        format!(
            "[plugins.\"io.containerd.snapshotter.v1.blockfile\"]\nscratch_file = {scratch:?}\n"
        )
    };
    let missing = scratch.with_extension("none");
    env.file("config.toml", config(&missing));
    let blockfile = row("blockfile");
    assert_eq!(blockfile["Status"], "error");
    says(blockfile["Error"]["Message"].as_str().unwrap(), &["scratch.none"]);
    env.file("config.toml", config(&scratch));
    assert_eq!(row("blockfile")["Status"], "ok");

    let devmapper = row("devmapper");
    assert_eq!(devmapper["Status"], "skip");
    says(devmapper["Error"]["Message"].as_str().unwrap(), &["no pool_name is configured"]);
    env.file(
        "config.toml",
        "[plugins.\"io.containerd.snapshotter.v1.devmapper\"]\n\
         pool_name = \"lamina-no-such-pool\"\nbase_image_size = \"1GB\"\n",
    );
    let devmapper = row("devmapper");
    assert_eq!(devmapper["Status"], "error");
    says(devmapper["Error"]["Message"].as_str().unwrap(), &["lamina-no-such-pool"]);
    assert_eq!(row("overlayfs")["Status"], "ok", "the others work");
    let zfs = row("zfs");
    assert_eq!(zfs["Status"], "skip");
    says(zfs["Error"]["Message"].as_str().unwrap(), &["zfs dataset"]);

    let kernel = std::fs::read_to_string("/proc/filesystems").unwrap();
    for name in ["aufs", "erofs"] {
        let found = row(name);
        if kernel.lines().any(|line| line.split_whitespace().next_back() == Some(name)) {
            assert_eq!(found["Status"], "ok");
        } else {
            assert_eq!(found["Status"], "skip");
            says(found["Error"]["Message"].as_str().unwrap(), &[&format!("no {name}")]);
        }
    }
}
