//! The rules, one by one: which entries come out, in which order, and what is in them.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use lamina_store::diff::create::{CreateOptions, Form};
use lamina_sys::fs::xattr;
use lamina_testkit::tar::{Listed, list};

use crate::support::{
    CAPABILITY, UPPER, World, handle, made, make_char, make_fifo, need_root, set_time, trees, write,
};

const OLD: (i64, u32) = (1_000_000_000, 0);

#[test]
fn nothing_changed_is_two_blocks_of_zeros() {
    let world = World::new();
    for tree in ["lower", "upper"] {
        write(world.path(tree).join("dir/file"), b"same", OLD);
    }
    assert_eq!(world.archive(&CreateOptions::new()), [0; 1024]);
}

#[test]
fn over_nothing_everything_is_new() {
    let world = World::new();
    write(world.path("upper/a/b"), b"b", OLD);
    write(world.path("upper/a-b"), b"", OLD);
    write(world.path("upper/a/b.c/d"), b"", OLD);
    symlink("to/nowhere", world.path("upper/link")).unwrap();
    make_fifo(&world.path("upper/fifo"));
    let archive = made(trees(None, &world.path("upper"), Form::Merged), &CreateOptions::new());
    let found: Vec<String> = list(&archive.unwrap()).iter().map(Listed::summary).collect();
    // A directory's entries come before its siblings, whatever their names.
    let want =
        ["5 a/", "0 a/b", "5 a/b.c/", "0 a/b.c/d", "0 a-b", "6 fifo", "2 link -> to/nowhere"];
    assert_eq!(found, want);
}

#[test]
fn an_entry_says_what_it_is() {
    let world = World::new();
    write(world.path("upper/file"), vec![b'x'; 700], (1_234_567_890, 999_999_999));
    std::fs::set_permissions(world.path("upper/file"), PermissionsExt::from_mode(0o6751)).unwrap();
    let found = world.diff();
    let [file] = &found[..] else { panic!("{found:?}") };
    let owner = rustix::process::geteuid().as_raw();
    let [mode, uid, _, size, time, major, minor] = &file.fields;
    assert_eq!((mode.as_str(), size.as_str()), ("0006751", "00000001274"));
    assert_eq!(uid, &format!("{owner:07o}"));
    // Whole seconds, cut and not rounded.
    assert_eq!(time, &format!("{:011o}", 1_234_567_890));
    assert_eq!((major.as_str(), minor.as_str()), ("0000000", "0000000"));
    assert_eq!(file.names, ["", ""]);
    assert!(file.records.is_empty() && file.content == [b'x'; 700]);
}

#[test]
fn what_counts_as_changed() {
    type Case<'a> = (&'a str, &'a dyn Fn(&Path), bool);
    let cases: &[Case<'_>] = &[
        ("nothing", &|_| (), false),
        ("its content, at the same time", &|path| write(path, b"othr", OLD), true),
        ("its size", &|path| write(path, b"longer", OLD), true),
        ("its time", &|path| set_time(path, (OLD.0 + 1, 0)), true),
        ("its time, by a fraction", &|path| set_time(path, (OLD.0, 1)), true),
        (
            "its mode",
            &|path| std::fs::set_permissions(path, PermissionsExt::from_mode(0o640)).unwrap(),
            true,
        ),
        (
            "its kind",
            &|path| {
                std::fs::remove_file(path).unwrap();
                symlink("same", path).unwrap();
            },
            true,
        ),
    ];
    for (what, change, changed) in cases {
        let world = World::new();
        for tree in ["lower", "upper"] {
            write(world.path(tree).join("dir/file"), b"same", OLD);
        }
        change(&world.path("upper/dir/file"));
        assert_eq!(world.summary().len(), if *changed { 2 } else { 0 }, "{what}");
    }
}

#[test]
fn content_is_not_read_when_times_with_fractions_are_equal() {
    let world = World::new();
    write(world.path("lower/file"), b"old.", (5, 7));
    write(world.path("upper/file"), b"new!", (5, 7));
    assert_eq!(world.summary(), [""; 0]);
}

