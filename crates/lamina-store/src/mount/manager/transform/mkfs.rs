//! `mkfs/`: makes a file with an empty file system in it, such as a container's writable layer of
//! limited size.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lamina_core::{Error, Mount, Result};
use lamina_sys::fs;

use super::{open_parent, take_options};
use crate::mount::error::failed;

/// Carries out `X-containerd.mkfs.size=`, `.fs=` and `.uuid=` on the mount's source. A file that is
/// there already is used as it is.
///
/// The file gets its name when the file system in it is complete, so one with that name always is.
pub(super) fn mkfs(mut mount: Mount, allowed: &[PathBuf]) -> Result<Mount> {
    let options = take_options(&mut mount, "X-containerd.mkfs.");
    let wanted = Wanted::parse(&mount, &options)?;
    let path = PathBuf::from(&mount.source);
    let entry = open_parent(&path, allowed)?;
    let what = || format!("make file system {}", path.display());
    match fs::stat_at(&entry.parent, &entry.name) {
        Ok(_) => return Ok(mount),
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(failed(error, what())),
    }
    let mut draft = entry.name.clone();
    draft.push(".mkfs");
    match fs::remove_file(&entry.parent, &draft) {
        Err(error) if !error.is_not_found() => return Err(failed(error, what())),
        // There, it was left by a crash.
        _ => {}
    }
    let made = fs::create_file(&entry.parent, &draft, 0o640)
        .and_then(|file| {
            fs::set_mode(&file, 0o640)?;
            fs::truncate(&file, wanted.size)?;
            Ok(file)
        })
        .map_err(|error| failed(error, what()))
        .and_then(|file| {
            wanted.run(&fs::fd_path(&entry.parent), &draft)?;
            fs::sync_file(&file)
                .and_then(|()| fs::rename(&entry.parent, &draft, &entry.parent, &entry.name))
                .map_err(|error| failed(error, what()))
        });
    if made.is_err() {
        // The next try removes it too; the first error is the one to tell.
        let _ = fs::remove_file(&entry.parent, &draft);
    }
    made.map(|()| mount)
}

/// A file system as it shall be.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    kind: String,
    size: u64,
    uuid: Option<String>,
}

impl Wanted {
    fn parse(mount: &Mount, options: &[String]) -> Result<Wanted> {
        let bad = |why: String| {
            Error::invalid_argument(format!("file system for mount {:?}: {why}", mount.source))
        };
        let (mut kind, mut size, mut uuid) = (mount.kind.clone(), None, None);
        for option in options {
            match option.split_once('=') {
                Some(("fs", value)) => value.clone_into(&mut kind),
                Some(("size", value)) => {
                    size = Some(bytes(value).ok_or_else(|| bad(format!("size {value:?}")))?);
                }
                Some(("uuid", value)) => uuid = Some(value.to_owned()),
                _ => return Err(bad(format!("unknown option X-containerd.mkfs.{option}"))),
            }
        }
        if !KINDS.contains(&kind.as_str()) {
            return Err(bad(format!("type {kind:?} is none of {}", KINDS.join(", "))));
        }
        let size = size.ok_or_else(|| bad("X-containerd.mkfs.size is missing".to_owned()))?;
        // It becomes an argument of a program.
        let plain = |text: &String| text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        if !uuid.as_ref().is_none_or(|text| text.len() == 36 && plain(text)) {
            return Err(bad("X-containerd.mkfs.uuid is no UUID".to_owned()));
        }
        Ok(Wanted { kind, size, uuid })
    }

    /// Runs the program in the directory of the file, which no name can be taken for an option in.
    fn run(&self, dir: &Path, file: &std::ffi::OsStr) -> Result<()> {
        let program = format!("mkfs.{}", self.kind);
        let mut command = Command::new(&program);
        command.arg("-q");
        match (&self.uuid, self.kind.as_str()) {
            (Some(uuid), "xfs") => command.args(["-m", &format!("uuid={uuid}")]),
            (Some(uuid), _) => command.args(["-U", uuid]),
            (None, _) => &mut command,
        };
        let mut name = std::ffi::OsString::from("./");
        name.push(file);
        command.arg(name).current_dir(dir).stdin(Stdio::null());
        let output = command.output().map_err(|error| {
            Error::failed_precondition(format!("run {program}")).with_source(error)
        })?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Error::internal(format!("{program}: {}: {}", output.status, said.trim())))
    }
}

/// A number of bytes, or of KiB, MiB, GiB, TiB (`16m`, `16MB`, `16MiB` are one).
fn bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift).filter(|size| *size > 0)
}

const KINDS: [&str; 4] = ["ext2", "ext3", "ext4", "xfs"];

#[cfg(test)]
mod tests {
    use super::*;
    use lamina_core::Kind;

    fn mount(source: &Path, options: &[&str]) -> Mount {
        let options = options.iter().map(|option| format!("X-containerd.mkfs.{option}"));
        Mount::new("ext4", source.display().to_string(), options.chain(["loop".to_owned()]))
    }

    #[test]
    fn sizes() {
        for (text, want) in [
            ("4096", Some(4096)),
            ("16m", Some(16 << 20)),
            ("1GiB", Some(1 << 30)),
            ("2TB", Some(2 << 40)),
            ("", None),
            ("0", None),
            ("-1", None),
            ("1x", None),
            ("99999999999999T", None),
        ] {
            assert_eq!(bytes(text), want, "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("image");
        let allowed = [dir.path().to_owned()];
        for (options, says) in [
            (&["fs=ext4"][..], "size is missing"),
            (&["size=x"], "size"),
            (&["size=1m", "fs=vfat"], "vfat"),
            (&["size=1m", "uuid=-x"], "uuid"),
            (&["size=1m", "label=x"], "label"),
        ] {
            let error = mkfs(mount(&file, options), &allowed).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument);
            assert!(error.message().contains(says), "{error}");
        }
        let outside = mkfs(mount(Path::new("/elsewhere/image"), &["size=1m"]), &allowed);
        assert_eq!(outside.unwrap_err().kind(), Kind::Unimplemented);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_appears_whole_and_is_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("-image");
        let allowed = [dir.path().to_owned()];
        // What a crash left.
        std::fs::write(dir.path().join("-image.mkfs"), "half").unwrap();
        let uuid = "6d5a2f0e-3c1b-4b6f-9a44-0123456789ab";
        let wanted = mount(&file, &["size=4m", &format!("uuid={uuid}")]);
        let found = match mkfs(wanted.clone(), &allowed) {
            Ok(found) => found,
            Err(error) if error.kind() == Kind::FailedPrecondition => {
                return eprintln!("SKIP a_file_appears_whole_and_is_used_again: {}", error.chain());
            }
            Err(error) => panic!("{}", error.chain()),
        };
        assert_eq!(found.options, ["loop"]);
        let bytes = std::fs::read(&file).unwrap();
        assert_eq!(bytes.len(), 4 << 20);
        // The superblock lies at 1024: magic at 56, UUID at 104 (ext4 disk layout).
        assert_eq!(bytes[1080..1082], [0x53, 0xef]);
        let hex: String = bytes[1128..1144].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, uuid.replace('-', ""));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);

        std::fs::write(&file, "mine").unwrap();
        mkfs(wanted, &allowed).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
        // A program that fails leaves nothing.
        let other = dir.path().join("other");
        let error = mkfs(mount(&other, &["size=1k"]), &allowed).unwrap_err();
        assert!(error.message().contains("mkfs.ext4"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
