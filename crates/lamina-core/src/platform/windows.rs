//! Which Windows images a Windows release runs (Microsoft, "Windows container version
//! compatibility").

/// Windows Server 2022, since which later releases run images of earlier ones.
const LTSC_2022: u16 = 20348;
/// The long-term releases since then, ascending.
const LTSC: [u16; 2] = [LTSC_2022, 26100];

/// `major.minor.build` of a version text.
type Version = (u8, u8, u16);

/// Whether a release `host` runs an image of release `image`. An unknown side is no obstacle, which
/// is how platforms without `os.version` stay usable.
pub(super) fn runs(host: &str, image: &str) -> bool {
    let Some((major, minor, build)) = version(host) else { return true };
    if image.is_empty() {
        return true;
    }
    let image = version(image).unwrap_or_default();
    if (major, minor) != (image.0, image.1) {
        return false;
    }
    if build < LTSC_2022 {
        return build == image.2;
    }
    let oldest = LTSC.into_iter().rev().find(|&release| release < build).unwrap_or(LTSC_2022);
    (oldest..=build).contains(&image.2)
}

fn version(text: &str) -> Option<Version> {
    let mut parts = text.split('.');
    let version =
        (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    (version != (0, 0, 0)).then_some(version)
}
