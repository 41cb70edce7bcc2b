//! Credentials as Docker keeps them: a `config.json` and the helpers it names.

use std::path::PathBuf;

use async_trait::async_trait;
use lamina_core::credentials::{Credential, CredentialRequest, Credentials};
use lamina_core::{Error, Result};

use super::docker_config::{DockerConfig, Place};
use super::helper::run_helper;

/// Looks a credential up in a `config.json`, and asks the helpers it names. Both are passed in: the
/// parsed file, and the directories in which programs are looked for.
#[derive(Debug)]
pub struct DockerCredentials {
    config: DockerConfig,
    path: Vec<PathBuf>,
}

impl DockerCredentials {
    /// `path` is the directories of `PATH`, in order.
    pub fn new(config: DockerConfig, path: Vec<PathBuf>) -> Self {
        DockerCredentials { config, path }
    }

    fn program(&self, helper: &str) -> Result<PathBuf> {
        let name = format!("docker-credential-{helper}");
        let found = self.path.iter().map(|dir| dir.join(&name)).find(|path| path.is_file());
        found.ok_or_else(|| {
            Error::failed_precondition(format!(
                "config.json names the credential helper {helper:?}, but there is no program {name}"
            ))
        })
    }
}

#[async_trait]
impl Credentials for DockerCredentials {
    async fn get(&self, request: &CredentialRequest) -> Result<Option<Credential>> {
        for place in self.config.places(&request.host)? {
            let found = match place {
                Place::Inline(credential) => Some(credential),
                Place::Helper { helper, server } => {
                    run_helper(&self.program(&helper)?, &server).await?
                }
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use lamina_core::Kind;

    use super::*;
    use lamina_core::credentials::Secret;

    async fn get(credentials: &DockerCredentials, host: &str) -> Result<Option<Credential>> {
        let (host, reference) = (host.to_owned(), String::new());
        let request = CredentialRequest { host, encrypted: true, reference };
        loop {
            match credentials.get(&request).await {
                // Another test's fork may still hold the script open for writing.
                Err(error) if error.chain().contains("Text file busy") => {}
                done => return done,
            }
        }
    }

    #[tokio::test]
    async fn helpers_are_found_in_the_path_and_the_file_is_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("docker-credential-some");
        let script = "#!/bin/sh\nread -r s\ncase $s in\n\
            a.example) echo '{\"Username\":\"u\",\"Secret\":\"p\"}';;\n\
            *) echo 'credentials not found in native keychain'; exit 1;;\nesac\n";
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        let json = br#"{"credsStore": "some", "auths": {"b.example": {"auth": "Yjpi"}},
            "credHelpers": {"c.example": "absent"}}"#;
        let config = DockerConfig::parse(json).unwrap();
        let path = vec!["/nowhere".into(), dir.path().to_owned()];
        let credentials = DockerCredentials::new(config, path);
        let pair = |user: &str, password: &str| {
            Some(Credential::Password { user: user.into(), password: Secret::new(password) })
        };
        assert_eq!(get(&credentials, "a.example").await.unwrap(), pair("u", "p"));
        assert_eq!(get(&credentials, "b.example").await.unwrap(), pair("b", "b"));
        assert_eq!(get(&credentials, "x.example").await.unwrap(), None);
        let error = get(&credentials, "c.example").await.unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert!(error.message().contains("no program docker-credential-absent"), "{error}");
    }
}
