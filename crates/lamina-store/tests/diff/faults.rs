//! Trees that nobody made to be read, and trees that change meanwhile.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use lamina_core::Kind;
use lamina_store::diff::create::{CreateOptions, Form};
use lamina_store::fault::Steps;
use lamina_sys::fs;
use lamina_sys::tree::DirStack;
use lamina_testkit::tar::list;

use crate::support::{World, made, trees, write};

const OLD: (i64, u32) = (1_000_000_000, 0);

#[test]
fn names_that_mean_deletions_are_refused() {
    for name in [".wh.x", "dir/.wh..wh..opq", ".wh.dir/file"] {
        let world = World::new();
        write(world.path("upper").join(name), b"", OLD);
        let error = world.refused();
        assert_eq!(error.kind(), Kind::InvalidArgument, "{name}");
        assert!(error.chain().contains(".wh."), "{}", error.chain());
    }
    // One that is in both trees alike is nobody's business.
    let world = World::new();
    for tree in ["lower", "upper"] {
        write(world.path(tree).join(".wh.x"), b"", OLD);
    }
    assert_eq!(world.summary(), [""; 0]);
}

#[test]
fn trees_deeper_than_a_path_is_long() {
    let world = World::new();
    let deepen = |tree: &str| {
        let mut stack = DirStack::new(fs::open_dir(world.path(tree)).unwrap());
        for _ in 0..2200 {
            fs::make_dir(stack.top(), "d", 0o755).unwrap();
            stack.push("d".as_ref()).unwrap();
        }
    };
    deepen("lower");
    // It went: one deletion, however deep.
    assert_eq!(world.summary(), ["0 .wh.d"]);
    deepen("upper");
    assert_eq!(world.summary(), [""; 0]);
    // New, it has paths that no layer can be laid with.
    let error =
        made(trees(None, &world.path("upper"), Form::Merged), &CreateOptions::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
    assert!(error.chain().contains("4095"), "{}", error.chain());
}

#[test]
fn directories_with_many_entries() {
    let world = World::new();
    let dir = fs::open_dir(world.path("upper")).unwrap();
    for number in 0..20_000 {
        fs::create_file(&dir, format!("{number:05}"), 0o644).unwrap();
    }
    let found = world.diff();
    assert_eq!(found.len(), 20_000);
    assert!(found.is_sorted_by_key(|entry| entry.path.clone()));
}

#[test]
fn large_sparse_files_are_read_to_their_end() {
    let world = World::new();
    let file = File::create(world.path("upper/sparse")).unwrap();
    file.set_len(40 << 20).unwrap();
    file.write_all_at(b"end", (40 << 20) - 3).unwrap();
    let found = world.diff();
    assert_eq!(found[0].content.len(), 40 << 20);
    assert!(found[0].content.ends_with(b"\0end"));
}

/// Steps at which `act` runs at the n-th change.
fn at_change(nth: u32, act: impl Fn() + Send + Sync + 'static) -> Steps {
    let count = AtomicU32::new(0);
    Steps::watched(Arc::new(move |step: &'static str| {
        if step == "diff.create.entry" && count.fetch_add(1, Ordering::Relaxed) == nth {
            act();
        }
        Ok(())
    }))
}

#[test]
fn what_changes_meanwhile_is_told() {
    type Act = fn(&std::path::Path);
    let acts: [(&str, Act); 6] = [
        ("it grows", |at| write(at.join("b"), b"grown more", OLD)),
        ("it shrinks", |at| write(at.join("b"), b"", OLD)),
        ("it gets other content", |at| write(at.join("b"), b"other", (5, 0))),
        ("it vanishes", |at| std::fs::remove_file(at.join("b")).unwrap()),
        ("it becomes a pipe", |at| {
            std::fs::remove_file(at.join("b")).unwrap();
            crate::support::make_fifo(&at.join("b"));
        }),
        ("it becomes another file", |at| {
            write(at.join("new"), b"12345", OLD);
            std::fs::rename(at.join("new"), at.join("b")).unwrap();
        }),
    ];
    for (what, act) in acts {
        let world = World::new();
        write(world.path("upper/b"), b"12345", OLD);
        let upper = world.path("upper");
        // The change of b itself is announced after it was looked at and before it is opened.
        let steps = at_change(0, move || act(&upper));
        let trees = trees(Some(&world.path("lower")), &world.path("upper"), Form::Merged);
        let error = made(trees, &CreateOptions { steps, ..CreateOptions::new() }).unwrap_err();
        assert_eq!(error.kind(), Kind::Aborted, "{what}: {}", error.chain());
        assert!(error.chain().contains("\"b\""), "{what}: {}", error.chain());
    }
    // Listed, and gone when it is looked at.
    let world = World::new();
    write(world.path("upper/a"), b"", OLD);
    write(world.path("upper/b"), b"", OLD);
    let gone = world.path("upper/b");
    let steps = at_change(0, move || std::fs::remove_file(&gone).unwrap());
    let trees = trees(Some(&world.path("lower")), &world.path("upper"), Form::Merged);
    let error = made(trees, &CreateOptions { steps, ..CreateOptions::new() }).unwrap_err();
    assert_eq!(error.kind(), Kind::Aborted, "{}", error.chain());
}

#[test]
fn a_caller_that_leaves_ends_it() {
    let world = World::new();
    for name in ["a", "b", "c"] {
        write(world.path("upper").join(name), b"x", OLD);
    }
    let asked = AtomicU32::new(0);
    let cancelled = || asked.fetch_add(1, Ordering::Relaxed) > 4;
    let options = CreateOptions { cancelled: &cancelled, ..CreateOptions::new() };
    let trees = trees(Some(&world.path("lower")), &world.path("upper"), Form::Merged);
    assert_eq!(made(trees, &options).unwrap_err().kind(), Kind::Cancelled);
}

#[test]
fn neither_tree_is_touched() {
    let world = World::new();
    for tree in ["lower", "upper"] {
        write(world.path(tree).join("dir/file"), tree.as_bytes(), OLD);
    }
    let at = world.path("upper/dir/file");
    let before = fs::stat(crate::support::handle(&at)).unwrap();
    assert_eq!(list(&world.archive(&CreateOptions::new())).len(), 2);
    assert_eq!(fs::stat(crate::support::handle(&at)).unwrap(), before);
}
