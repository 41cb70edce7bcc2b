//! `mkdir/`: makes a directory that the mount needs, such as an upper directory on a file system
//! mounted just before.

use std::path::PathBuf;

use lamina_core::{Error, Mount, Result};
use lamina_sys::fs;

use super::{open_parent, take_options};
use crate::mount::error::failed;

/// Carries out `X-containerd.mkdir.path=<dir>[:mode[:uid:gid]]`, each in turn.
pub(super) fn mkdir(mut mount: Mount, allowed: &[PathBuf]) -> Result<Mount> {
    for option in take_options(&mut mount, "X-containerd.mkdir.") {
        let Some(value) = option.strip_prefix("path=") else {
            return Err(Error::invalid_argument(format!(
                "unknown option X-containerd.mkdir.{option}"
            )));
        };
        make(&Wanted::parse(value)?, allowed)?;
    }
    Ok(mount)
}

/// A directory as it shall be.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    path: PathBuf,
    mode: u32,
    owner: Option<(u32, u32)>,
}

impl Wanted {
    fn parse(text: &str) -> Result<Wanted> {
        let bad = || {
            Error::invalid_argument(format!(
                "X-containerd.mkdir.path={text}: not <dir>[:<octal mode>[:<uid>:<gid>]]"
            ))
        };
        let fields: Vec<&str> = text.split(':').collect();
        let (path, mode, owner) = match fields.as_slice() {
            [path] => (path, DEFAULT_MODE, None),
            [path, mode] => (path, octal(mode).ok_or_else(bad)?, None),
            [path, mode, uid, gid] => {
                let id = |text: &str| text.parse::<u32>().map_err(|_| bad());
                (path, octal(mode).ok_or_else(bad)?, Some((id(uid)?, id(gid)?)))
            }
            _ => return Err(bad()),
        };
        if path.is_empty() {
            return Err(bad());
        }
        Ok(Wanted { path: path.into(), mode, owner })
    }
}

/// Makes the directory, not its parents. One that is there already must be as wanted: whose it is
/// otherwise, and what relies on its mode, is not known here.
fn make(wanted: &Wanted, allowed: &[PathBuf]) -> Result<()> {
    let entry = open_parent(&wanted.path, allowed)?;
    let what = || format!("make directory {}", wanted.path.display());
    match fs::make_dir(&entry.parent, &entry.name, 0o700) {
        Ok(()) => {
            let dir = fs::open_dir_at(&entry.parent, &entry.name);
            let done = dir.and_then(|dir| {
                if let Some((uid, gid)) = wanted.owner {
                    fs::set_owner(&dir, uid, gid)?;
                }
                fs::set_mode(&dir, wanted.mode)
            });
            done.map_err(|error| failed(error, what()))
        }
        Err(error) if error.is_exists() => {
            let found =
                fs::stat_at(&entry.parent, &entry.name).map_err(|error| failed(error, what()))?;
            let owner = wanted.owner.is_none_or(|owner| owner == (found.uid, found.gid));
            if found.is_dir() && found.mode == wanted.mode && owner {
                return Ok(());
            }
            Err(Error::unimplemented(format!(
                "{}: it is there already, with another type, mode or owner",
                what()
            )))
        }
        Err(error) => Err(failed(error, what())),
    }
}

fn octal(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777)
}

const DEFAULT_MODE: u32 = 0o700;

#[cfg(test)]
mod tests {
    use super::*;
    use lamina_core::Kind;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn fields() {
        let wanted = |path: &str, mode, owner| Wanted { path: path.into(), mode, owner };
        assert_eq!(Wanted::parse("/a").unwrap(), wanted("/a", 0o700, None));
        assert_eq!(Wanted::parse("/a:755").unwrap(), wanted("/a", 0o755, None));
        assert_eq!(Wanted::parse("/a:1777:1:2").unwrap(), wanted("/a", 0o1777, Some((1, 2))));
        for bad in ["", ":755", "/a:755:1", "/a:9", "/a:755:x:1", "/a:10000", "/a:7:1:2:3"] {
            assert_eq!(Wanted::parse(bad).unwrap_err().kind(), Kind::InvalidArgument, "{bad}");
        }
    }

    fn mount(path: String) -> Mount {
        Mount::new("overlay", "overlay", [format!("X-containerd.mkdir.path={path}"), "a=b".into()])
    }

    #[test]
    fn made_once_with_its_mode_and_the_option_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let allowed = [dir.path().to_owned()];
        let path = dir.path().join("upper");
        for _ in 0..2 {
            let found = mkdir(mount(format!("{}:750", path.display())), &allowed).unwrap();
            assert_eq!(found.options, ["a=b"]);
        }
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o750);
        let error = mkdir(mount(format!("{}:755", path.display())), &allowed).unwrap_err();
        assert_eq!(error.kind(), Kind::Unimplemented);
        assert!(error.message().contains("upper"), "{error}");
    }

    #[test]
    fn only_inside_and_only_one_level() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        symlink(dir.path(), inside.join("out")).unwrap();
        symlink("/", inside.join("root")).unwrap();
        let allowed = [inside.clone()];
        for (path, kind) in [
            (dir.path().join("x"), Kind::Unimplemented),
            (inside.clone(), Kind::Unimplemented),
            (inside.join("../x"), Kind::Unimplemented),
            (PathBuf::from("relative"), Kind::Unimplemented),
            (inside.join("a/b"), Kind::NotFound),
            // A link out of it leads to what the path means inside.
            (inside.join("out/x"), Kind::NotFound),
        ] {
            let error = mkdir(mount(path.display().to_string()), &allowed).unwrap_err();
            assert_eq!(error.kind(), kind, "{}: {}", path.display(), error.chain());
        }
        mkdir(mount(inside.join("root/x").display().to_string()), &allowed).unwrap();
        assert!(inside.join("x").is_dir() && !dir.path().join("x").exists());
    }
}
