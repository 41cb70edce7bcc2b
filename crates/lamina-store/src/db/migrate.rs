//! The version of the schema: made when the file is new, brought up when it is old, refused when it
//! is newer or somebody else's.

use std::path::Path;

use lamina_core::{Error, Kind, Result};
use rusqlite::Connection;

use super::backup;
use super::error::failed;

/// The version of `schema.sql`.
pub const VERSION: i64 = 3;

/// `STEPS[i]` brings version `i + 1` to `i + 2`. A step never changes once released.
const STEPS: &[&str] = &[include_str!("step_1_to_2.sql"), include_str!("step_2_to_3.sql")];

/// The whole schema at [`VERSION`].
const SCHEMA: &str = include_str!("schema.sql");

/// Marks our files (`file(1)` and the header show it): "Lami".
const APPLICATION_ID: i64 = 0x4c61_6d69;

/// What a file is, before anything in it is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing is in it.
    New,
    /// Ours, at this version, which is not newer than [`VERSION`].
    Ours(i64),
}

/// Looks at the file behind `conn`.
///
/// # Errors
/// FailedPrecondition for a newer version or another program's database; DataLoss for a file that is
/// no database, and for one with nothing in it beside a copy that has something.
pub(super) fn inspect(conn: &Connection, file: &Path) -> Result<Found> {
    let damaged = |cause: rusqlite::Error| damaged(file, failed("read the header")(cause));
    let number = |pragma: &str| conn.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let version = number("PRAGMA user_version").map_err(damaged)?;
    let application = number("PRAGMA application_id").map_err(damaged)?;
    let tables = number("SELECT count(*) FROM sqlite_master").map_err(damaged)?;
    let shown = file.display();
    if tables == 0 && version == 0 {
        let copy = backup::path(file);
        if copy.exists() {
            return Err(Error::data_loss(format!(
                "database {shown} is empty, but its copy {} is there: {}",
                copy.display(),
                restore(file)
            )));
        }
        return Ok(Found::New);
    }
    if application != APPLICATION_ID || version < 1 {
        return Err(Error::failed_precondition(format!(
            "{shown} is a database of another program (application id {application:#x}, version {version})"
        )));
    }
    if version > VERSION {
        return Err(Error::failed_precondition(format!(
            "database {shown} has schema version {version}, this lamina knows versions up to \
             {VERSION}: run the newer lamina that wrote it, or {}",
            restore(file)
        )));
    }
    Ok(Found::Ours(version))
}

/// Makes or brings up the schema, each version in one transaction. Before the first step of an old
/// database a copy `meta.db.v<version>` is left beside it.
pub(super) fn bring_up(conn: &Connection, file: &Path, found: Found) -> Result<()> {
    match found {
        Found::New => step(conn, SCHEMA, VERSION)
            .map_err(failed(format!("make the schema of {}", file.display()))),
        Found::Ours(version) => steps(conn, file, version, STEPS),
    }
}

/// Carries out the steps from `version` on.
fn steps(conn: &Connection, file: &Path, version: i64, steps: &[&str]) -> Result<()> {
    let first = usize::try_from(version - 1).unwrap_or(0);
    if first < steps.len() {
        backup::copy(conn, &file.with_added_extension(format!("v{version}")))?;
    }
    for (sql, next) in steps.iter().skip(first).zip(version + 1..) {
        step(conn, sql, next).map_err(failed(format!(
            "bring {} from schema version {} to {next}",
            file.display(),
            next - 1
        )))?;
        tracing::info!(file = %file.display(), version = next, "brought the database up");
    }
    Ok(())
}

/// One version: its SQL and its number are one transaction.
fn step(conn: &Connection, sql: &str, version: i64) -> rusqlite::Result<()> {
    let all = format!(
        "BEGIN IMMEDIATE;
         {sql};
         PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {version};
         COMMIT;"
    );
    let result = conn.execute_batch(&all);
    if result.is_err() && !conn.is_autocommit() {
        // The step's own error is the one to tell.
        let _ = conn.execute_batch("ROLLBACK");
    }
    result
}

