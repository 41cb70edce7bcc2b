//! Differences that are known.

use super::script;

/// A step whose outcome is another, and why that is well.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) line: &'static str,
    /// Read by people.
    #[expect(dead_code, reason = "shown when the difference is gone")]
    pub(crate) reason: &'static str,
}

/// Between containerd 1.6 and 2.x.
pub(crate) const CONTAINERD_16: &[Known] = &[
    Known {
        line: "ctr plugins list -d id==overlayfs,type==io.containerd.snapshotter.v1",
        reason: "1.6 knows no capabilities of snapshotters",
    },
    Known { line: script::DIFF_PLAIN, reason: DATED },
    Known { line: script::DIFF_PACKED, reason: DATED },
    Known { line: script::DIFF_PAIRS, reason: DATED },
];

const DATED: &str = "1.6 dates deletions with the time of day, 2.x with 1970";
