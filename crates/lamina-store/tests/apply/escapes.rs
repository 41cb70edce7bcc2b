//! Layers that try to get out, or to turn something of the host's around. Each is named after
//! the report it comes from, where there is one.

use lamina_core::Kind;
use lamina_store::snapshot::driver::Whiteouts;
use lamina_testkit::tar::{Entry, TarBuilder};

use crate::support::World;

/// Lays hostile layers in both forms; the world outside must be as before. Answers what was said.
#[track_caller]
fn hostile(entries: Vec<Entry>) -> Vec<Result<Vec<String>, Kind>> {
    let mut answers = Vec::new();
    for whiteouts in [Whiteouts::Delete, Whiteouts::Overlay] {
        let world = World::new();
        let before = world.rest();
        let tar = TarBuilder::archive(entries.clone());
        let result = match whiteouts {
            Whiteouts::Delete => world.lay(&tar),
            Whiteouts::Overlay => world.lay_overlay(&tar),
        };
        let (outside, names) = world.rest();
        before.0.assert_same(&outside, "outside the root");
        assert_eq!(names, before.1, "beside the root");
        answers.push(result.map(|_| world.tree().paths()).map_err(|error| error.kind()));
    }
    answers
}

fn inside(paths: &[&str]) -> Vec<Result<Vec<String>, Kind>> {
    let paths: Vec<String> = paths.iter().map(|path| (*path).to_string()).collect();
    vec![Ok(paths.clone()), Ok(paths)]
}

fn refused() -> Vec<Result<Vec<String>, Kind>> {
    vec![Err(Kind::InvalidArgument), Err(Kind::InvalidArgument)]
}

#[test]
fn dots_and_slashes_stay_inside() {
    let found = hostile(vec![
        Entry::file("../outside/a", b"x"),
        Entry::file("/outside/b", b"x"),
        Entry::file("../../../../../../outside/c", b"x"),
        Entry::file("outside/../../outside/d", b"x"),
        Entry::file("./.././e", b"x"),
    ]);
    assert_eq!(
        found,
        inside(&["e", "outside", "outside/a", "outside/b", "outside/c", "outside/d"])
    );
}

/// CVE-2014-9356, CVE-2025-47290, GHSA-3wgq-wrwc-vqmv: an entry behind a link that leads out.
#[test]
fn cve_2025_47290_links_on_the_way_resolve_inside() {
    let found = hostile(vec![
        Entry::symlink("up", "../outside"),
        Entry::file("up/a", b"x"),
        Entry::symlink("abs", "/outside"),
        Entry::file("abs/b", b"x"),
        Entry::symlink("chain", "up/../abs"),
        Entry::file("chain/c", b"x"),
    ]);
    assert_eq!(
        found,
        inside(&["abs", "chain", "outside", "outside/a", "outside/b", "outside/c", "up"])
    );
}

/// An open parent must not outlive the path it was opened by (the cache is the new attack here).
#[test]
fn cve_2025_47290_a_parent_replaced_between_entries() {
    let found = hostile(vec![
        Entry::dir("a"),
        Entry::file("a/one", b"x"),
        Entry::whiteout("a"),
        Entry::symlink("a", "../outside"),
        Entry::file("a/two", b"x"),
    ]);
    assert_eq!(found, inside(&["a", "outside", "outside/two"]));
    let found = hostile(vec![
        Entry::dir("a/b"),
        Entry::file("a/b/one", b"x"),
        Entry::symlink("a", "/outside"),
        Entry::file("a/b/two", b"x"),
    ]);
    assert_eq!(found, inside(&["a", "outside", "outside/b", "outside/b/two"]));
}

/// Magic links leave any root; the kernel is told to refuse them.
#[test]
fn links_to_proc_are_paths_inside() {
    let found = hostile(vec![
        Entry::symlink("cwd", "/proc/self/cwd"),
        Entry::symlink("root", "/proc/1/root/outside"),
        Entry::file("cwd/x", b"x"),
        Entry::file("root/y", b"x"),
    ]);
    let paths = [
        "cwd",
        "proc",
        "proc/1",
        "proc/1/root",
        "proc/1/root/outside",
        "proc/1/root/outside/y",
        "proc/self",
        "proc/self/cwd",
        "proc/self/cwd/x",
        "root",
    ];
    assert_eq!(found, inside(&paths));
}

/// CVE-2021-29136: the root itself replaced by a link.
#[test]
fn cve_2021_29136_the_root_is_not_replaced() {
    for spelling in [".", "/", "./", "a/.."] {
        assert_eq!(hostile(vec![Entry::symlink(spelling, "../outside")]), refused());
        assert_eq!(
            hostile(vec![Entry::symlink(spelling, "../outside"), Entry::file("secret", b"x")]),
            refused()
        );
    }
}

/// CVE-2021-32760, CVE-2026-33056 (RUSTSEC-2026-0067), RUSTSEC-2026-0113: attributes set through
/// a link's target.
#[test]
fn cve_2021_32760_attributes_are_the_links_own() {
    let found = hostile(vec![
        Entry::symlink("link", "../outside/secret").mode(0o4777).owner(5, 5).mtime(5, 5),
        Entry::symlink("dir", "../outside/dir").mode(0o777).owner(5, 5).mtime(5, 5),
        Entry::hard_link("hard", "link").mode(0o777).owner(6, 6).mtime(6, 6),
        Entry::hard_link("abs-link", "/link").mode(0o777),
    ]);
    assert_eq!(found, inside(&["abs-link", "dir", "hard", "link"]));
    // A directory over a link that leads out: replaced, not entered.
    let found = hostile(vec![
        Entry::symlink("dir", "../outside/dir"),
        Entry::dir("dir").mode(0o700).owner(5, 5).mtime(5, 5),
        Entry::file("dir/file", b"mine"),
    ]);
    assert_eq!(found, inside(&["dir", "dir/file"]));
}

