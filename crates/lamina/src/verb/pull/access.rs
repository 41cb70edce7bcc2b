//! How registries are reached from here: proxies and credentials, as the environment has them.

use std::path::PathBuf;
use std::sync::Arc;

use lamina_core::{Error, Reference, Result};
use lamina_image::registry::docker_config::DockerConfig;
use lamina_image::registry::{
    Credential, Credentials, DockerCredentials, ForHost, Proxies, Secret,
};

/// The proxies of the environment. The upper-case `HTTP_PROXY` counts too: this is no CGI program.
pub(in crate::verb) fn proxies() -> Proxies {
    let either = |lower: &str, upper: &str| {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        set(lower).or_else(|| set(upper))
    };
    let all = either("all_proxy", "ALL_PROXY");
    Proxies {
        http: either("http_proxy", "HTTP_PROXY").or_else(|| all.clone()),
        https: either("https_proxy", "HTTPS_PROXY").or(all),
        no_proxy: either("no_proxy", "NO_PROXY"),
    }
}

/// Those of `--user` for the host of `reference`, else those of Docker's `config.json`.
///
/// # Errors
/// InvalidArgument for a file that cannot be understood or a password that cannot be read.
pub(in crate::verb) fn credentials(
    user: Option<&str>,
    reference: &Reference,
) -> Result<Arc<dyn Credentials>> {
    let Some(user) = user else { return docker() };
    let (user, password) = match user.split_once(':') {
        Some((user, password)) => (user, password.to_owned()),
        None => (user, password_from_stdin()?),
    };
    let host = match reference.domain() {
        "docker.io" => "registry-1.docker.io",
        domain => domain,
    };
    let credential =
        Credential::Password { user: user.to_owned(), password: Secret::new(password) };
    Ok(Arc::new(ForHost { host: host.to_owned(), credential }))
}

fn password_from_stdin() -> Result<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| {
        Error::invalid_argument("read the password from standard input").with_source(error)
    })?;
    match line.trim_end_matches(['\r', '\n']) {
        "" => Err(Error::invalid_argument("there is no password on standard input")),
        password => Ok(password.to_owned()),
    }
}

fn docker() -> Result<Arc<dyn Credentials>> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("DOCKER_CONFIG").or_else(|| set("HOME").map(|home| home.join(".docker")));
    let mut config = DockerConfig::default();
    if let Some(path) = folder.map(|folder| folder.join("config.json")) {
        let named = |error: Error| error.context(format!("credentials of {}", path.display()));
        match std::fs::read(&path) {
            Ok(bytes) => config = DockerConfig::parse(&bytes).map_err(named)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(named(Error::invalid_argument("read the file").with_source(error)));
            }
        }
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(Arc::new(DockerCredentials::new(config, std::env::split_paths(&path).collect())))
}
