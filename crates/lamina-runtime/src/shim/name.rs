//! From the name of a runtime to the program that is its shim.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use lamina_core::{Error, Result};

/// The shim's file name for a runtime: `io.containerd.runc.v2` is `containerd-shim-runc-v2`.
///
/// # Errors
/// InvalidArgument for a name of fewer than two parts, or with a slash or an empty part among the
/// last two.
pub fn program(runtime: &str) -> Result<String> {
    let mut parts = runtime.rsplit('.');
    match (parts.next(), parts.next()) {
        (Some(version), Some(kind))
            if !version.is_empty() && !kind.is_empty() && !runtime.contains(['/', '\0']) =>
        {
            Ok(format!("containerd-shim-{kind}-{version}"))
        }
        _ => Err(Error::invalid_argument(format!(
            "runtime {runtime:?} is no name such as io.containerd.runc.v2, nor an absolute path"
        ))),
    }
}

/// The shim of a runtime: an absolute path as it is, a name looked up in `path` (as `$PATH`), then in
/// the directory `beside`.
///
/// # Errors
/// InvalidArgument as of [`program`]; NotFound when there is no such program, which tells where it
/// was looked for.
pub fn find(runtime: &str, path: &OsStr, beside: Option<&Path>) -> Result<PathBuf> {
    if Path::new(runtime).is_absolute() {
        let shim = PathBuf::from(runtime);
        return if is_program(&shim) {
            Ok(shim)
        } else {
            Err(Error::not_found(format!("runtime {runtime:?} is no program")))
        };
    }
    let program = program(runtime)?;
    let folders = std::env::split_paths(path).chain(beside.map(Path::to_owned));
    // A relative folder would mean another one in each bundle.
    let mut candidates = folders.filter(|f| f.is_absolute()).map(|folder| folder.join(&program));
    candidates.find(|candidate| is_program(candidate)).ok_or_else(|| {
        Error::not_found(format!(
            "runtime {runtime:?} is not installed: there is no {program} in {}",
            path.to_string_lossy()
        ))
    })
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lamina_core::Kind;

    use super::*;

    #[test]
    fn names_are_the_last_two_parts() {
        for (runtime, expected) in [
            ("io.containerd.runc.v2", "containerd-shim-runc-v2"),
            ("kata.v2", "containerd-shim-kata-v2"),
            ("a.b.c.d", "containerd-shim-c-d"),
        ] {
            assert_eq!(program(runtime).unwrap(), expected);
        }
        for bad in ["", "runc", "io..v2", "runc.", "a.b/c.d", "../x.v2", "./x.v2"] {
            assert_eq!(program(bad).unwrap_err().kind(), Kind::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn the_path_comes_first_then_beside() {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str, mode: u32| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let plain = make("a/containerd-shim-x-v1", 0o644);
        let second = make("b/containerd-shim-x-v1", 0o755);
        let beside = make("c/containerd-shim-y-v1", 0o755);
        let path = std::env::join_paths(["a", "b"].map(|d| folder.path().join(d))).unwrap();
        let find = |runtime: &str| find(runtime, &path, beside.parent());
        assert_eq!(find("io.x.v1").unwrap(), second);
        assert_eq!(find("io.y.v1").unwrap(), beside);
        assert_eq!(find("io.z.v1").unwrap_err().kind(), Kind::NotFound);
        assert_eq!(find(second.to_str().unwrap()).unwrap(), second);
        assert_eq!(find(plain.to_str().unwrap()).unwrap_err().kind(), Kind::NotFound);
    }
}
