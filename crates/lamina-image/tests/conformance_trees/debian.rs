//! An image of files that Debian's packages put on this machine.

use std::collections::BTreeSet;
use std::process::Command;

use lamina_testkit::layers::Awkward;
use lamina_testkit::tar::{Entry, TarBuilder};

/// Set-user-id programs, hard links and links to directories below; a program above; and on top
/// what an image build that cleans up would take away.
///
/// # Errors
/// The reason for a skip.
pub fn image() -> Result<Awkward, String> {
    let bottom = archive(&["base-files", "passwd", "perl-base"])?;
    let middle = archive(&["busybox-static"])?;
    let top = TarBuilder::archive([
        Entry::dir("usr"),
        Entry::dir("usr/share"),
        Entry::dir("usr/share/doc"),
        Entry::opaque("usr/share/doc"),
        Entry::whiteout("usr/share/man"),
        Entry::file("etc/motd", b"made by code\n"),
    ]);
    Ok(Awkward {
        name: "debian",
        about: "files of Debian's packages",
        layers: vec![bottom, middle, top],
    })
}

/// The files of packages, as they are installed here.
fn archive(packages: &[&str]) -> Result<Vec<u8>, String> {
    let files = run(Command::new("dpkg-query").arg("--listfiles").args(packages))?;
    let files = String::from_utf8(files).map_err(|error| error.to_string())?;
    // What an administrator removed, or documentation that was never installed, is listed as well.
    let there = |path: &&str| std::fs::symlink_metadata(path).is_ok() && *path != "/.";
    // Several packages have a directory, and tar would make a further entry a hard link to itself.
    let paths: BTreeSet<&str> =
        files.lines().filter(|line| line.starts_with('/')).filter(there).collect();
    let mut tar = Command::new("tar");
    tar.args(["--create", "--format=posix", "--numeric-owner", "--xattrs", "--no-recursion"]);
    tar.args(["--pax-option=delete=atime,delete=ctime", "--directory=/", "--file=-", "--"]);
    run(tar.args(paths.iter().map(|path| path.trim_start_matches('/'))))
}

fn run(command: &mut Command) -> Result<Vec<u8>, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{program}: {error}"))?;
    match output.status.code() {
        Some(0) => Ok(output.stdout),
        // To tar: a directory changed meanwhile, as /tmp and /sys do. The archive is whole.
        Some(1) if program == "tar" => Ok(output.stdout),
        _ => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
