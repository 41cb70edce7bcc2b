//! The unit file that is shipped.

use std::process::Command;

use lamina_testkit::env::skip::require_tool;
use lamina_testkit::or_skip;
use tempfile::TempDir;

const UNIT: &str = include_str!("../../../../dist/lamina.service");

#[test]
fn systemd_understands_the_unit() {
    or_skip!("systemd_understands_the_unit", require_tool("systemd-analyze"));
    // The binary must be where the unit says, and there it is not.
    let binary = "ExecStart=/usr/local/bin/lamina ";
    assert!(UNIT.contains(binary));
    let unit = UNIT.replace(binary, &format!("ExecStart={} ", env!("CARGO_BIN_EXE_lamina")));
    let check = |unit: &str| {
        let temp = TempDir::new().unwrap();
        let path = temp.path().join("lamina.service");
        std::fs::write(&path, unit).unwrap();
        let output =
            Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&path).output();
        let output = output.unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        // What it finds in units of the machine is no matter of ours.
        let about_ours = text.lines().filter(|line| line.contains("lamina")).collect::<Vec<_>>();
        (output.status.success(), about_ours.join("\n"))
    };
    let (understood, says) = check(&unit);
    assert_eq!(says, "");
    assert!(understood, "systemd-analyze failed");
    // It does look.
    let (_, says) = check(&unit.replace("KillMode=process", "KillMode=gently"));
    assert!(says.contains("KillMode") || says.contains("kill mode"), "{says:?}");
}

/// What containers depend on.
#[test]
fn the_unit_leaves_containers_alone() {
    for line in [
        "Type=notify",
        // Shims are children of the daemon's unit, and live on.
        "KillMode=process",
        // Their cgroups are not systemd's to tidy.
        "Delegate=yes",
        // Their sockets and bundles lie there.
        "RuntimeDirectoryPreserve=yes",
        "OOMScoreAdjust=-999",
    ] {
        assert!(UNIT.lines().any(|found| found == line), "{line}");
    }
}
