//! `--restart`: a container that is started again when its program has ended. It takes somebody who is
//! there then, which is the daemon's monitor; it goes by labels.

use std::str::FromStr;

use lamina_core::{Error, Filters, Labels, Result};

use crate::cli::Session;

/// Labels of the daemon's monitor.
const STATUS: &str = "containerd.io/restart.status";
const POLICY: &str = "containerd.io/restart.policy";
const LOG: &str = "containerd.io/restart.loguri";
/// Set on what was stopped by hand, and not on what ended.
const STOPPED: &str = "containerd.io/restart.explicitly-stopped";

/// When a container is started again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::verb) enum Restart {
    /// Never.
    #[default]
    No,
    /// As the label says it: `always`, `unless-stopped`, `on-failure` or `on-failure:<times>`.
    Policy(String),
}

impl FromStr for Restart {
    type Err = Error;

    fn from_str(text: &str) -> Result<Restart> {
        let times = |times: &str| times.parse::<u32>().is_ok_and(|times| times > 0);
        match text.split_once(':').unwrap_or((text, "1")) {
            ("no", _) if text == "no" => Ok(Restart::No),
            ("always" | "unless-stopped", _) if !text.contains(':') => {
                Ok(Restart::Policy(text.to_owned()))
            }
            ("on-failure", count) if times(count) => Ok(Restart::Policy(text.to_owned())),
            _ => Err(Error::invalid_argument(format!(
                "{text:?} is none of no, always, unless-stopped, on-failure, on-failure:TIMES"
            ))),
        }
    }
}

impl Restart {
    /// The labels of a container whose output goes to `log`.
    pub(super) fn label(&self, log: &str, labels: &mut Labels) {
        let Restart::Policy(policy) = self else { return };
        for (key, value) in [(STATUS, "running"), (POLICY, policy), (LOG, log)] {
            labels.insert(key.to_owned(), value.to_owned());
        }
    }

    /// # Errors
    /// FailedPrecondition if nobody would start it again.
    pub(super) async fn check(&self, session: &Session) -> Result<()> {
        let Restart::Policy(policy) = self else { return Ok(()) };
        let Session::Daemon(daemon) = session else {
            return Err(Error::failed_precondition(format!(
                "--restart {policy} needs the daemon, which starts the container again: start one \
                 with `lamina serve`"
            )));
        };
        let filters =
            Filters::parse_all(&["type==io.containerd.monitor.container.v1,id==restart"])?;
        let plugins = daemon.client.introspection().plugins(filters).await?;
        match plugins.iter().any(|plugin| plugin.init_error.is_none()) {
            true => Ok(()),
            false => Err(Error::failed_precondition(format!(
                "--restart {policy}: the daemon at {} has no monitor that starts containers again",
                daemon.socket.display()
            ))),
        }
    }
}

/// What is to change in the labels of a container that is stopped or started by hand; none for one
/// that nobody starts again anyway.
pub(in crate::verb) fn explicitly(stopped: bool, labels: &Labels) -> Option<(String, Labels)> {
    labels.contains_key(STATUS).then(|| {
        let value = if stopped { "true" } else { "" };
        (format!("labels.{STOPPED}"), Labels::from([(STOPPED.to_owned(), value.to_owned())]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        for good in ["always", "unless-stopped", "on-failure", "on-failure:3"] {
            assert_eq!(good.parse::<Restart>().unwrap(), Restart::Policy(good.to_owned()));
        }
        assert_eq!("no".parse::<Restart>().unwrap(), Restart::No);
        for bad in ["", "yes", "always:2", "no:1", "on-failure:", "on-failure:0", "on-failure:x"] {
            assert!(bad.parse::<Restart>().is_err(), "{bad}");
        }
    }
}
