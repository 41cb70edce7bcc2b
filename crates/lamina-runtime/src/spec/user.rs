//! Who a container's program runs as, looked up in its root file system.
//!
//! `/etc/passwd` and `/etc/group` there are the image's: they are opened below the root's descriptor,
//! must be plain files, and are read up to a cap.

mod records;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use lamina_core::{Error, Result};
use lamina_sys::fs::{self, FileKind, OFlags};
use lamina_sys::rootdir::RootDir;
use records::{Group, Passwd};
use rustix::io::Errno;

use super::clip;

/// The most bytes of `/etc/passwd` or `/etc/group`.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Ids above are refused: runc and the kernel's interfaces take them for negative.
const MAX_ID: u32 = i32::MAX as u32;

/// As many groups as a process may be in (`NGROUPS_MAX` of Linux).
const MAX_GROUPS: usize = 65536;

/// Who a program runs as, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The user's number.
    pub uid: u32,
    /// The number of the main group.
    pub gid: u32,
    /// All groups, the main one first: without it a program could leave it, and with it what a file
    /// denies to that group.
    pub groups: Vec<u32>,
    /// The home directory, if the root file system knows the user and one that is an absolute path.
    pub home: Option<String>,
}

/// Looks up `user[:group]`, each a name or a number; the empty text is root. A number needs no
/// record, and then the group is 0 if none is given; a name does. The groups that list the user's
/// name are the user's, also if a group was given.
///
/// # Errors
/// NotFound for a name without a record, InvalidArgument for a malformed text, a number above
/// 2³¹-1 and a record file that is no plain file, ResourceExhausted for one that is too large.
pub fn find(root: &RootDir, text: &str) -> Result<User> {
    let (user, group) = match text.split_once(':') {
        _ if text.is_empty() => (Who::Id(0), None),
        None => (who(text, text)?, None),
        Some((user, group)) => (who(user, text)?, Some(who(group, text)?)),
    };
    let record = passwd(root, &user)?;
    let uid = match (&user, &record) {
        (Who::Id(uid), _) => *uid,
        (Who::Name(_), Some(record)) => record.uid,
        (Who::Name(name), None) => return Err(unknown("user", name, "/etc/passwd")),
    };
    let file = read(root, "/etc/group")?;
    let gid = match &group {
        None => record.as_ref().map_or(0, |record| record.gid),
        Some(Who::Id(gid)) => *gid,
        Some(Who::Name(name)) => records::groups(&file)
            .find(|group| group.name == name.as_bytes())
            .map(|group| group.gid)
            .ok_or_else(|| unknown("group", name, "/etc/group"))?,
    };
    let name = record.as_ref().map(|record| record.name.as_slice());
    let groups = all_groups(gid, name, records::groups(&file))?;
    Ok(User { uid, gid, groups, home: record.and_then(|record| record.home) })
}

/// [`find`] in the root file system that is mounted at `root`.
///
/// # Errors
/// As [`find`], and those of opening the directory.
pub fn find_at(root: &Path, text: &str) -> Result<User> {
    let opened = RootDir::open(root)
        .map_err(|error| Error::internal(format!("open {}", root.display())).with_source(error))?;
    find(&opened, text)
}

/// A user or a group as it was asked for.
enum Who<'a> {
    Id(u32),
    Name(&'a str),
}

/// Numbers are numbers, also where a record has one for a name: containerd reads them so.
fn who<'a>(part: &'a str, whole: &str) -> Result<Who<'a>> {
    let refused = |why: &str| {
        Error::invalid_argument(format!("the user {:?} is not user[:group]: {why}", clip(whole)))
    };
    if part.is_empty() {
        return Err(refused("a part is empty"));
    }
    if part.contains(':') {
        return Err(refused("it has more than two parts"));
    }
    if !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Who::Name(part));
    }
    match part.parse() {
        Ok(id) if id <= MAX_ID => Ok(Who::Id(id)),
        _ => Err(refused("a number is above 2147483647")),
    }
}

fn unknown(kind: &str, name: &str, file: &str) -> Error {
    let name = clip(name);
    Error::not_found(format!("{file} of the root file system has no {kind} {name:?}"))
}

fn passwd(root: &RootDir, user: &Who<'_>) -> Result<Option<Passwd>> {
    let file = read(root, "/etc/passwd")?;
    Ok(records::passwds(&file).find(|record| match user {
        Who::Id(uid) => record.uid == *uid,
        Who::Name(name) => record.name == name.as_bytes(),
    }))
}

fn all_groups<'a>(
    gid: u32,
    user: Option<&[u8]>,
    records: impl Iterator<Item = Group<'a>>,
) -> Result<Vec<u32>> {
    let mut groups = vec![gid];
    let Some(user) = user else { return Ok(groups) };
    let mut listed: Vec<u32> =
        records.filter(|group| group.has(user)).map(|group| group.gid).collect();
    // In the file's order, each once.
    let mut seen = std::collections::BTreeSet::from([gid]);
    listed.retain(|gid| seen.insert(*gid));
    groups.append(&mut listed);
    if groups.len() > MAX_GROUPS {
        return Err(Error::new(
            lamina_core::Kind::ResourceExhausted,
            format!(
                "/etc/group of the root file system puts a user into more than {MAX_GROUPS} groups"
            ),
        ));
    }
    Ok(groups)
}

/// A file of the root file system; empty if there is none.
fn read(root: &RootDir, path: &str) -> Result<Vec<u8>> {
    let failed = |kind: fn(String) -> Error, why: &str| {
        kind(format!("{path} of the root file system {why}"))
    };
    // A handle first: to open a pipe waits, and to open a device can do anything.
    let handle = match root.open_file(path, OFlags::PATH) {
        Ok(handle) => handle,
        Err(error) if error.is_not_found() => return Ok(Vec::new()),
        Err(error) => {
            let kind = match error.errno() {
                Errno::LOOP | Errno::NOTDIR | Errno::XDEV => Error::invalid_argument,
                _ => Error::internal,
            };
            return Err(failed(kind, "cannot be opened").with_source(error));
        }
    };
    let io = |error| failed(Error::internal, "cannot be read").with_source(error);
    let stat = fs::stat(&handle).map_err(io)?;
    if stat.kind != FileKind::File {
        return Err(failed(Error::invalid_argument, "is no plain file"));
    }
    let too_large = || {
        let why = format!("has more than {MAX_FILE_BYTES} bytes");
        failed(Error::resource_exhausted, &why)
    };
    if stat.size > MAX_FILE_BYTES {
        return Err(too_large());
    }
    let file = File::from(fs::reopen(&handle, OFlags::RDONLY | OFlags::NONBLOCK).map_err(io)?);
    let mut bytes = Vec::new();
    // It can grow meanwhile.
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| failed(Error::internal, "cannot be read").with_source(error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(too_large());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
