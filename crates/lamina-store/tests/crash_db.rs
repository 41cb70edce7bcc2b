//! The database, killed or failing at every step: what was answered is there, what failed is not.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use lamina_core::{Kind, Result};
use lamina_store::Durability;
use lamina_store::db::{Db, Options};
use lamina_store::fault::Steps;
use lamina_testkit::crash::{self, Cut, Fault, Listener, Scenario};

fn open(dir: &Path, steps: Steps) -> Result<Db> {
    Db::open(&dir.join("db"), Options { steps, ..Options::new(Durability::Full) })
}

fn watched(listener: Listener) -> Steps {
    Steps::watched(Arc::new(move |step: &'static str| listener.reach(step)))
}

/// Writes facts one after the other and notes in a file which were answered.
fn write(dir: &Path, listener: Listener) -> Result<()> {
    let db = open(dir, watched(listener))?;
    let mut answered =
        fs::File::options().append(true).create(true).open(dir.join("answered")).unwrap();
    for n in 0..4 {
        db.write(move |tx| tx.set_meta(&n.to_string(), "x"))?;
        writeln!(answered, "{n}").unwrap();
    }
    Ok(())
}

fn check(dir: &Path, cut: &Cut) {
    let db = open(dir, Steps::none()).unwrap();
    assert_eq!(db.check().unwrap(), Vec::<String>::new());
    let has = |n: usize| db.read(|read| read.meta(&n.to_string())).unwrap().is_some();
    let answered = fs::read_to_string(dir.join("answered")).unwrap_or_default().lines().count();
    for n in 0..answered {
        assert!(has(n), "{n} was answered and is lost");
    }
    // The one that was cut: not there if the cut was before its commit.
    if matches!(cut.step.as_str(), "db.begin" | "db.before-commit" | "db.commit") {
        assert!(!has(answered), "{answered} was not committed and is there");
    } else {
        assert!(has(answered), "{answered} was committed and is lost");
    }
    assert!(!has(answered + 1));
    drop(db);
    write(dir, Listener::recording()).unwrap();
}

#[test]
fn what_was_answered_survives() {
    let steps = crash::at_every_step(&Scenario {
        test: "what_was_answered_survives",
        prepare: &|dir| drop(open(dir, Steps::none()).unwrap()),
        act: &write,
        check: &|dir, cut| {
            if let Fault::Fails(kind) = cut.fault {
                // A COMMIT whose outcome is not known is told as such, whatever the cause.
                let unknown = matches!(cut.step.as_str(), "db.commit" | "db.after-commit");
                let told = if unknown { Kind::Unavailable } else { kind };
                assert_eq!(cut.answer, Some(Err(told)));
            }
            check(dir, cut);
        },
    });
    for step in ["db.begin", "db.before-commit", "db.commit", "db.after-commit"] {
        assert!(steps.contains(&(step, 4)), "{step} was not cut: {steps:?}");
    }
}

#[test]
fn a_first_open_that_is_cut_is_repeated() {
    // The schema is one transaction; a file without tables is a file to begin with.
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("db")).unwrap();
    fs::write(dir.path().join("db/meta.db"), "").unwrap();
    open(dir.path(), Steps::none()).unwrap();
}