#[test]
fn links_are_compared_by_their_text() {
    let world = World::new();
    for (tree, text) in [("lower", "aaa"), ("upper", "bbb")] {
        let path = world.path(tree).join("link");
        symlink(text, &path).unwrap();
        set_time(&path, OLD);
        symlink("same", world.path(tree).join("other")).unwrap();
        set_time(world.path(tree).join("other"), OLD);
    }
    assert_eq!(world.summary(), ["2 link -> bbb"]);
}

#[test]
fn a_directory_is_changed_by_what_it_says_and_not_by_its_time() {
    let world = World::new();
    for tree in ["lower", "upper"] {
        std::fs::create_dir(world.path(tree).join("one")).unwrap();
        std::fs::create_dir(world.path(tree).join("two")).unwrap();
    }
    set_time(world.path("upper/one"), (7, 0));
    std::fs::set_permissions(world.path("upper/two"), PermissionsExt::from_mode(0o700)).unwrap();
    assert_eq!(world.summary(), ["5 two/"]);
}

#[test]
fn deletions() {
    let world = World::new();
    write(world.path("lower/dir/gone"), b"x", OLD);
    write(world.path("lower/dir/stays"), b"x", OLD);
    write(world.path("upper/dir/stays"), b"x", OLD);
    write(world.path("lower/tree/one/two"), b"x", OLD);
    write(world.path("lower/tree/three"), b"x", OLD);
    write(world.path("lower/zero"), b"x", OLD);
    let found = world.diff();
    let summary: Vec<String> = found.iter().map(Listed::summary).collect();
    // A tree that went is one deletion.
    assert_eq!(summary, ["5 dir/", "0 dir/.wh.gone", "0 .wh.tree", "0 .wh.zero"]);
    for entry in found.iter().filter(|entry| entry.path.contains(".wh.")) {
        let [mode, uid, gid, size, time, ..] = &entry.fields;
        assert_eq!([mode, uid, gid].map(String::as_str), ["0000000"; 3]);
        assert_eq!([size, time].map(String::as_str), ["00000000000"; 2]);
        assert!(entry.records.is_empty());
    }
}

#[test]
fn one_kind_replaces_another() {
    let world = World::new();
    write(world.path("lower/was-dir/a/b"), b"x", OLD);
    write(world.path("upper/was-dir"), b"file", OLD);
    write(world.path("lower/was-file"), b"x", OLD);
    write(world.path("upper/was-file/c"), b"x", OLD);
    // What lay in the directory goes with it, without being named.
    assert_eq!(world.summary(), ["0 was-dir", "5 was-file/", "0 was-file/c"]);
}

#[test]
fn sockets_are_left_out() {
    let world = World::new();
    let _listener = std::os::unix::net::UnixListener::bind(world.path("upper/socket")).unwrap();
    write(world.path("upper/z"), b"", OLD);
    assert_eq!(world.summary(), ["0 z"]);
}

#[test]
fn directories_above_come_once_and_before() {
    let world = World::new();
    for tree in ["lower", "upper"] {
        write(world.path(tree).join("a/b/c/same"), b"x", OLD);
        write(world.path(tree).join("a/b/d/same"), b"x", OLD);
    }
    write(world.path("upper/a/b/c/new"), b"x", OLD);
    write(world.path("upper/a/b/c/new2"), b"x", OLD);
    write(world.path("upper/a/b/d/new"), b"x", OLD);
    let want =
        ["5 a/", "5 a/b/", "5 a/b/c/", "0 a/b/c/new", "0 a/b/c/new2", "5 a/b/d/", "0 a/b/d/new"];
    assert_eq!(world.summary(), want);
}

/// Names of one file in both trees; `change` acts on the upper one.
fn linked(names: &[&str], change: impl Fn(&Path)) -> Vec<String> {
    let world = World::new();
    for tree in ["lower", "upper"] {
        let root = world.path(tree);
        write(root.join(names[0]), b"x", OLD);
        for name in &names[1..] {
            std::fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            std::fs::hard_link(root.join(names[0]), root.join(name)).unwrap();
        }
    }
    change(&world.path("upper"));
    world.summary()
}

