//! A copy compared with its original, entry by entry.

use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::Outcome;
use crate::fs::{Time, Times};
use crate::mount::{self, MountFlags};
use crate::testing::{Disk, Mounted, TempDir, need_root, or_skip};
use crate::tree;

/// What has to be equal: everything of an inode but its number, and which names share one.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    kind: FileKind,
    mode: u32,
    owner: (u32, u32),
    modified: Time,
    rdev: (u32, u32),
    link_group: usize,
    content: Vec<u8>,
    xattrs: BTreeMap<OsString, Vec<u8>>,
}

fn look(dir: &OwnedFd) -> BTreeMap<OsString, Seen> {
    let mut found = BTreeMap::new();
    let mut groups = HashMap::new();
    look_at(dir, OsStr::new("."), &mut groups, &mut found);
    let mut todo = vec![(OsString::new(), fs::open_dir_at(dir, ".").unwrap())];
    while let Some((path, dir)) = todo.pop() {
        let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().name).collect();
        names.sort();
        for name in names {
            let mut below = path.clone();
            below.push("/");
            below.push(&name);
            if look_at(&dir, &name, &mut groups, &mut found) {
                todo.push((below.clone(), fs::open_dir_at(&dir, &name).unwrap()));
            }
            let seen = found.remove(&name).unwrap();
            found.insert(below, seen);
        }
    }
    found
}

fn look_at(
    dir: &OwnedFd,
    name: &OsStr,
    groups: &mut HashMap<((u32, u32), u64), usize>,
    found: &mut BTreeMap<OsString, Seen>,
) -> bool {
    let stat = fs::stat_at(dir, name).unwrap();
    let handle = fs::open_handle_at(dir, name).unwrap();
    let content = match stat.kind {
        FileKind::File => {
            use std::io::Read;
            let mut content = Vec::new();
            let fd = fs::reopen(&handle, OFlags::RDONLY).unwrap();
            std::fs::File::from(fd).read_to_end(&mut content).unwrap();
            content
        }
        FileKind::Symlink => fs::read_link(dir, name).unwrap().into_encoded_bytes(),
        _ => Vec::new(),
    };
    let xattrs = xattr::list(&handle).unwrap().into_iter();
    let xattrs =
        xattrs.map(|name| (name.clone(), xattr::get(&handle, name).unwrap().unwrap())).collect();
    let next = groups.len();
    let seen = Seen {
        kind: stat.kind,
        mode: stat.mode,
        owner: (stat.uid, stat.gid),
        modified: stat.modified,
        rdev: stat.rdev,
        link_group: *groups.entry(stat.identity()).or_insert(next),
        content,
        xattrs,
    };
    found.insert(name.to_owned(), seen);
    stat.is_dir()
}

struct Pair {
    temp: TempDir,
    src: OwnedFd,
    dst: OwnedFd,
}

fn pair() -> Pair {
    let temp = TempDir::new();
    temp.mkdir("src");
    temp.mkdir("dst");
    let src = fs::open_dir_at(temp.fd(), "src").unwrap();
    let dst = fs::open_dir_at(temp.fd(), "dst").unwrap();
    Pair { temp, src, dst }
}

fn copy(pair: &Pair) -> Result<Copied> {
    copy_tree(&pair.src, &pair.dst, XattrErrors::Fail, &mut || false)
}

fn set_old(dir: &OwnedFd, name: &str, sec: i64) {
    let time = Some(Time { sec, nsec: 123_456_789 });
    fs::set_times_at(dir, name, &Times { accessed: time, modified: time }).unwrap();
}

/// One of everything that needs no privilege.
fn fill(pair: &Pair) {
    pair.temp.mkdir("src/dir/sub");
    pair.temp.mkdir("src/empty");
    pair.temp.write("src/dir/file", b"content");
    pair.temp.write("src/dir/sub/setuid", b"#!");
    fs::set_mode_at(&pair.src, "dir/sub/setuid", 0o4755).unwrap();
    fs::set_mode_at(&pair.src, "dir/file", 0o444).unwrap();
    fs::link(&pair.src, "dir/file", &pair.src, "dir/same-dir").unwrap();
    fs::link(&pair.src, "dir/file", &pair.src, "dir/sub/other-dir").unwrap();
    fs::link(&pair.src, "dir/file", &pair.src, "top").unwrap();
    fs::link(&pair.src, "top", pair.temp.fd(), "name-outside").unwrap();
    fs::make_symlink("/nowhere/at all", &pair.src, "link").unwrap();
    fs::link(&pair.src, "link", &pair.src, "link2").unwrap();
    fs::make_node(&pair.src, "fifo", FileKind::Fifo, 0o600, (0, 0)).unwrap();
    fs::make_node(&pair.src, "socket", FileKind::Socket, 0o600, (0, 0)).unwrap();
    fs::set_mode_at(&pair.src, "empty", 0o1711).unwrap();
    for (n, name) in ["link", "fifo", "dir/file", "dir/sub", "dir", "."].iter().enumerate() {
        set_old(&pair.src, name, i64::try_from(n).unwrap() * 1000 - 2000);
    }
}

