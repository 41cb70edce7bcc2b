//! Lines of `/etc/passwd` and `/etc/group`. Lines that are not well-formed are passed over: half a line
//! must not make anybody root.

use super::MAX_ID;

/// `name:password:uid:gid:comment:home:shell`.
pub(super) struct Passwd {
    pub(super) name: Vec<u8>,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: Option<String>,
}

/// The records of a passwd file, in its order.
pub(super) fn passwds(file: &[u8]) -> impl Iterator<Item = Passwd> {
    lines(file).filter_map(|line| {
        let fields: Vec<&[u8]> = line.splitn(8, |byte| *byte == b':').collect();
        let [name, _, uid, gid, _, home, _] = fields[..] else { return None };
        if name.is_empty() {
            return None;
        }
        Some(Passwd { name: name.to_vec(), uid: id(uid)?, gid: id(gid)?, home: absolute(home) })
    })
}

/// `name:password:gid:user[,user…]`.
pub(super) struct Group<'a> {
    pub(super) name: &'a [u8],
    pub(super) gid: u32,
    members: &'a [u8],
}

impl Group<'_> {
    /// Whether it lists a user.
    pub(super) fn has(&self, user: &[u8]) -> bool {
        self.members.split(|byte| *byte == b',').any(|member| member.trim_ascii() == user)
    }
}

/// The records of a group file, in its order.
pub(super) fn groups(file: &[u8]) -> impl Iterator<Item = Group<'_>> {
    lines(file).filter_map(|line| {
        let fields: Vec<&[u8]> = line.splitn(5, |byte| *byte == b':').collect();
        let [name, _, gid, members] = fields[..] else { return None };
        if name.is_empty() {
            return None;
        }
        Some(Group { name, gid: id(gid)?, members })
    })
}

/// Lines, without comments and what is for directory services (`+`, `-`).
fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    let lines = file.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.filter(|line| !matches!(line.first(), None | Some(b'#' | b'+' | b'-')))
}

fn id(field: &[u8]) -> Option<u32> {
    // `parse` would also take a sign.
    if !field.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let id = str::from_utf8(field).ok()?.parse().ok()?;
    (id <= MAX_ID).then_some(id)
}

fn absolute(home: &[u8]) -> Option<String> {
    let home = str::from_utf8(home).ok()?;
    (home.starts_with('/') && !home.contains('\0')).then(|| home.to_owned())
}
