//! The flags that every verb has, as typed. What is absent here may be in the configuration file.

use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;

/// Flags of every verb; a variable stands in for an absent flag.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Where images and snapshots are kept [default: /var/lib/lamina]
    #[arg(long, global = true, env = "LAMINA_ROOT", value_name = "DIR")]
    pub(super) root: Option<PathBuf>,

    /// Where what ends with a boot is kept [default: /run/lamina]
    #[arg(long, global = true, env = "LAMINA_STATE", value_name = "DIR")]
    pub(super) state: Option<PathBuf>,

    /// The socket of the daemon [default: lamina.sock in --state, and if nobody listens there, none]
    #[arg(long, global = true, env = "LAMINA_ADDRESS", value_name = "SOCKET")]
    pub(super) address: Option<PathBuf>,

    /// The same before the verb, as in ctr; behind it, -a is the verb's
    #[arg(short = 'a', value_name = "SOCKET")]
    pub(super) before: Option<PathBuf>,

    /// The namespace to work in [default: default]
    #[arg(long, short = 'n', global = true, env = "LAMINA_NAMESPACE", value_name = "NAME")]
    pub(super) namespace: Option<String>,

    /// The snapshotter to work with [default: overlayfs]
    #[arg(long, global = true, env = "LAMINA_SNAPSHOTTER", value_name = "NAME")]
    pub(super) snapshotter: Option<String>,

    /// The configuration file; one that is named must be there [default: /etc/lamina/config.toml]
    #[arg(long, global = true, env = "LAMINA_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,

    /// Tell on stderr what is being done
    #[arg(long, global = true, env = "LAMINA_DEBUG", value_parser = FalseyValueParser::new())]
    pub(super) debug: bool,
}
