//! Paths nobody vouches for, inside one directory.
//!
//! [`RootDir`] owns the descriptor of a root filesystem's directory. A path from an image is cut
//! into the directory that holds the entry and the entry's name. The directory is opened with
//! `openat2(RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)`: links and `..` are followed, by the kernel,
//! as if the root were `/`. The name is never followed: whoever acts on the entry gives directory
//! descriptor and name to a call that does not follow links. The path itself is not used again,
//! so nothing that changes meanwhile leads outside.
//!
//! What a path means is decided by its text first, as archive readers do: leading `/`, empty
//! components and `.` count nothing, `..` takes the component before it away and stops at the
//! root. So `a/../b` is `b`, whatever `a` is.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::error::{Result, SysError};
use crate::fs::{self, FileKind, OFlags};

/// One root filesystem.
#[derive(Debug)]
pub struct RootDir {
    fd: OwnedFd,
}

/// An entry's place: act on `name` in `parent` with calls that do not follow it.
#[derive(Debug)]
pub struct Entry {
    /// An `O_PATH` handle of the directory it lies in.
    pub parent: OwnedFd,
    /// One component, neither `.` nor `..`.
    pub name: OsString,
}

/// A directory, and which of the directories on the way to it had to be made, outermost first.
#[derive(Debug)]
pub struct MadeDir {
    /// An `O_PATH` handle.
    pub dir: OwnedFd,
    /// Paths relative to the root.
    pub created: Vec<PathBuf>,
}

impl RootDir {
    /// Opens the directory an operator or our own layout names.
    pub fn open(path: impl AsRef<Path>) -> Result<RootDir> {
        Ok(RootDir { fd: fs::open_dir(path)? })
    }

    /// Takes a readable directory descriptor.
    pub fn new(dir: OwnedFd) -> RootDir {
        RootDir { fd: dir }
    }

    /// Where the entry of a path lies; `None` if the path is the root itself. The entry need not
    /// exist, its directory must.
    pub fn entry(&self, path: impl AsRef<OsStr>) -> Result<Option<Entry>> {
        let clean = CleanPath::parse(path.as_ref())?;
        let Some((name, parents)) = clean.0.split_last() else { return Ok(None) };
        let parent = self.open_clean(parents, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(Some(Entry { parent, name: OsString::from_vec(name.to_vec()) }))
    }

    /// As [`entry`](Self::entry), but makes missing directories on the way with this mode, also
    /// where a link leads to a missing place inside the root. Answers their paths too, without
    /// links, outermost first. An existing one that is no directory is `ENOTDIR`. `None` if the
    /// path is the root.
    pub fn entry_making_parents(
        &self,
        path: impl AsRef<OsStr>,
        mode: u32,
    ) -> Result<Option<(Entry, Vec<PathBuf>)>> {
        let clean = CleanPath::parse(path.as_ref())?;
        let Some((name, parents)) = clean.0.split_last() else { return Ok(None) };
        let made = self.make_clean(parents, mode)?;
        let entry = Entry { parent: made.dir, name: OsString::from_vec(name.to_vec()) };
        Ok(Some((entry, made.created)))
    }

    /// Opens a directory, making what is missing. Its last component is followed, like the others.
    pub fn make_dirs(&self, path: impl AsRef<OsStr>, mode: u32) -> Result<MadeDir> {
        self.make_clean(&CleanPath::parse(path.as_ref())?.0, mode)
    }

    /// Opens an existing file or directory, following links inside the root, the last one too
    /// unless `flags` contain `NOFOLLOW`.
    pub fn open_file(&self, path: impl AsRef<OsStr>, flags: OFlags) -> Result<OwnedFd> {
        self.open_clean(&CleanPath::parse(path.as_ref())?.0, flags)
    }

    fn open_clean(&self, components: &[&[u8]], flags: OFlags) -> Result<OwnedFd> {
        fs::open_in_root(&self.fd, join(components), flags, 0)
    }

    fn make_clean(&self, components: &[&[u8]], mode: u32) -> Result<MadeDir> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        match self.open_clean(components, flags) {
            Ok(dir) => return Ok(MadeDir { dir, created: Vec::new() }),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        // Component by component. What was reached is kept as a path without links, so that a
        // link on the way, also one to a place that is still missing, means what the kernel
        // would make of it.
        let mut made = MadeDir { dir: self.open_clean(&[], flags)?, created: Vec::new() };
        let mut reached: Vec<Vec<u8>> = Vec::new();
        let mut todo: Vec<Vec<u8>> = components.iter().rev().map(|name| name.to_vec()).collect();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            if name == b".." {
                reached.pop();
                made.dir = self.open_reached(&reached)?;
                continue;
            }
            match step(&made.dir, OsStr::from_bytes(&name), mode)? {
                Step::Dir(dir) => {
                    made.dir = dir;
                    reached.push(name);
                }
                Step::Made(dir) => {
                    made.dir = dir;
                    reached.push(name);
                    made.created.push(PathBuf::from(OsString::from_vec(reached.join(&b'/'))));
                }
                Step::Link(target) => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(SysError::new("mkdirat", Errno::LOOP).on(join(components)));
                    }
                    let target = target.as_bytes();
                    if target.starts_with(b"/") {
                        reached.clear();
                        made.dir = self.open_clean(&[], flags)?;
                    }
                    let parts = target.split(|byte| *byte == b'/');
                    let parts = parts.filter(|part| !matches!(*part, b"" | b"."));
                    todo.extend(parts.rev().map(<[u8]>::to_vec));
                }
            }
        }
        Ok(made)
    }

    fn open_reached(&self, reached: &[Vec<u8>]) -> Result<OwnedFd> {
        let components: Vec<&[u8]> = reached.iter().map(Vec::as_slice).collect();
        self.open_clean(&components, OFlags::PATH | OFlags::DIRECTORY)
    }
}

