//! Credential helpers: programs that keep credentials, spoken to over their standard streams
//! (`docker-credential-* get`).

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use lamina_core::credentials::{Credential, Secret};
use lamina_core::{Error, Result};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::answer::clip;

/// Asks the helper `program` (a path that the caller found) for `server`. `None` when it has none.
///
/// The program is started with this process's environment, which helpers need, and killed when the
/// future is dropped or takes longer than a minute.
///
/// # Errors
/// FailedPrecondition when it cannot be run, fails, or answers nonsense; names the program and what it
/// said, never what it answered.
pub async fn run_helper(program: &Path, server: &str) -> Result<Option<Credential>> {
    let name = program.display();
    let fail = |why: String| Error::failed_precondition(format!("credential helper {name}: {why}"));
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| fail("cannot be run".into()).with_source(error))?;
    let (Some(mut input), Some(output), Some(errors)) =
        (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(Error::internal("a started program has no streams"));
    };
    let mut answer = Vec::new();
    let mut said = Vec::new();
    let talk = async {
        let write = async {
            // A helper that does not read its input says why in its status.
            let _ = input.write_all(format!("{server}\n").as_bytes()).await;
            drop(input);
        };
        let (mut output, mut errors) = (output.take(MOST), errors.take(MOST));
        let read = output.read_to_end(&mut answer);
        let (_, read, _) = tokio::join!(write, read, errors.read_to_end(&mut said));
        read?;
        child.wait().await
    };
    let status = tokio::time::timeout(TIME, talk)
        .await
        .map_err(|_| fail(format!("did not end within {} s", TIME.as_secs())))?
        .map_err(|error| fail("cannot be read".into()).with_source(error))?;
    if !status.success() {
        // Helpers report on standard output.
        let text = [String::from_utf8_lossy(&answer), String::from_utf8_lossy(&said)].join(" ");
        if text.contains(NONE) {
            return Ok(None);
        }
        return Err(fail(format!("{status}: {}", clip(&text))));
    }
    let found: Found =
        serde_json::from_slice(&answer).map_err(|_| fail("its answer is no credential".into()))?;
    Ok(match (found.username.as_str(), found.secret) {
        (_, secret) if secret.is_empty() => None,
        (TOKEN, secret) => Some(Credential::Refresh(Secret::new(secret))),
        (user, secret) => {
            Some(Credential::Password { user: user.to_owned(), password: Secret::new(secret) })
        }
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Found {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// What a helper says when it knows nothing of a server.
const NONE: &str = "credentials not found in native keychain";
/// The user name that marks an identity token.
const TOKEN: &str = "<token>";
/// Long enough for somebody to unlock a key ring.
const TIME: Duration = Duration::from_secs(60);
/// Answers have a few hundred bytes.
const MOST: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    use lamina_core::Kind;

    use super::*;

    async fn ask(script: &str) -> Result<Option<Credential>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("docker-credential-test");
        let mut file = std::fs::File::create(&path).unwrap();
        write!(file, "#!/bin/sh\n{script}\n").unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(0o700)).unwrap();
        drop(file);
        loop {
            match run_helper(&path, "r.example").await {
                // Another test's fork may still hold the script open for writing.
                Err(error) if error.chain().contains("Text file busy") => {}
                done => return done,
            }
        }
    }

    #[tokio::test]
    async fn it_is_asked_for_the_server_and_believed() {
        let script =
            r#"read -r s; echo "{\"ServerURL\":\"$s\",\"Username\":\"$1-$s\",\"Secret\":\"p\"}""#;
        let want =
            Credential::Password { user: "get-r.example".into(), password: Secret::new("p") };
        assert_eq!(ask(script).await.unwrap(), Some(want));
        let token = r#"echo '{"Username":"<token>","Secret":"t"}'"#;
        assert_eq!(ask(token).await.unwrap(), Some(Credential::Refresh(Secret::new("t"))));
        let none = "echo 'credentials not found in native keychain'; exit 1";
        assert_eq!(ask(none).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_goes_wrong_is_told_without_the_secret() {
        for (script, says) in [
            ("echo 'keyring is locked' >&2; exit 3", "keyring is locked"),
            ("echo '{\"Secret\": \"hunter2\"'", "no credential"),
        ] {
            let error = ask(script).await.unwrap_err();
            assert_eq!(error.kind(), Kind::FailedPrecondition);
            let text = error.chain();
            assert!(text.contains(says) && !text.contains("hunter2"), "{text}");
        }
        let error = run_helper(Path::new("/nowhere/helper"), "x").await.unwrap_err();
        assert!(error.chain().contains("/nowhere/helper: cannot be run: No such file"));
    }
}