#[test]
fn a_copy_is_equal() {
    let pair = pair();
    fill(&pair);
    let copied = copy(&pair).unwrap();
    let (src, dst) = (look(&pair.src), look(&pair.dst));
    assert_eq!(src, dst);
    // dir, sub, empty, file, setuid, link, fifo, socket.
    assert_eq!(copied, Copied { inodes: 8, bytes: 9, xattrs_skipped: 0 });
    assert_eq!(dst[OsStr::new(".")].modified.sec, 3000);
    let outside = fs::stat_at(pair.temp.fd(), "name-outside").unwrap();
    assert_eq!(outside.nlink, 5, "a copy shares no inode with its original");
}

#[test]
fn privileged_owners_devices_and_xattrs_are_kept() {
    need_root!("privileged_owners_devices_and_xattrs_are_kept");
    let pair = pair();
    fill(&pair);
    fs::make_node(&pair.src, "whiteout", FileKind::CharDevice, 0, (0, 0)).unwrap();
    fs::make_node(&pair.src, "block", FileKind::BlockDevice, 0o640, (259, 70_000)).unwrap();
    for (n, name) in (1..).zip([".", "dir", "dir/file", "link", "fifo", "whiteout", "block"]) {
        fs::set_owner_at(&pair.src, name, n, n + 100).unwrap();
        let handle = fs::open_handle_at(&pair.src, name).unwrap();
        or_skip!(
            "privileged_owners_devices_and_xattrs_are_kept",
            xattr::set(&handle, "trusted.overlay.opaque", name.as_bytes())
        );
    }
    // cap_net_raw=ep, version 2: a chown after it would remove it.
    let setuid = fs::open_handle_at(&pair.src, "dir/sub/setuid").unwrap();
    let mut capability = [0; 20];
    capability[..8].copy_from_slice(&[1, 0, 0, 2, 0, 0x20, 0, 0]);
    fs::set_owner(&setuid, 7, 8).unwrap();
    fs::set_mode(&setuid, 0o6755).unwrap();
    xattr::set(&setuid, "security.capability", &capability).unwrap();
    set_old(&pair.src, ".", 77);
    set_old(&pair.src, "dir", 78);
    copy(&pair).unwrap();
    let (src, dst) = (look(&pair.src), look(&pair.dst));
    assert_eq!(src, dst);
    let setuid = &dst[OsStr::new("/dir/sub/setuid")];
    assert_eq!((setuid.mode, setuid.xattrs.len()), (0o6755, 1));
    assert_eq!(dst[OsStr::new("/block")].rdev, (259, 70_000));
}

