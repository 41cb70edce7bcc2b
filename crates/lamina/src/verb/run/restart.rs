//! `--restart`: a container that is started again when its program has ended. It takes somebody who is
//! there then, which is the daemon's monitor; it goes by labels.

use std::str::FromStr;

use lamina_core::{Container, ContainerStore, Error, Filters, Host as _, Labels, Result};
use lamina_runtime::spec::{labels, signal};

use crate::cli::{Context, Session};
use crate::verb::stop::KILL;

/// Labels of the daemon's monitor.
const STATUS: &str = "containerd.io/restart.status";
const POLICY: &str = "containerd.io/restart.policy";
const LOG: &str = "containerd.io/restart.loguri";
/// How often it was started again.
const COUNT: &str = "containerd.io/restart.count";
/// Set on what was stopped by hand, or not started yet, and not on what ended.
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
    /// The labels of a container whose output goes to `log`. Until [`started`] the monitor leaves it to
    /// who makes it.
    pub(super) fn label(&self, log: &str, labels: &mut Labels) {
        let Restart::Policy(policy) = self else { return };
        for (key, value) in [(STATUS, "running"), (POLICY, policy), (LOG, log), (STOPPED, "true")] {
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

/// Says in a container's labels that it was stopped by hand, or is about to be: nobody starts it again.
///
/// # Errors
/// Those of the store.
pub(in crate::verb) async fn stopped(
    containers: &dyn ContainerStore,
    container: Container,
) -> Result<Container> {
    change(containers, container, &[(STOPPED, "true")]).await
}

/// Says in a container's labels that it was started by hand, from when on it is started again.
///
/// # Errors
/// Those of the store.
pub(in crate::verb) async fn started(
    containers: &dyn ContainerStore,
    container: Container,
) -> Result<Container> {
    change(containers, container, &[(STOPPED, ""), (COUNT, "")]).await
}

/// As [`started`], for a container that was left running.
///
/// # Errors
/// Those of the store.
pub(in crate::verb) async fn kept(cx: &Context<'_>, container: Container) -> Result<()> {
    if !container.labels.contains_key(STATUS) {
        return Ok(());
    }
    let session = cx.connect().await?;
    started(&*session.containers(&cx.scope()), container).await.map(drop)
}

/// As [`stopped`], for a container that gets a signal, if it is one that ends it. Without a daemon nobody
/// starts it again anyway.
///
/// # Errors
/// Those of the daemon.
pub(in crate::verb) async fn signalled(cx: &Context<'_>, id: &str, number: u32) -> Result<()> {
    let Some(daemon) = cx.daemon().await? else { return Ok(()) };
    let containers = daemon.client.containers(&cx.scope());
    let container = match containers.get(id).await {
        // A task can be without a record, if its client wants that.
        Err(error) if error.is_not_found() => return Ok(()),
        container => container?,
    };
    match number == KILL || number == stop_signal(&container.labels)? {
        true => stopped(&*containers, container).await.map(drop),
        false => Ok(()),
    }
}

/// The signal that asks a container's program to end.
///
/// # Errors
/// InvalidArgument for a label that names none.
pub(in crate::verb) fn stop_signal(labels: &Labels) -> Result<u32> {
    signal::parse(labels.get(labels::STOP_SIGNAL).map_or("TERM", String::as_str))
}

/// Changes labels of a container that somebody starts again; others have none of these.
async fn change(
    containers: &dyn ContainerStore,
    container: Container,
    labels: &[(&str, &str)],
) -> Result<Container> {
    if !container.labels.contains_key(STATUS) {
        return Ok(container);
    }
    let paths: Vec<String> = labels.iter().map(|(key, _)| format!("labels.{key}")).collect();
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    containers.update(Container { labels: labels.collect(), ..container }, &paths).await
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
