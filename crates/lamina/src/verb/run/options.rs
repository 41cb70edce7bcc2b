//! What a container is to be like, as nerdctl's flags say it.

use std::path::{Path, PathBuf};

use clap::Args;
use lamina_core::{Error, Result};
use lamina_runtime::spec::host::{self, NETWORK_FILES};
use lamina_runtime::spec::{Mount, Network, Options, Privileges, env, limits};

/// Flags that make the spec.
#[derive(Debug, Args)]
pub(in crate::verb) struct OptionArgs {
    /// Set a variable; a name alone takes the value it has here
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Set the variables of a file, which has one in each line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Show a directory or file of the host
    #[arg(long, short, value_name = "SOURCE:DEST[:ro]")]
    volume: Vec<String>,
    /// Mount something, such as type=tmpfs,dst=/tmp
    #[arg(long, value_name = "KEY=VALUE,...")]
    mount: Vec<String>,
    /// Mount memory, such as /tmp:size=64m,mode=1777
    #[arg(long, value_name = "DEST[:OPTION,...]")]
    tmpfs: Vec<String>,
    /// Who to be in the container
    #[arg(long, short, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Where to begin
    #[arg(long, short, value_name = "DIR")]
    workdir: Option<String>,
    /// What to run instead of the image's entry point, with its arguments after the image; empty for none
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// The name that the container has for its host [default: the beginning of its identifier]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Use the network of the host; otherwise there is none but loopback
    #[arg(long)]
    net_host: bool,
    /// The most memory, such as 64m
    #[arg(long, short, value_name = "BYTES")]
    memory: Option<String>,
    /// The most processors' time, such as 1.5
    #[arg(long, value_name = "N")]
    cpus: Option<String>,
    /// The most processes
    #[arg(long, value_name = "N")]
    pids_limit: Option<u64>,
    /// What a process may use, such as nofile=1024:4096
    #[arg(long, value_name = "KIND=SOFT[:HARD]")]
    ulimit: Vec<String>,
    /// A capability that others do not have, or ALL
    #[arg(long, value_name = "NAME")]
    cap_add: Vec<String>,
    /// A capability to be without, or ALL
    #[arg(long, value_name = "NAME")]
    cap_drop: Vec<String>,
    /// The control group: a path, or slice:prefix:name with --systemd-cgroup
    #[arg(long, value_name = "GROUP")]
    cgroup: Option<String>,
    /// Let nothing be written to the image's files
    #[arg(long)]
    read_only: bool,
    /// Give all capabilities and devices of the host
    #[arg(long)]
    privileged: bool,
}

impl OptionArgs {
    /// # Errors
    /// InvalidArgument for what is malformed.
    pub(in crate::verb) fn read(&self, command: &[String]) -> Result<Options> {
        let volumes = self.volume.iter().map(|text| Mount::volume(text));
        let mounts = volumes.chain(self.mount.iter().map(|text| Mount::parse(text)));
        let mounts = mounts.chain(self.tmpfs.iter().map(|text| Mount::tmpfs(text)));
        let chosen = !self.cap_add.is_empty() || !self.cap_drop.is_empty();
        let capabilities = || host::capabilities(&self.cap_add, &self.cap_drop);
        let ulimits = self.ulimit.iter().map(|text| limits::ulimit(text));
        let entrypoint = self.entrypoint.as_ref();
        let hostname = self.hostname.as_deref().map(checked_hostname).transpose()?;
        let here = |file: &&&str| Path::new(file).exists();
        let files = NETWORK_FILES.iter().filter(here).map(|file| (*file).to_owned()).collect();
        Ok(Options {
            args: command.to_vec(),
            entrypoint: entrypoint
                .map(|text| Some(text.clone()).filter(|t| !t.is_empty()).into_iter().collect()),
            env: variables(&self.env_file, &self.env)?,
            mounts: mounts.collect::<Result<_>>()?,
            user: self.user.clone(),
            workdir: self.workdir.clone(),
            network: if self.net_host { Network::Host { files } } else { Network::Own },
            memory: self.memory.as_deref().map(limits::bytes).transpose()?,
            cpu_quota: self.cpus.as_deref().map(limits::cpus).transpose()?,
            pids: self.pids_limit,
            ulimits: ulimits.collect::<Result<_>>()?,
            capabilities: chosen.then(capabilities).transpose()?,
            hostname,
            cgroup: self.cgroup.clone(),
            read_only: self.read_only,
            privileged: self.privileged.then(Privileges::of_this_process).transpose()?,
            new_privileges: true,
            ..Options::default()
        })
    }
}

/// Variables of files and of arguments, which count more. A name alone takes the value it has here.
///
/// # Errors
/// InvalidArgument for what is malformed, NotFound for a file that is not there.
pub(in crate::verb) fn variables(files: &[PathBuf], args: &[String]) -> Result<Vec<String>> {
    let here = |name: &str| std::env::var(name).ok();
    let mut found = Vec::new();
    for file in files {
        let named = |error: Error| error.context(format!("--env-file {}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => lamina_core::Kind::NotFound,
                _ => lamina_core::Kind::InvalidArgument,
            };
            named(Error::new(kind, "it cannot be read as text").with_source(error))
        })?;
        found.extend(env::file(&text, here).map_err(named)?);
    }
    for text in args {
        found.extend(env::variable(text, here)?);
    }
    Ok(found)
}

/// A name that the kernel takes, and that nothing else could be made of.
fn checked_hostname(name: &str) -> Result<String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if name.is_empty() || name.len() > 64 || !name.bytes().all(good) {
        return Err(Error::invalid_argument(format!("{name:?} is no name of a host")));
    }
    Ok(name.to_owned())
}