#[test]
fn names_of_one_file_are_links_to_the_first_that_changed() {
    // New ones.
    let found = linked(&["old"], |root| {
        write(root.join("one"), b"1", OLD);
        std::fs::hard_link(root.join("one"), root.join("two")).unwrap();
        std::fs::create_dir(root.join("dir")).unwrap();
        std::fs::hard_link(root.join("one"), root.join("dir/three")).unwrap();
    });
    assert_eq!(found, ["5 dir/", "0 dir/three", "1 one -> dir/three", "1 two -> dir/three"]);
    // A new name of an old file: those that were walked before it follow it at once.
    let found = linked(&["a/old", "z"], |root| {
        std::fs::hard_link(root.join("a/old"), root.join("m")).unwrap();
    });
    assert_eq!(found, ["0 m", "5 a/", "1 a/old -> m", "1 z -> m"]);
    // All of them changed.
    let found = linked(&["a", "b"], |root| write(root.join("a"), b"changed", OLD));
    assert_eq!(found, ["0 a", "1 b -> a"]);
    // None did, and one name went.
    let found = linked(&["a", "b", "c"], |root| std::fs::remove_file(root.join("b")).unwrap());
    assert_eq!(found, ["0 .wh.b"]);
    // Links and pipes can have several names, too.
    let found = linked(&["a"], |root| {
        symlink("text", root.join("link")).unwrap();
        std::fs::hard_link(root.join("link"), root.join("link2")).unwrap();
        make_fifo(&root.join("pipe"));
        std::fs::hard_link(root.join("pipe"), root.join("pipe2")).unwrap();
    });
    assert_eq!(found, ["2 link -> text", "1 link2 -> link", "6 pipe", "1 pipe2 -> pipe"]);
}

#[test]
fn links_have_no_size() {
    let world = World::new();
    write(world.path("upper/one"), b"12345", OLD);
    std::fs::hard_link(world.path("upper/one"), world.path("upper/two")).unwrap();
    let found = world.diff();
    assert_eq!(found[1].fields[3], "00000000000");
    assert_eq!(found[1].fields[4], found[0].fields[4]);
}

#[test]
fn the_date_of_the_source_is_the_latest() {
    let world = World::new();
    write(world.path("upper/dir/new"), b"x", (2_000, 5));
    write(world.path("upper/old"), b"x", (500, 0));
    write(world.path("lower/gone"), b"x", OLD);
    let options = CreateOptions { latest: Some(1_000), ..CreateOptions::new() };
    let times: Vec<(String, String)> = list(&world.archive(&options))
        .into_iter()
        .map(|entry| (entry.path, entry.fields[4].trim_start_matches('0').to_owned()))
        .collect();
    let time = |sec: i64| format!("{sec:o}");
    let want = [
        ("dir/".to_owned(), time(1_000)),
        ("dir/new".to_owned(), time(1_000)),
        (".wh.gone".to_owned(), String::new()),
        ("old".to_owned(), time(500)),
    ];
    assert_eq!(times, want);
}

#[test]
fn odd_names_and_times_are_kept() {
    let world = World::new();
    let long = format!("{}/{}", "d".repeat(200), "n".repeat(250));
    for name in ["new\nline", "ünïcode", "-", " ", "a\\b", "*", &long] {
        write(world.path("upper").join(name), b"x", (-5, 250_000_000));
    }
    let found = world.diff();
    let long = found.iter().find(|entry| entry.path == long).unwrap();
    assert_eq!(long.records["mtime"], "-5");
    assert!(found.iter().any(|entry| entry.path == "new\\nline"));
    assert!(found.iter().any(|entry| entry.path.contains("\\xc3")));
    assert_eq!(found.len(), 8);
}

