//! A container of busybox alone.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use lamina_core::Mount;
use lamina_core::task::CreateTask;

use crate::lab::Lab;

/// Why the real shim cannot be tested here, if so.
pub(crate) fn missing() -> Result<PathBuf, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root".to_owned());
    }
    for program in ["runc", "busybox", "containerd-shim-runc-v2"] {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&path).any(|dir| dir.join(program).is_file()) {
            return Err(format!("there is no {program}"));
        }
    }
    if !Path::new("/sys/fs/cgroup").read_dir().is_ok_and(|mut dir| dir.next().is_some()) {
        return Err("there are no control groups".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let busybox = std::env::split_paths(&path).map(|dir| dir.join("busybox"));
    busybox.into_iter().find(|file| file.is_file()).ok_or_else(|| "there is no busybox".to_owned())
}

/// The real shims that are here, as runtimes: the host's, and containerd 2's.
pub(crate) fn runtimes() -> Vec<String> {
    let mut runtimes = vec!["io.containerd.runc.v2".to_owned()];
    match lamina_testkit::peers::shim2() {
        Ok(shim) => runtimes.push(shim.to_str().unwrap().to_owned()),
        Err(reason) => eprintln!("without containerd 2's shim: {reason}"),
    }
    runtimes
}

/// A root file system in the lab, and the container `id` that runs `script` in it.
pub(crate) fn container(
    lab: &Lab,
    busybox: &Path,
    runtime: &str,
    id: &str,
    script: &str,
) -> CreateTask {
    let root = lab.dir.path().join("busybox");
    if !root.exists() {
        for dir in ["bin", "proc", "dev"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::copy(busybox, root.join("bin/busybox")).unwrap();
        symlink("busybox", root.join("bin/sh")).unwrap();
    }
    lab.container(id, runtime, spec("rootfs", &lab.namespace, id, script));
    let root = root.display().to_string();
    CreateTask {
        container: id.to_owned(),
        rootfs: vec![Mount::new("managed", root, ["rbind", "rw"])],
        ..Default::default()
    }
}

pub(crate) fn spec(root: &str, namespace: &str, id: &str, script: &str) -> String {
    let script = script.replace('"', "\\\"");
    let caps = r#"["CAP_KILL"]"#;
    format!(
        r#"{{"ociVersion":"1.0.2","hostname":"box","root":{{"path":"{root}"}},
        "process":{{"user":{{"uid":0,"gid":0}},"cwd":"/","env":["PATH=/bin"],
            "args":["sh","-c","{script}"],
            "capabilities":{{"bounding":{caps},"effective":{caps},"permitted":{caps}}}}},
        "mounts":[{{"destination":"/proc","type":"proc","source":"proc"}},
            {{"destination":"/dev","type":"tmpfs","source":"tmpfs"}},
            {{"destination":"/dev/pts","type":"devpts","source":"devpts",
                "options":["newinstance","ptmxmode=0666"]}}],
        "linux":{{"cgroupsPath":"/lamina-{namespace}-{id}",
            "namespaces":[{{"type":"pid"}},{{"type":"mount"}},{{"type":"ipc"}},
                {{"type":"uts"}},{{"type":"network"}}]}}}}"#
    )
}
