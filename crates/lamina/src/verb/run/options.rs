//! What a container is to be like, as nerdctl's flags say it.

use std::path::Path;

use clap::Args;
use lamina_core::Result;
use lamina_runtime::spec::host::NETWORK_FILES;
use lamina_runtime::spec::{Mount, Network, Options, Privileges, env, limits};

/// Flags that make the spec.
#[derive(Debug, Args)]
pub(super) struct OptionArgs {
    /// Set a variable; a name alone takes the value it has here
    #[arg(long, short, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Show a directory or file of the host
    #[arg(long, short, value_name = "SOURCE:DEST[:ro]")]
    volume: Vec<String>,
    /// Mount something, such as type=tmpfs,dst=/tmp
    #[arg(long, value_name = "KEY=VALUE,...")]
    mount: Vec<String>,
    /// Who to be in the container
    #[arg(long, short, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Where to begin
    #[arg(long, short, value_name = "DIR")]
    workdir: Option<String>,
    /// Use the network of the host; otherwise there is none but loopback, which is down
    #[arg(long)]
    net_host: bool,
    /// The most memory, such as 64m
    #[arg(long, short, value_name = "BYTES")]
    memory: Option<String>,
    /// The most processors' time, such as 1.5
    #[arg(long, value_name = "N")]
    cpus: Option<String>,
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
    pub(super) fn read(&self, command: &[String]) -> Result<Options> {
        let variable = |text: &String| env::variable(text, |name| std::env::var(name).ok());
        let env: Result<Vec<_>> = self.env.iter().map(variable).collect();
        let volumes = self.volume.iter().map(|text| Mount::volume(text));
        let mounts = volumes.chain(self.mount.iter().map(|text| Mount::parse(text)));
        let here = |file: &&&str| Path::new(file).exists();
        let files = NETWORK_FILES.iter().filter(here).map(|file| (*file).to_owned()).collect();
        Ok(Options {
            args: command.to_vec(),
            env: env?.into_iter().flatten().collect(),
            mounts: mounts.collect::<Result<_>>()?,
            user: self.user.clone(),
            workdir: self.workdir.clone(),
            network: if self.net_host { Network::Host { files } } else { Network::Own },
            memory: self.memory.as_deref().map(limits::bytes).transpose()?,
            cpu_quota: self.cpus.as_deref().map(limits::cpus).transpose()?,
            read_only: self.read_only,
            privileged: self.privileged.then(Privileges::of_this_process).transpose()?,
            new_privileges: true,
            ..Options::default()
        })
    }
}
