//! The walk: registry → content → snapshots → root file system → mounts.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Place;
use crate::{process, ui};

pub(super) fn walk(place: &Place, program: &Path, host: &str) -> Result<()> {
    let lamina = Lamina { program, place };
    let image = format!("{host}/demo/redis:latest");

    ui::heading("pull: from the registry into content and snapshots, in one pass");
    lamina.run(&["pull", &image])?;
    lamina.run(&["image", "ls"])?;

    ui::heading("content: what digests name, and nobody changes");
    lamina.run(&["content", "ls"])?;

    ui::heading("snapshots: one committed snapshot a layer, named by its chain ID");
    lamina.run(&["snapshot", "ls"])?;
    lamina.run(&["snapshot", "tree"])?;

    ui::heading("prepare: an active snapshot on the top layer, as a container gets");
    let top = lamina.top()?;
    lamina.run(&["snapshot", "prepare", "container", &top])?;
    println!("Nothing was mounted. These are its mounts, which a shim would carry out:");
    let target = place.join("rootfs");
    std::fs::create_dir(&target)?;
    let target = target.to_str().context("the temporary directory's name")?.to_owned();
    lamina.run(&["snapshot", "mounts", &target, "container"])?;

    ui::heading("mount it, look around, change a file");
    lamina.mount(&target, "container")?;
    show(&format!("stat -c '%A %h %n' {target}/usr/bin/passwd {target}/usr/bin/perl"))?;
    show(&format!("ls {target}/usr/share/doc {target}/usr/share/man || true"))?;
    println!("(The first is gone and the second empty: the whiteouts of layer 3.)");
    show(&format!("echo 'hello from the demo' > {target}/etc/motd"))?;
    show(&format!("umount {target}"))?;
    lamina.run(&["snapshot", "usage", "container"])?;

    ui::heading("commit: the change becomes a layer that others can lie on");
    lamina.run(&["snapshot", "commit", "changed", "container"])?;
    lamina.run(&["snapshot", "prepare", "child", "changed"])?;
    lamina.run(&["snapshot", "tree"])?;

    ui::heading("view: the same files, and nobody can write to them");
    lamina.run(&["snapshot", "view", "look", "changed"])?;
    lamina.mount(&target, "look")?;
    show(&format!("cat {target}/etc/motd"))?;
    if process::status(Command::new("touch").arg(format!("{target}/etc/motd")))? {
        bail!("a view could be written to");
    }
    show(&format!("umount {target}"))?;

    super::run::run(&lamina, &image)?;

    ui::heading("remove: names first, then files; what an image holds stays");
    lamina.run(&["snapshot", "rm", "look", "child"])?;
    lamina.run(&["snapshot", "rm", "changed"])?;
    lamina.run(&["rmi", &image])?;
    lamina.run(&["snapshot", "ls"])?;
    lamina.run(&["fsck", "--verify"])
}

/// The program, in a place of its own.
pub(super) struct Lamina<'a> {
    program: &'a Path,
    place: &'a Place,
}

impl Lamina<'_> {
    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.program);
        // Whatever this machine is configured to do, the demo shows the defaults.
        command.env("LAMINA_ROOT", self.place.path().join("root"));
        command.env("LAMINA_STATE", self.place.path().join("state"));
        for name in ["ADDRESS", "CONFIG", "NAMESPACE", "SNAPSHOTTER"] {
            command.env_remove(format!("LAMINA_{name}"));
        }
        command.args(args);
        command
    }

    pub(super) fn run(&self, args: &[&str]) -> Result<()> {
        process::run(&mut self.command(args))
    }

    /// The committed snapshot that no other lies on.
    fn top(&self) -> Result<String> {
        let listing = process::ask(&mut self.command(&["snapshot", "ls", "--format", "json"]))?;
        let rows: Vec<serde_json::Value> = match serde_json::from_str(&listing)? {
            serde_json::Value::Array(rows) => rows,
            _ => bail!("snapshot ls did not print a list"),
        };
        let text = |row: &serde_json::Value, field: &str| {
            row.get(field).and_then(|value| value.as_str()).unwrap_or_default().to_owned()
        };
        let parents: Vec<String> = rows.iter().map(|row| text(row, "Parent")).collect();
        let mut names = rows.iter().map(|row| text(row, "Name"));
        names.find(|name| !parents.contains(name)).context("no snapshot is the top one")
    }

    /// Mounts a snapshot by the command that Lamina prints.
    fn mount(&self, target: &str, key: &str) -> Result<()> {
        let commands = process::ask(&mut self.command(&["snapshot", "mounts", target, key]))?;
        show(commands.trim())
    }
}

/// Shows a line of shell and runs it.
pub(super) fn show(line: &str) -> Result<()> {
    println!("$ {line}");
    let status = Command::new("sh").args(["-ec", line]).status()?;
    if !status.success() {
        bail!("failed: {line}");
    }
    Ok(())
}
