use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::{Duration, Instant};

use lamina_core::Kind;
use tempfile::TempDir;

use super::*;

const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
# a comment
app:x:1000:1000:J\u{fc}rgen,,,:/home/app:/bin/sh
app:x:0:0:a second record of the same name:/root:/bin/sh
www:x:33:33::/var/www:
12:x:4242:4242:a name of digits:/home/digits:/bin/sh
lost:x:77:7:no absolute home:here:/bin/sh
";

const GROUP: &str = "\
root:x:0:
staff:x:50:app, www
audio:x:29:app
again:x:50:app
wheel:x:10:root
app:x:1000:
twelve:x:12:www
";

/// A root file system with these two files.
fn rootfs(passwd: &str, group: &str) -> (TempDir, RootDir) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("etc")).unwrap();
    fs::write(dir.path().join("etc/passwd"), passwd).unwrap();
    fs::write(dir.path().join("etc/group"), group).unwrap();
    let root = RootDir::open(dir.path()).unwrap();
    (dir, root)
}

#[test]
fn names_and_numbers() {
    let (_dir, root) = rootfs(PASSWD, GROUP);
    type Case<'a> = (&'a str, u32, u32, &'a [u32], Option<&'a str>);
    let cases: [Case<'_>; 13] = [
        ("", 0, 0, &[0, 10], Some("/root")),
        ("root", 0, 0, &[0, 10], Some("/root")),
        ("0", 0, 0, &[0, 10], Some("/root")),
        ("app", 1000, 1000, &[1000, 50, 29], Some("/home/app")),
        ("1000", 1000, 1000, &[1000, 50, 29], Some("/home/app")),
        ("app:audio", 1000, 29, &[29, 50], Some("/home/app")),
        ("app:77", 1000, 77, &[77, 50, 29], Some("/home/app")),
        ("1000:staff", 1000, 50, &[50, 29], Some("/home/app")),
        ("5000", 5000, 0, &[0], None),
        ("5000:6000", 5000, 6000, &[6000], None),
        // A number, although it is somebody's name.
        ("12", 12, 0, &[0], None),
        ("www:12", 33, 12, &[12, 50], Some("/var/www")),
        ("lost", 77, 7, &[7], None),
    ];
    for (text, uid, gid, groups, home) in cases {
        let home = home.map(str::to_owned);
        assert_eq!(
            find(&root, text).unwrap(),
            User { uid, gid, groups: groups.to_vec(), home },
            "{text:?}"
        );
    }
}

#[test]
fn what_nobody_knows_is_said() {
    let (_dir, root) = rootfs(PASSWD, GROUP);
    for (text, kind, message) in [
        ("nobody", Kind::NotFound, "/etc/passwd of the root file system has no user \"nobody\""),
        ("app:no", Kind::NotFound, "/etc/group of the root file system has no group \"no\""),
        ("-1", Kind::NotFound, "/etc/passwd of the root file system has no user \"-1\""),
        (
            ":audio",
            Kind::InvalidArgument,
            "the user \":audio\" is not user[:group]: a part is empty",
        ),
        ("app:", Kind::InvalidArgument, "the user \"app:\" is not user[:group]: a part is empty"),
        (
            "a:b:c",
            Kind::InvalidArgument,
            "the user \"a:b:c\" is not user[:group]: it has more than two parts",
        ),
    ] {
        let error = find(&root, text).unwrap_err();
        assert_eq!((error.kind(), error.message()), (kind, message));
    }
}

