//! What a shim answers to `start`: where it listens, and what it speaks there.
//!
//! Three forms are in use: a protobuf `BootstrapResult` (containerd 2.3), JSON (1.7), and one line with
//! the address (before).

use lamina_api::proto::containerd::runtime::bootstrap::v1::BootstrapResult;
use lamina_core::{Error, Result};
use prost::Message;
use serde::{Deserialize, Serialize};

/// Where a task service is. Stored in a bundle as `bootstrap.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// The version of the task API: 2 or 3.
    pub(crate) version: u32,
    /// The socket: a path, or `unix://` and a path.
    pub(crate) address: String,
    /// `ttrpc`.
    pub(crate) protocol: String,
}

impl Endpoint {
    /// A shim that says nothing but its address.
    pub(crate) fn plain(address: &str) -> Endpoint {
        Endpoint { version: 2, address: address.to_owned(), protocol: "ttrpc".to_owned() }
    }

    /// The endpoint, if it is one that can be spoken to.
    ///
    /// # Errors
    /// InvalidArgument for an address that is none, and for a version or protocol nobody has;
    /// Unimplemented for what others have.
    pub(crate) fn checked(self) -> Result<Endpoint> {
        if !(2..=3).contains(&self.version) {
            return Err(Error::unimplemented(format!(
                "the shim speaks version {} of the task API, not 2 or 3",
                self.version
            )));
        }
        if self.protocol != "ttrpc" {
            return Err(Error::unimplemented(format!(
                "the shim speaks {:?}, not ttrpc",
                self.protocol
            )));
        }
        self.path()?;
        Ok(self)
    }

    /// The path of its socket.
    ///
    /// # Errors
    /// Unimplemented for any other kind of address.
    pub(crate) fn path(&self) -> Result<&str> {
        let path = self.address.strip_prefix("unix://").unwrap_or(&self.address);
        // `\0` begins a name without a file; further ones end a path early.
        if path.len() > 1 && path.starts_with(['/', '\0']) && !path[1..].contains('\0') {
            Ok(path)
        } else {
            Err(Error::unimplemented(format!(
                "the shim's address {:?} is no path of a socket",
                shown(self.address.as_bytes())
            )))
        }
    }
}

/// Reads an answer in any of the forms.
///
/// # Errors
/// Internal for what is none of them, with the begin of what was said; those of [`Endpoint::checked`].
pub(crate) fn parse(output: &[u8]) -> Result<Endpoint> {
    let endpoint = read(output).ok_or_else(|| {
        Error::internal(match shown(output).as_str() {
            "" => "the shim said nothing".to_owned(),
            said => format!("the shim's answer is no address: {said:?}"),
        })
    })?;
    endpoint.checked()
}

fn read(output: &[u8]) -> Option<Endpoint> {
    if let Ok(result) = BootstrapResult::decode(output)
        && !result.address.is_empty()
    {
        let BootstrapResult { version, address, protocol, .. } = result;
        return Some(Endpoint { version: u32::try_from(version).ok()?, address, protocol });
    }
    let text = str::from_utf8(output).ok()?.trim();
    if text.starts_with('{') {
        return serde_json::from_str(text).ok();
    }
    // Complaints may come before the address, which nothing that is none looks like.
    let line = text.lines().last()?.trim();
    (line.starts_with("unix://") || line.starts_with('/')).then(|| Endpoint::plain(line))
}

/// The begin of what a program said, for an error.
pub(crate) fn shown(output: &[u8]) -> String {
    const BYTES: usize = 400;
    let text = String::from_utf8_lossy(&output[..output.len().min(BYTES)]).trim().to_owned();
    if output.len() > BYTES { text + "…" } else { text }
}

#[cfg(test)]
mod tests {
    use lamina_core::Kind;

    use super::*;

    fn proto(version: i32, address: &str, protocol: &str) -> Vec<u8> {
        let (address, protocol) = (address.to_owned(), protocol.to_owned());
        BootstrapResult { version, address, protocol, ..Default::default() }.encode_to_vec()
    }

    #[test]
    fn all_three_forms_are_read() {
        let three = Endpoint { version: 3, ..Endpoint::plain("unix:///run/s/1") };
        for (output, expected) in [
            (proto(3, "unix:///run/s/1", "ttrpc"), three.clone()),
            (br#"{"version":3,"address":"unix:///run/s/1","protocol":"ttrpc"}"#.to_vec(), three),
            (b"unix:///run/s/1\n".to_vec(), Endpoint::plain("unix:///run/s/1")),
            (b"/run/s/1".to_vec(), Endpoint::plain("/run/s/1")),
            (b"a warning\nunix:///run/s/1".to_vec(), Endpoint::plain("unix:///run/s/1")),
        ] {
            let endpoint = parse(&output).unwrap();
            assert_eq!(endpoint, expected);
            assert_eq!(endpoint.path().unwrap(), "/run/s/1");
        }
    }

    #[test]
    fn lies_are_refused() {
        for (output, kind) in [
            (b"".to_vec(), Kind::Internal),
            (b"what?".to_vec(), Kind::Internal),
            (vec![0xff; 1 << 20], Kind::Internal),
            (b"{\"version\":2}".to_vec(), Kind::Internal),
            (b"{\"version\":2".to_vec(), Kind::Internal),
            (proto(-1, "unix:///x", "ttrpc"), Kind::Internal),
            (proto(4, "unix:///x", "ttrpc"), Kind::Unimplemented),
            (proto(1, "unix:///x", "ttrpc"), Kind::Unimplemented),
            (proto(3, "unix:///x", "grpc"), Kind::Unimplemented),
            (proto(3, "vsock://2:1024", "ttrpc"), Kind::Unimplemented),
            (proto(3, "unix://x", "ttrpc"), Kind::Unimplemented),
            (proto(3, "unix:///x\0y", "ttrpc"), Kind::Unimplemented),
        ] {
            let error = parse(&output).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().len() < 2000, "{}", error.message().len());
        }
    }
}