impl AsFd for RootDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What one name on the way to a directory turned out to be.
enum Step {
    Dir(OwnedFd),
    Made(OwnedFd),
    Link(OsString),
}

fn step(dir: &OwnedFd, name: &OsStr, mode: u32) -> Result<Step> {
    let made = match fs::make_dir(dir, name, mode & 0o700) {
        Ok(()) => {
            // Set explicitly, so that the umask does not count.
            fs::set_mode_at(dir, name, mode)?;
            true
        }
        Err(error) if error.is_exists() => false,
        Err(error) => return Err(error),
    };
    let handle = fs::open_handle_at(dir, name)?;
    match fs::stat(&handle)?.kind {
        FileKind::Dir if made => Ok(Step::Made(handle)),
        FileKind::Dir => Ok(Step::Dir(handle)),
        FileKind::Symlink => Ok(Step::Link(fs::read_link(&handle, "")?)),
        _ => Err(SysError::new("mkdirat", Errno::NOTDIR).on(name)),
    }
}

fn join(components: &[&[u8]]) -> OsString {
    if components.is_empty() {
        return OsString::from(".");
    }
    OsString::from_vec(components.join(&b'/'))
}

/// The components a path's text comes down to.
#[derive(Debug, PartialEq, Eq)]
struct CleanPath<'a>(Vec<&'a [u8]>);

impl CleanPath<'_> {
    fn parse(path: &OsStr) -> Result<CleanPath<'_>> {
        let refuse = |errno| SysError::new("path", errno).on(path);
        let bytes = path.as_bytes();
        if bytes.is_empty() {
            return Err(refuse(Errno::NOENT).because("empty path"));
        }
        if bytes.contains(&0) {
            return Err(refuse(Errno::INVAL).because("NUL in path"));
        }
        let mut components = Vec::new();
        for component in bytes.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => drop(components.pop()),
                name if name.len() > NAME_MAX => return Err(refuse(Errno::NAMETOOLONG)),
                name => components.push(name),
            }
        }
        Ok(CleanPath(components))
    }
}