/// Ids that do not fit became another's, root's in the worst case.
#[test]
fn cve_2024_40635_ids_are_not_cut() {
    let (_dir, root) = rootfs("big:x:4294967296:4294967296::/:/bin/sh\n", "big:x:4294967296:\n");
    for text in [
        "2147483648",
        "4294967296",
        "18446744073709551616",
        "0:2147483648",
        "99999999999999999999:0",
    ] {
        assert_eq!(find(&root, text).unwrap_err().kind(), Kind::InvalidArgument, "{text}");
    }
    assert_eq!(find(&root, "2147483647:2147483647").unwrap().uid, 2_147_483_647);
    // A record like that is none.
    assert_eq!(find(&root, "big").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(find(&root, "1:big").unwrap_err().kind(), Kind::NotFound);
}

/// The main group must be among the groups: what is denied to a group was open to those who left it.
#[test]
fn cve_2022_36109_the_main_group_is_among_the_groups() {
    let (_dir, root) = rootfs(PASSWD, GROUP);
    for text in ["", "app", "1000:77", "5000"] {
        let user = find(&root, text).unwrap();
        assert_eq!(user.groups[0], user.gid);
    }
}

#[test]
fn without_files_numbers_are_enough() {
    let dir = tempfile::tempdir().unwrap();
    let root = RootDir::open(dir.path()).unwrap();
    let numbers = User { uid: 7, gid: 8, groups: vec![8], home: None };
    assert_eq!(find(&root, "7:8").unwrap(), numbers);
    assert_eq!(find(&root, "").unwrap(), User { groups: vec![0], ..User::default() });
    assert_eq!(find(&root, "root").unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn half_a_line_makes_nobody_root() {
    let broken = "\
user
user:x
user:x::
user:x::::/:/bin/sh
user:x:abc:0::/:/bin/sh
user:x:-5:0::/:/bin/sh
user:x:+5:0::/:/bin/sh
user:x:0
user:x:1:2:3:/:/bin/sh:too:many
+user:x:0:0::/:/bin/sh
:x:0:0::/:/bin/sh
\u{0}user:x:0:0::/:/bin/sh
";
    let (_dir, root) = rootfs(broken, "g\ng:x\ng:x::\ng:x:abc:\ng:x:0:u:more\n:x:0:\n");
    assert_eq!(find(&root, "user").unwrap_err().kind(), Kind::NotFound);
    assert_eq!(find(&root, "1:g").unwrap_err().kind(), Kind::NotFound);
    // A good line after bad ones counts, with the ends of lines of other systems and without an end.
    let mut fixed = broken.to_owned();
    fixed.push_str("\r\nuser:x:12:13::/home/u:/bin/sh\r");
    let (_dir, root) = rootfs(&fixed, "");
    assert_eq!(find(&root, "user").unwrap().uid, 12);
}

#[test]
fn comments_in_other_encodings_do_not_hide_a_user() {
    let (dir, root) = rootfs("", "");
    let line = b"app:x:5:6:J\xfcrgen:/h\xe4me:/bin/sh\n";
    fs::write(dir.path().join("etc/passwd"), line).unwrap();
    let user = User { uid: 5, gid: 6, groups: vec![6], home: None };
    assert_eq!(find(&root, "app").unwrap(), user);
}

/// The image names no file of the host, whatever it calls `/etc/passwd`.
#[test]
fn cve_2024_9676_links_are_resolved_inside() {
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("passwd"), "intruder:x:0:0::/:/bin/sh\n").unwrap();
    let outside = host.path().join("passwd");
    let up = format!("../../../../../../../../../..{}", outside.display());
    let (dir, root) = rootfs(PASSWD, GROUP);
    let passwd = dir.path().join("etc/passwd");
    for target in [outside.to_str().unwrap(), &up] {
        fs::remove_file(&passwd).unwrap();
        symlink(target, &passwd).unwrap();
        assert_eq!(find(&root, "intruder").unwrap_err().kind(), Kind::NotFound, "{target}");
    }
    // The same links mean a file inside where there is one.
    let inside = dir.path().join(outside.strip_prefix("/").unwrap());
    fs::create_dir_all(inside.parent().unwrap()).unwrap();
    fs::write(inside, "insider:x:5:5::/:/bin/sh\n").unwrap();
    assert_eq!(find(&root, "insider").unwrap().uid, 5);
    // /etc as a whole.
    fs::remove_dir_all(dir.path().join("etc")).unwrap();
    symlink("/proc/self/root/etc", dir.path().join("etc")).unwrap();
    assert_eq!(find(&root, "root").unwrap_err().kind(), Kind::NotFound);
    // In circles.
    fs::remove_file(dir.path().join("etc")).unwrap();
    symlink("etc", dir.path().join("etc")).unwrap();
    let error = find(&root, "root").unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument, "{}", error.chain());
}

#[test]
fn only_plain_files_are_opened() {
    let (dir, root) = rootfs(PASSWD, GROUP);
    let passwd = dir.path().join("etc/passwd");
    let start = Instant::now();
    fs::remove_file(&passwd).unwrap();
    assert!(Command::new("mkfifo").arg(&passwd).status().unwrap().success());
    let error = find(&root, "root").unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
    assert_eq!(error.message(), "/etc/passwd of the root file system is no plain file");
    fs::remove_file(&passwd).unwrap();
    fs::create_dir(&passwd).unwrap();
    assert_eq!(find(&root, "1").unwrap_err().kind(), Kind::InvalidArgument);
    // It did not wait for somebody to write.
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn huge_files_are_refused_and_large_ones_read() {
    let (dir, root) = rootfs(PASSWD, GROUP);
    let passwd = dir.path().join("etc/passwd");
    // Sparse: it takes no room, but would take memory.
    fs::File::create(&passwd).unwrap().set_len(1 << 40).unwrap();
    let error = find(&root, "root").unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceExhausted);
    assert_eq!(error.message(), "/etc/passwd of the root file system has more than 4194304 bytes");
    let mut large: String = (1..40_000).map(|n| format!("u{n}:x:{n}:{n}::/:/bin/sh\n")).collect();
    large.push_str("last:x:70000:70000::/:/bin/sh\n");
    fs::write(&passwd, large).unwrap();
    assert_eq!(find(&root, "last").unwrap().uid, 70_000);
    let many: String = (1..70_000).map(|n| format!("g{n}:x:{n}:last\n")).collect();
    fs::write(dir.path().join("etc/group"), many).unwrap();
    assert_eq!(find(&root, "last").unwrap_err().kind(), Kind::ResourceExhausted);
}
