//! Labels of container records that come from an image.

use lamina_core::oci::ExecConfig;
use lamina_core::{Labels, Result, labels};

use super::signal;

/// Container: the signal that asks its program to end, as the image or the user wrote it.
pub const STOP_SIGNAL: &str = "io.containerd.image.config.stop-signal";

/// The signal of an image that names none.
const DEFAULT_STOP_SIGNAL: &str = "SIGTERM";

/// What keys begin with that daemons and clients act upon: they keep things from the collector,
/// restart containers with programs of the host, and say what belongs to which pod. Only who runs a
/// container says that, never who built its image.
const RESERVED: &[&str] = &[
    "containerd.io/",
    "io.containerd.",
    "io.cri-containerd",
    "io.kubernetes.",
    "lamina.dev/",
    "nerdctl/",
];

/// The labels of a container: the image's that mean nothing to the host, and [`STOP_SIGNAL`].
/// Labels longer than a record may have are left out, as containerd does.
///
/// # Errors
/// InvalidArgument if `stop_signal`, or else the image's, is no signal.
pub fn of_container(config: &ExecConfig, stop_signal: Option<&str>) -> Result<Labels> {
    let stop = [stop_signal.unwrap_or_default(), &config.stop_signal, DEFAULT_STOP_SIGNAL];
    let stop = stop.into_iter().find(|text| !text.is_empty()).unwrap_or(DEFAULT_STOP_SIGNAL);
    signal::parse(stop).map_err(|error| error.context("the container's stop signal"))?;
    let harmless = |key: &str| !RESERVED.iter().any(|prefix| key.starts_with(prefix));
    let of_image = config.labels.iter();
    let mut found: Labels = of_image
        .filter(|(key, value)| harmless(key) && labels::check_one(key, value).is_ok())
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    found.insert(STOP_SIGNAL.to_owned(), stop.to_owned());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(labels: &[(&str, &str)], stop_signal: &str) -> ExecConfig {
        let labels = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        ExecConfig { labels, stop_signal: stop_signal.to_owned(), ..ExecConfig::default() }
    }

    #[test]
    fn an_image_says_nothing_to_the_host() {
        let long = "x".repeat(5000);
        let image = config(
            &[
                ("maintainer", "somebody"),
                ("org.opencontainers.image.title", "box"),
                ("containerd.io/gc.root", "now"),
                ("containerd.io/restart.status", "running"),
                ("containerd.io/restart.loguri", "binary:///bin/sh?-c=id"),
                ("io.containerd.image.config.stop-signal", "KILL"),
                ("io.cri-containerd.kind", "sandbox"),
                ("io.kubernetes.pod.uid", "0"),
                ("nerdctl/networks", "[\"host\"]"),
                ("lamina.dev/pull", "x"),
                ("long", &long),
                ("", "no key"),
            ],
            "",
        );
        let found = of_container(&image, None).unwrap();
        let found: Vec<_> = found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(
            found,
            [
                (STOP_SIGNAL, "SIGTERM"),
                ("maintainer", "somebody"),
                ("org.opencontainers.image.title", "box"),
            ]
        );
    }

    #[test]
    fn the_user_is_asked_before_the_image_for_a_stop_signal() {
        let stop = |image: &str, user: Option<&str>| {
            of_container(&config(&[], image), user).map(|labels| labels[STOP_SIGNAL].clone())
        };
        assert_eq!(stop("SIGQUIT", None).unwrap(), "SIGQUIT");
        assert_eq!(stop("37", None).unwrap(), "37");
        assert_eq!(stop("SIGQUIT", Some("INT")).unwrap(), "INT");
        assert_eq!(stop("nonsense", Some("INT")).unwrap(), "INT");
        let error = stop("nonsense", None).unwrap_err();
        assert_eq!(error.chain(), "the container's stop signal: \"nonsense\" is no signal");
    }
}