/// A file over a link that leads out: replaced, not written through.
#[test]
fn files_are_not_written_through_links() {
    let found = hostile(vec![
        Entry::symlink("a", "../outside/secret"),
        Entry::file("a", b"mine"),
        Entry::symlink("b", "/outside/secret"),
        Entry::hard_link("c", "b"),
        Entry::file("c", b"mine"),
    ]);
    assert_eq!(found, inside(&["a", "b", "c"]));
}

/// CVE-2014-6407, containers/storage and podman reports: hard links to what is not the
/// layer's.
#[test]
fn hard_links_end_inside() {
    for target in ["../outside/secret", "/outside/secret", "up/secret", "..", "/", ".", "dir", "x"]
    {
        let found = hostile(vec![
            Entry::symlink("up", "../outside"),
            Entry::dir("dir"),
            Entry::hard_link("x", target),
        ]);
        assert_eq!(found, refused(), "{target}");
    }
    // Into what is called the same inside, through a link that would lead out.
    let found = hostile(vec![
        Entry::symlink("up", "../../outside"),
        Entry::file("outside/secret", b"mine"),
        Entry::hard_link("x", "up/secret"),
        Entry::file("x", b"again"),
    ]);
    assert_eq!(found, inside(&["outside", "outside/secret", "up", "x"]));
}

/// CVE-2014-6407: a hard link to a link, then written through.
#[test]
fn cve_2014_6407_a_hard_link_to_a_link_is_a_link() {
    let found = hostile(vec![
        Entry::symlink("link", "/outside/secret"),
        Entry::hard_link("hard", "link"),
        Entry::file("hard", b"mine"),
    ]);
    assert_eq!(found, inside(&["hard", "link"]));
}

/// Whiteouts behind links that lead out (the recurring rule of field reports: deletions resolve
/// like everything else).
#[test]
fn deletions_stay_inside() {
    let found = hostile(vec![
        Entry::symlink("up", "../outside"),
        Entry::symlink("abs", "/outside"),
        Entry::whiteout("up/secret"),
        Entry::whiteout("abs/dir"),
        Entry::file("../outside/.wh.secret", b""),
        Entry::symlink("new", "../outside/new"),
        Entry::opaque("new"),
    ]);
    assert!(found.iter().all(Result::is_ok), "{found:?}");
    // A link in a deleted directory is removed, not followed.
    let found = hostile(vec![
        Entry::dir("d"),
        Entry::symlink("d/up", "../../outside"),
        Entry::symlink("d/abs", "/"),
        Entry::whiteout("d"),
        Entry::dir("e"),
        Entry::symlink("e/up", "../../outside"),
        Entry::opaque("e"),
    ]);
    assert!(found.iter().all(Result::is_ok), "{found:?}");
}

/// CVE-2024-40635 kind: ids that wrap to another's.
#[test]
fn cve_2024_40635_ids_are_not_cut() {
    for id in [u64::from(u32::MAX), 1 << 32, u64::MAX >> 1] {
        assert_eq!(hostile(vec![Entry::file("x", b"").owner(id, 0)]), refused(), "{id}");
        assert_eq!(hostile(vec![Entry::file("x", b"").owner(0, id).gnu()]), refused(), "{id}");
    }
    let negative = Entry::file("x", b"").raw_pax(lamina_testkit::tar::pax_record(b"uid", b"-1"));
    assert_eq!(hostile(vec![negative]), refused());
}

#[test]
fn names_no_tree_can_hold() {
    let long = "n".repeat(256);
    for entry in [
        Entry::file(&long, b"x"),
        Entry::file(format!("{long}/x"), b"x"),
        Entry::file("d/".repeat(2100), b"x"),
        Entry::file("x", b"x").pax("path", b"a\0b"),
        Entry::symlink("x", "t".repeat(4096)),
        Entry::symlink("x", ""),
        Entry::hard_link("x", ""),
        Entry::symlink("x", "y").pax("linkpath", b"a\0b"),
    ] {
        assert_eq!(hostile(vec![entry.clone()]), refused(), "{entry:?}");
    }
    // As deep as a path may be.
    let world = World::new();
    let deep = TarBuilder::archive([
        Entry::file("d/".repeat(2000) + "x", b"x"),
        Entry::symlink("link", "d/".repeat(2000)),
        Entry::whiteout("d"),
    ]);
    world.lay(&deep).unwrap();
    assert_eq!(world.tree().paths(), ["link"]);
}

#[test]
fn a_parent_that_is_no_directory() {
    assert_eq!(hostile(vec![Entry::file("a", b""), Entry::file("a/b", b"")]), refused());
    assert_eq!(hostile(vec![Entry::fifo("a"), Entry::file("a/b/c", b"")]), refused());
    assert_eq!(hostile(vec![Entry::symlink("a", "a"), Entry::file("a/b", b"")]), refused());
}

#[test]
fn types_no_layer_has() {
    for kind in *b"VMDNZA" {
        assert_eq!(hostile(vec![Entry::of_type(kind, "x")]), refused(), "{}", char::from(kind));
    }
}
