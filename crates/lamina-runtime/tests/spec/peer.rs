//! containerd's own default spec, as its client prints it.

use std::process::Command;

use lamina_runtime::spec::Options;
use lamina_testkit::env::skip::require_tool;
use lamina_testkit::or_skip;
use serde_json::{Value, json};

use crate::{root, shell, spec};

#[test]
fn the_default_is_containerds_but_for_what_is_listed() {
    or_skip!("the_default_is_containerds_but_for_what_is_listed", require_tool("ctr"));
    let output = Command::new("ctr").args(["oci", "spec"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut ours = spec(&shell(), &root(), &Options::default(), false);

    // That spec is for no container: nothing to run, and nowhere.
    for key in ["args", "env", "terminal"] {
        ours["process"].as_object_mut().unwrap().remove(key);
    }
    ours["process"]["user"].as_object_mut().unwrap().remove("additionalGids");
    ours.as_object_mut().unwrap().remove("hostname");
    ours["root"].as_object_mut().unwrap().remove("readonly");
    for spec in [&mut ours, &mut theirs] {
        spec["linux"].as_object_mut().unwrap().remove("cgroupsPath");
        spec.as_object_mut().unwrap().remove("ociVersion");
    }
    // There and in nerdctl the filter and the devices are options of their own.
    ours["linux"].as_object_mut().unwrap().remove("seccomp");
    ours["linux"]["resources"]["devices"].as_array_mut().unwrap().truncate(1);
    // Only nerdctl and Kubernetes mount the control groups.
    let mounts = ours["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/sys/fs/cgroup");
    for spec in [&mut ours, &mut theirs] {
        // Hidden in newer versions only.
        let masked = spec["linux"]["maskedPaths"].as_array_mut().unwrap();
        masked.retain(|path| path != "/sys/devices/virtual/powercap");
        // It is there where the groups are of version 2 only.
        let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| *namespace != json!({"type": "cgroup"}));
    }
    for part in ["process", "root", "mounts", "linux"] {
        assert_eq!(ours[part], theirs[part], "{part}");
    }
    assert_eq!(ours, theirs);
}