/// Says of a file that cannot be read as a database what to do with it; other errors stay.
pub(super) fn damaged(file: &Path, cause: Error) -> Error {
    if cause.kind() != Kind::DataLoss {
        return cause.context(format!("open database {}", file.display()));
    }
    cause.context(format!("database {} is damaged: {}", file.display(), restore(file)))
}

/// How to go on without this file.
fn restore(file: &Path) -> String {
    let shown = file.display();
    let copy = backup::path(file);
    if copy.exists() {
        format!(
            "to go back to the last daily copy, delete {shown}, {shown}-wal and {shown}-shm, then \
             copy {} to {shown}",
            copy.display()
        )
    } else {
        format!("to start empty, move {shown}, {shown}-wal and {shown}-shm away")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::connect;

    fn at_version_one(dir: &Path) -> (Connection, std::path::PathBuf) {
        let file = dir.join("meta.db");
        connect::make(dir, &file).unwrap();
        let conn = connect::writer(&file).unwrap();
        assert_eq!(inspect(&conn, &file).unwrap(), Found::New);
        bring_up(&conn, &file, Found::New).unwrap();
        let back = "DROP TABLE sandboxes; DROP TABLE remotes; PRAGMA user_version = 1";
        conn.execute_batch(back).unwrap();
        (conn, file)
    }

    fn schema(conn: &Connection) -> Vec<String> {
        let sql = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name";
        let mut statement = conn.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<rusqlite::Result<_>>().unwrap()
    }

    #[test]
    fn a_database_that_was_brought_up_is_as_a_new_one() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (conn, file) = at_version_one(old.path());
        conn.execute("INSERT INTO meta VALUES ('a', 'b')", []).unwrap();
        bring_up(&conn, &file, Found::Ours(1)).unwrap();
        assert_eq!(inspect(&conn, &file).unwrap(), Found::Ours(VERSION));
        let kept: String = conn.query_row("SELECT value FROM meta", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, "b");

        let file = new.path().join("meta.db");
        connect::make(new.path(), &file).unwrap();
        let fresh = connect::writer(&file).unwrap();
        bring_up(&fresh, &file, Found::New).unwrap();
        assert_eq!(schema(&conn), schema(&fresh));
    }

    #[test]
    fn steps_run_from_the_version_found_and_leave_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let (conn, file) = at_version_one(dir.path());
        conn.execute("INSERT INTO meta VALUES ('a', 'b')", []).unwrap();
        let two = ["ALTER TABLE meta ADD COLUMN x TEXT", "UPDATE meta SET x = 'up'"];
        steps(&conn, &file, 1, &two).unwrap();
        let (x, version): (String, i64) = conn
            .query_row(
                "SELECT x, (SELECT user_version FROM pragma_user_version) FROM meta",
                [],
                |r| Ok((r.get(0)?, r.get(1)?)),
            )
            .unwrap();
        assert_eq!((x.as_str(), version), ("up", 3));
        let copy = Connection::open(dir.path().join("meta.db.v1")).unwrap();
        assert_eq!(inspect(&copy, &file).unwrap(), Found::Ours(1));
    }

    #[test]
    fn a_failing_step_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (conn, file) = at_version_one(dir.path());
        let bad = ["CREATE TABLE half (x); SELECT nonsense FROM nowhere"];
        steps(&conn, &file, 1, &bad).unwrap_err();
        assert!(conn.is_autocommit());
        assert_eq!(inspect(&conn, &file).unwrap(), Found::Ours(1));
        assert!(conn.prepare("SELECT * FROM half").is_err());
    }

    #[test]
    fn another_programs_database_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("meta.db");
        let conn = Connection::open(&file).unwrap();
        conn.execute_batch("CREATE TABLE theirs (x)").unwrap();
        let error = inspect(&conn, &file).unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert!(error.message().contains("another program"), "{error}");
    }
}