#[test]
fn privileged_owners_devices_and_capabilities() {
    need_root!("privileged_owners_devices_and_capabilities");
    let world = World::new();
    for tree in ["lower", "upper"] {
        write(world.path(tree).join("bin/capable"), b"x", OLD);
        write(world.path(tree).join("bin/plain"), b"x", OLD);
    }
    let upper = world.path("upper");
    xattr::set(handle(&upper.join("bin/capable")), "security.capability", CAPABILITY).unwrap();
    xattr::set(handle(&upper.join("bin/plain")), "user.lost", b"x").unwrap();
    xattr::set(handle(&upper.join("bin/plain")), "trusted.lost", b"x").unwrap();
    make_char(&upper.join("null"), 1, 3).unwrap();
    write(upper.join("owned"), b"x", OLD);
    std::os::unix::fs::lchown(upper.join("owned"), Some(4_000_000_000), Some(7)).unwrap();
    let found = world.diff();
    let summary: Vec<String> = found.iter().map(Listed::summary).collect();
    // Attributes that a layer does not hold change nothing.
    assert_eq!(summary, ["5 bin/", "0 bin/capable", "3 null", "0 owned"]);
    let capability = CAPABILITY.escape_ascii().to_string();
    assert_eq!(found[1].records["SCHILY.xattr.security.capability"], capability);
    assert_eq!(found[2].fields[5..], ["0000001", "0000003"]);
    assert_eq!(found[3].records["uid"], "4000000000");
    assert_eq!(found[3].fields[1..3], ["0000000", "0000007"]);
}

#[test]
fn privileged_an_upper_directory_says_the_same() {
    need_root!("privileged_an_upper_directory_says_the_same");
    let world = World::new();
    let lower = world.path("lower");
    for name in ["dir/gone", "dir/stays", "opaque/old", "opaque/kept", "tree/x/y", "file"] {
        write(lower.join(name), b"x", OLD);
    }
    let merged = world.overlay("merged", std::slice::from_ref(&lower), Some("up"));
    let at = |name: &str| merged.0.join(name);
    std::fs::remove_file(at("dir/gone")).unwrap();
    std::fs::remove_dir_all(at("opaque")).unwrap();
    write(at("opaque/new"), b"x", OLD);
    write(at("opaque/kept"), b"x", OLD);
    std::fs::remove_dir_all(at("tree")).unwrap();
    // Copied up, and as it was.
    set_time(at("file"), OLD);
    drop(merged);
    let options = CreateOptions::new();
    let fast = made(trees(Some(&lower), &world.path("up"), UPPER), &options).unwrap();
    let found: Vec<String> = list(&fast).iter().map(Listed::summary).collect();
    let want =
        ["5 dir/", "0 dir/.wh.gone", "5 opaque/", "0 opaque/new", "0 opaque/.wh.old", "0 .wh.tree"];
    assert_eq!(found, want);
    let merged = world.overlay("merged", &[world.path("up"), lower.clone()], None);
    let walked = made(trees(Some(&lower), &merged.0, Form::Merged), &options).unwrap();
    assert!(fast == walked, "{:?}\n{:?}", list(&fast), list(&walked));
}

#[test]
fn privileged_what_only_a_mount_makes_sense_of_is_told() {
    need_root!("privileged_what_only_a_mount_makes_sense_of_is_told");
    let world = World::new();
    let lower = world.path("lower");
    write(lower.join("dir/file"), b"x", OLD);
    write(lower.join("large"), vec![1; 10_000], OLD);
    let lowers = std::slice::from_ref(&lower);
    for (upper, options, change) in [
        (
            "renamed",
            &["redirect_dir=on"][..],
            &(|at: &Path| std::fs::rename(at.join("dir"), at.join("moved")).unwrap())
                as &dyn Fn(&Path),
        ),
        ("metacopy", &["metacopy=on", "redirect_dir=on"], &|at: &Path| {
            std::fs::set_permissions(at.join("large"), PermissionsExt::from_mode(0o600)).unwrap();
        }),
    ] {
        let merged = world.overlay_with(&format!("{upper}.at"), lowers, Some(upper), options);
        change(&merged.0);
        drop(merged);
        let trees = trees(Some(&lower), &world.path(upper), UPPER);
        let error = made(trees, &CreateOptions::new()).unwrap_err();
        assert_eq!(error.message(), "it has to be mounted", "{upper}");
    }
}
