//! Which platforms will do, and which of them is best.

use super::{Platform, windows};

/// A wish: a set of platforms that will do, some of them before others.
///
/// The manifests of an index are filtered by [`matches`](Matcher::matches) and sorted (stably, so
/// that the index decides between equals) by [`rank`](Matcher::rank).
#[derive(Clone, Debug)]
pub struct Matcher {
    /// Normalised; best first if `ordered`. `None` is every platform.
    wanted: Option<Vec<Platform>>,
    ordered: bool,
}

/// How good a platform is; smaller is better. Comparable only between ranks of one [`Matcher`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    fit: Fit,
    wish: usize,
    /// More of the wanted features come first.
    features: std::cmp::Reverse<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    Matches,
    /// Would match but for features it asks for.
    LacksFeatures,
    No,
}

impl Matcher {
    /// `platform` and what its processor also runs, best first: amd64 its lower levels and then 386;
    /// arm its lower versions down to v5; arm64 its lower versions (v9.n down to v8.n+5 and on) and
    /// then arm from v8 down.
    pub fn only(platform: &Platform) -> Self {
        Matcher { wanted: Some(runnable(&platform.normalized())), ordered: true }
    }

    /// `platform` and nothing else.
    pub fn strict(platform: &Platform) -> Self {
        Matcher::ordered([platform])
    }

    /// Any of `platforms`, the earlier the better.
    pub fn ordered<'a>(platforms: impl IntoIterator<Item = &'a Platform>) -> Self {
        let wanted = platforms.into_iter().map(Platform::normalized).collect();
        Matcher { wanted: Some(wanted), ordered: true }
    }

    /// Any of `platforms`, all equally good.
    pub fn any<'a>(platforms: impl IntoIterator<Item = &'a Platform>) -> Self {
        Matcher { ordered: false, ..Matcher::ordered(platforms) }
    }

    /// Every platform, none better than another.
    pub fn all() -> Self {
        Matcher { wanted: None, ordered: false }
    }

    /// Whether `platform` will do.
    pub fn matches(&self, platform: &Platform) -> bool {
        self.rank(platform).fit == Fit::Matches
    }

    /// Whether `a` is to be taken before `b`.
    pub fn less(&self, a: &Platform, b: &Platform) -> bool {
        self.rank(a) < self.rank(b)
    }

    /// The place of `platform` in the order of preference; what does not match comes last.
    pub fn rank(&self, platform: &Platform) -> Rank {
        let Some(wanted) = &self.wanted else {
            return Rank { fit: Fit::Matches, wish: 0, features: std::cmp::Reverse(0) };
        };
        let mut platform = platform.normalized();
        let features = std::cmp::Reverse(platform.os_features.len());
        if let Some(wish) = self.wish(wanted, &platform) {
            return Rank { fit: Fit::Matches, wish, features };
        }
        platform.os_features.clear();
        let features = std::cmp::Reverse(0);
        match self.wish(wanted, &platform) {
            Some(wish) => Rank { fit: Fit::LacksFeatures, wish, features },
            None => Rank { fit: Fit::No, wish: 0, features },
        }
    }

    fn wish(&self, wanted: &[Platform], platform: &Platform) -> Option<usize> {
        let wish = wanted.iter().position(|wish| fits(wish, platform))?;
        Some(if self.ordered { wish } else { 0 })
    }
}

/// Whether `image` is what `wish` says; both normalised.
pub(super) fn fits(wish: &Platform, image: &Platform) -> bool {
    let is_windows = wish.os == "windows";
    wish.os == image.os
        && wish.architecture == image.architecture
        && wish.variant == image.variant
        && (!is_windows || windows::runs(&wish.os_version, &image.os_version))
        && image.os_features.iter().all(|feature| {
            // Every Windows has it that runs full images; wishes never name it.
            wish.os_features.contains(feature) || (is_windows && feature == "win32k")
        })
}

/// What the processor of a normalised platform runs, best first.
fn runnable(platform: &Platform) -> Vec<Platform> {
    let other = |architecture: &str, variant: &str| Platform {
        architecture: architecture.to_owned(),
        variant: variant.to_owned(),
        ..platform.clone()
    };
    let mut list = vec![platform.clone()];
    match platform.architecture.as_str() {
        "amd64" => {
            for level in (1..level(&platform.variant).unwrap_or(1)).rev() {
                list.push(other("amd64", &format!("v{level}")).normalized());
            }
            list.push(other("386", ""));
        }
        "arm" => {
            for level in (5..level(&platform.variant).unwrap_or(5)).rev() {
                list.push(other("arm", &format!("v{level}")));
            }
        }
        "arm64" => {
            let versions = arm64_versions(&platform.variant);
            let arm = if versions.is_empty() { 0..0 } else { 5..9 };
            for (major, minor) in versions.into_iter().skip(1) {
                list.push(other("arm64", &format!("v{major}.{minor}")).normalized());
            }
            for level in arm.rev() {
                list.push(other("arm", &format!("v{level}")));
            }
        }
        _ => {}
    }
    list
}

/// The number of a variant like `v3`. Levels above any real one are not counted down from.
fn level(variant: &str) -> Option<u8> {
    let level = variant.strip_prefix('v').unwrap_or(variant).parse().ok()?;
    (level <= MOST_LEVEL).then_some(level)
}

/// Bounds the list that a made-up variant can lead to.
const MOST_LEVEL: u8 = 16;

/// The versions of the Arm A-profile a normalised arm64 variant runs, best first, itself included;
/// v9.n contains v8.(n+5). Nothing is known of variants outside v8.0–v8.9 and v9.0–v9.7.
fn arm64_versions(variant: &str) -> Vec<(u8, u8)> {
    let (major, minor) = match variant.split_once('.') {
        _ if variant.is_empty() => ("v8", "0"),
        None => (variant, "0"),
        Some(parts) => parts,
    };
    let down = |major: u8, from: u8| (0..=from).rev().map(move |minor| (major, minor));
    match (major, minor.parse::<u8>()) {
        ("v8", Ok(minor @ 0..=9)) => down(8, minor).collect(),
        ("v9", Ok(minor @ 0..=7)) => down(9, minor).chain(down(8, (minor + 5).min(9))).collect(),
        _ => Vec::new(),
    }
}