#[test]
fn default_acls_do_not_reach_the_children() {
    let pair = pair();
    pair.temp.mkdir("src/dir");
    pair.temp.write("src/dir/file", b"");
    fs::set_mode_at(&pair.src, "dir/file", 0o640).unwrap();
    // Version 2; user, group and other obtain rwx.
    let mut acl = vec![2, 0, 0, 0];
    for tag in [0x01, 0x04, 0x20] {
        acl.extend([tag, 0, 7, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
    }
    let dir = fs::open_dir_at(&pair.src, "dir").unwrap();
    or_skip!(
        "default_acls_do_not_reach_the_children",
        xattr::set(&dir, "system.posix_acl_default", &acl)
    );
    copy(&pair).unwrap();
    assert_eq!(look(&pair.src), look(&pair.dst));
}

#[test]
fn deeper_than_any_path_with_links_across() {
    let pair = pair();
    let name = OsString::from("n".repeat(120));
    let mut stack = DirStack::new(fs::open_dir_at(&pair.src, ".").unwrap());
    for _ in 0..150 {
        fs::make_dir(stack.top(), &name, 0o750).unwrap();
        stack.push(&name).unwrap();
    }
    fs::create_file(stack.top(), "deep", 0o640).unwrap();
    fs::make_dir(stack.top(), "beside", 0o750).unwrap();
    let deep = fs::open_handle_at(stack.top(), "deep").unwrap();
    let beside = fs::open_dir_at(stack.top(), "beside").unwrap();
    fs::link(stack.top(), "deep", &beside, "twin").unwrap();
    fs::link(stack.top(), "deep", &pair.src, "top").unwrap();
    assert_eq!(fs::stat(&deep).unwrap().nlink, 3);
    let copied = copy(&pair).unwrap();
    assert_eq!(copied.inodes, 152);
    assert_eq!(fs::stat_at(&pair.dst, "top").unwrap().nlink, 3);
    let count = |dir| tree::usage(dir, &mut || false).unwrap().inodes;
    assert_eq!(count(&pair.src), count(&pair.dst));
    // The names are found again from the root in steps.
    let mut path = vec![name; 150];
    path.push("beside".into());
    let beside = open_deep(&pair.dst, &path).unwrap();
    assert_eq!(
        fs::stat_at(&beside, "twin").unwrap().identity(),
        fs::stat_at(&pair.dst, "top").unwrap().identity()
    );
    for dir in ["src", "dst"] {
        tree::remove_tree(pair.temp.fd(), dir).unwrap();
    }
}

#[test]
fn cancel_and_a_taken_name_end_it() {
    let pair = pair();
    fill(&pair);
    let mut asked = 0;
    let error = copy_tree(&pair.src, &pair.dst, XattrErrors::Ignore, &mut || {
        asked += 1;
        asked > 3
    })
    .unwrap_err();
    assert_eq!(error.outcome(), Outcome::Cancelled);
    assert!(copy(&pair).unwrap_err().is_exists());
}

#[test]
fn privileged_xattrs_that_do_not_fit_are_counted_or_fail() {
    need_root!("privileged_xattrs_that_do_not_fit_are_counted_or_fail");
    let pair = pair();
    pair.temp.write("src/f", b"");
    let file = fs::open_handle_at(&pair.src, "f").unwrap();
    or_skip!(
        "privileged_xattrs_that_do_not_fit_are_counted_or_fail",
        xattr::set(&file, "user.a", b"1")
    );
    // ramfs holds no user attributes.
    let target = pair.temp.mkdir("ramfs");
    let _mounted = Mounted(target.clone());
    or_skip!(
        "privileged_xattrs_that_do_not_fit_are_counted_or_fail",
        mount::mount("none", &target, "ramfs", MountFlags::empty(), "")
    );
    let dst = fs::open_dir(&target).unwrap();
    let copied = copy_tree(&pair.src, &dst, XattrErrors::Ignore, &mut || false).unwrap();
    assert_eq!(copied.xattrs_skipped, 1);
    fs::remove_file(&dst, "f").unwrap();
    let error = copy_tree(&pair.src, &dst, XattrErrors::Fail, &mut || false).unwrap_err();
    assert!(error.is_not_supported(), "{error}");
}

#[test]
fn privileged_a_mount_inside_is_an_error() {
    need_root!("privileged_a_mount_inside_is_an_error");
    let pair = pair();
    let target = pair.temp.mkdir("src/mount");
    let _mounted = Mounted(target.clone());
    or_skip!(
        "privileged_a_mount_inside_is_an_error",
        mount::mount("none", &target, "tmpfs", MountFlags::empty(), "")
    );
    assert_eq!(copy(&pair).unwrap_err().outcome(), Outcome::CrossDevice);
}

#[test]
fn privileged_everything_works_without_entry_types() {
    need_root!("privileged_everything_works_without_entry_types");
    let disk = or_skip!(
        "privileged_everything_works_without_entry_types",
        Disk::new("ext4", 16 << 20, &["-O", "^filetype"])
    );
    let source = pair();
    fill(&source);
    for name in ["one", "two"] {
        fs::make_dir(&disk.fd, name, 0o755).unwrap();
    }
    let one = fs::open_dir_at(&disk.fd, "one").unwrap();
    let two = fs::open_dir_at(&disk.fd, "two").unwrap();
    copy_tree(&source.src, &one, XattrErrors::Fail, &mut || false).unwrap();
    let kinds: Vec<_> = fs::read_dir(&one).unwrap().map(|entry| entry.unwrap().kind).collect();
    assert!(kinds.iter().all(|kind| *kind == FileKind::Unknown), "{kinds:?}");
    copy_tree(&one, &two, XattrErrors::Fail, &mut || false).unwrap();
    assert_eq!(look(&source.src), look(&two));
    // The original's file has one more name, outside the tree.
    assert_eq!(tree::usage(&two, &mut || false).unwrap().inodes, 9);
    assert!(tree::remove_tree(&disk.fd, "one").unwrap());
    assert!(tree::remove_tree(&disk.fd, "two").unwrap());
}