/// `NAME_MAX` of Linux.
const NAME_MAX: usize = 255;
/// As many links as containerd follows; more than the kernel's 40, which bounds what can be opened.
const LINKS_MAX: u32 = 255;

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::Outcome;
    use crate::testing::TempDir;

    /// A root next to a directory that must stay as it is.
    fn world() -> (TempDir, RootDir) {
        let temp = TempDir::new();
        temp.mkdir("root/dir");
        temp.mkdir("outside");
        temp.write("outside/secret", b"outside");
        let root = RootDir::open(temp.path().join("root")).unwrap();
        (temp, root)
    }

    #[test]
    fn text_decides_first() {
        let clean = |path: &str| {
            let clean = CleanPath::parse(OsStr::new(path)).map(|clean| join(&clean.0));
            clean.map(|path| path.into_string().unwrap()).map_err(|error| error.outcome())
        };
        for (path, expected) in [
            ("a/b", Ok("a/b")),
            ("/a//b/./", Ok("a/b")),
            ("a/../b", Ok("b")),
            ("../../../b", Ok("b")),
            ("/..", Ok(".")),
            (".", Ok(".")),
            ("a/..", Ok(".")),
            ("...", Ok("...")),
            ("", Err(Outcome::NotFound)),
            ("a\0b", Err(Outcome::InvalidArgument)),
        ] {
            assert_eq!(clean(path), expected.map(str::to_owned), "{path:?}");
        }
        let long = "x".repeat(256);
        assert_eq!(clean(&long), Err(Outcome::NameTooLong));
        assert_eq!(clean(&format!("a/{}", &long[1..])), Ok(format!("a/{}", &long[1..])));
    }

    #[test]
    fn links_that_lead_outside_are_resolved_inside() {
        let (temp, root) = world();
        let inside = temp.path().join("root");
        let outside = temp.path().join("outside");
        symlink(&outside, inside.join("absolute")).unwrap();
        symlink("../outside", inside.join("relative")).unwrap();
        symlink("../../../../../../../../../../..", inside.join("dir/up")).unwrap();
        symlink("/proc/self/root", inside.join("magic")).unwrap();
        // Without RESOLVE_IN_ROOT each of these parents exists on the host.
        let up = format!("dir/up{}/x", outside.display());
        for path in ["absolute/x", "relative/x", up.as_str(), "magic/x"] {
            let error = root.entry(path).unwrap_err();
            assert_eq!(error.outcome(), Outcome::NotFound, "{path}");
        }
        // A link to the root's own parent is the root.
        let entry = root.entry("dir/up/new").unwrap().unwrap();
        crate::fs::create_file(&entry.parent, &entry.name, 0o600).unwrap();
        assert!(inside.join("new").exists());
        assert!(root.open_file("absolute/secret", OFlags::RDONLY).is_err());
    }

    #[test]
    fn magic_links_are_refused() {
        let root = RootDir::open("/proc/self").unwrap();
        let error = root.entry("cwd/x").unwrap_err();
        assert_eq!(error.outcome(), Outcome::SymlinkLoop);
        let error = root.open_file("root/etc/passwd", OFlags::RDONLY).unwrap_err();
        assert_eq!(error.outcome(), Outcome::SymlinkLoop);
    }

    #[test]
    fn the_last_component_is_not_followed() {
        let (temp, root) = world();
        symlink(temp.path().join("outside/secret"), temp.path().join("root/link")).unwrap();
        let entry = root.entry("/dir/../link").unwrap().unwrap();
        assert_eq!(entry.name, "link");
        assert_eq!(fs::stat_at(&entry.parent, &entry.name).unwrap().kind, FileKind::Symlink);
        fs::remove_file(&entry.parent, &entry.name).unwrap();
        assert_eq!(temp.read("outside/secret"), b"outside");
        assert!(root.entry("/").unwrap().is_none());
        assert!(root.entry("dir/..").unwrap().is_none());
    }

    #[test]
    fn open_file_follows_inside() {
        let (temp, root) = world();
        temp.write("root/dir/f", b"inside");
        symlink("/dir/f", temp.path().join("root/link")).unwrap();
        let mut text = String::new();
        let fd = root.open_file("link", OFlags::RDONLY).unwrap();
        std::fs::File::from(fd).read_to_string(&mut text).unwrap();
        assert_eq!(text, "inside");
        let error = root.open_file("link", OFlags::RDONLY | OFlags::NOFOLLOW).unwrap_err();
        assert_eq!(error.outcome(), Outcome::SymlinkLoop);
    }

    #[test]
    fn missing_parents_are_made_with_their_mode() {
        let (temp, root) = world();
        let (entry, created) = root.entry_making_parents("dir/a/b/f", 0o750).unwrap().unwrap();
        assert_eq!(created, [Path::new("dir/a"), Path::new("dir/a/b")]);
        assert_eq!(entry.name, "f");
        assert_eq!(fs::stat(&entry.parent).unwrap().mode, 0o750);
        assert!(temp.path().join("root/dir/a/b").is_dir());
        let again = root.make_dirs("dir/a/b", 0o700).unwrap();
        assert!(again.created.is_empty());
        temp.write("root/file", b"");
        let error = root.make_dirs("file/x", 0o755).unwrap_err();
        assert_eq!(error.outcome(), Outcome::NotADirectory);
    }

    #[test]
    fn links_to_missing_places_are_made_inside() {
        let (temp, root) = world();
        let inside = temp.path().join("root");
        symlink("../../../usr/lib", inside.join("lib")).unwrap();
        symlink("/var/run", inside.join("dir/run")).unwrap();
        symlink("loop", inside.join("loop")).unwrap();
        let made = root.make_dirs("lib/x", 0o755).unwrap();
        assert_eq!(made.created, [Path::new("usr"), Path::new("usr/lib"), Path::new("usr/lib/x")]);
        let made = root.make_dirs("dir/run/y", 0o755).unwrap();
        assert_eq!(made.created, [Path::new("var"), Path::new("var/run"), Path::new("var/run/y")]);
        assert!(inside.join("usr/lib/x").is_dir() && inside.join("var/run/y").is_dir());
        assert!(!temp.path().join("usr").exists());
        let error = root.make_dirs("loop/x", 0o755).unwrap_err();
        assert_eq!(error.outcome(), Outcome::SymlinkLoop);
    }
}
