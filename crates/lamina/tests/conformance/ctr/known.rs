//! Differences that are known.

/// A step whose outcome is another, and why that is well.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) line: &'static str,
    /// Read by people.
    #[expect(dead_code, reason = "shown when the difference is gone")]
    pub(crate) reason: &'static str,
}

/// Between containerd 1.6 and 2.x.
pub(crate) const CONTAINERD_16: &[Known] = &[Known {
    line: "ctr plugins list -d id==overlayfs,type==io.containerd.snapshotter.v1",
    reason: "1.6 knows no capabilities of snapshotters",
}];
