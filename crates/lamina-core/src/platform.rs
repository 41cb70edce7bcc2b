//! Platforms: what an image runs on, how users write it, and which of several fits best.
//!
//! The fields are those of the OCI image spec; texts, aliases and compatibility follow containerd's
//! `platforms` package, because clients send its texts and expect its choice. A [`Platform`] holds
//! what was written; comparing is done on [`Platform::normalized`] forms.

mod matcher;
mod normalize;
mod windows;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use matcher::{Matcher, Rank};

use crate::digest::clip;
use crate::{Error, Result, json};

/// What an image or a host is: operating system, processor, and their finer parts. Empty = not said.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub struct Platform {
    /// The processor, by Go's names: `amd64`, `arm64`, `386`, …
    #[serde(default, deserialize_with = "json::or_default")]
    pub architecture: String,
    /// The operating system, by Go's names: `linux`, `windows`, …
    #[serde(default, deserialize_with = "json::or_default")]
    pub os: String,
    /// The version of the operating system. Matters on Windows only.
    #[serde(
        default,
        rename = "os.version",
        deserialize_with = "json::or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub os_version: String,
    /// What the image needs of the operating system.
    #[serde(
        default,
        rename = "os.features",
        deserialize_with = "json::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// The level of the processor: `v7` of arm, `v3` of amd64, …
    #[serde(
        default,
        deserialize_with = "json::or_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub variant: String,
}

json::object!(Platform);

impl Platform {
    /// A platform of the two parts that every image names.
    pub fn new(os: impl Into<String>, architecture: impl Into<String>) -> Self {
        Platform { os: os.into(), architecture: architecture.into(), ..Platform::default() }
    }

    /// The platform this program was built for. Finer levels of the processor are not looked up (that
    /// would be I/O): 32-bit arm is what the compiler targeted, all others have no variant.
    pub fn host() -> Self {
        let (architecture, variant) = normalize::HOST_ARCHITECTURE;
        Platform { variant: variant.to_owned(), ..Platform::new(normalize::HOST_OS, architecture) }
    }

    /// Parses `OS`, `ARCH`, `OS/ARCH` or `OS/ARCH/VARIANT`, where `OS` may carry a version and
    /// features, as in `windows(10.0.17763+win32k)`. Aliases are resolved (`x86_64`, `aarch64`,
    /// `macos`, …); a missing part is the host's.
    ///
    /// # Errors
    /// InvalidArgument, naming the text and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self> {
        parse(text).map_err(|why| {
            Error::invalid_argument(format!("invalid platform {:?}: {why}", clip(text)))
        })
    }

    /// The form in which platforms are compared: lower case, aliases resolved, the variant left out
    /// where it is the lowest (amd64 v1, arm64 v8) and `v7` where arm has none, features sorted.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let (architecture, variant) = normalize::architecture(&self.architecture, &self.variant);
        let mut os_features = self.os_features.clone();
        os_features.sort();
        os_features.dedup();
        Platform {
            architecture,
            variant,
            os: normalize::os(&self.os),
            os_version: self.os_version.clone(),
            os_features,
        }
    }

    /// Whether an image made for `image` runs here without emulation of anything: the same system,
    /// processor and variant, and no feature that `self` lacks. For "or an older processor" see
    /// [`Matcher::only`].
    pub fn matches(&self, image: &Platform) -> bool {
        matcher::fits(&self.normalized(), &image.normalized())
    }

    /// `os/arch[/variant]` without version and features, as listings show it.
    pub fn short(&self) -> String {
        self.join(self.os.clone())
    }

    fn join(&self, os: String) -> String {
        if self.os.is_empty() {
            return "unknown".to_owned();
        }
        let mut text = os;
        for part in [&self.architecture, &self.variant] {
            if !part.is_empty() {
                text.push('/');
                text.push_str(part);
            }
        }
        text
    }
}

/// The text that [`Platform::parse`] reads, with version and features; `unknown` without a system.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut features: Vec<&str> =
            self.os_features.iter().map(String::as_str).filter(|f| !f.is_empty()).collect();
        features.sort_unstable();
        features.dedup();
        let mut os = self.os.clone();
        if !self.os_version.is_empty() || !features.is_empty() {
            os.push('(');
            os.push_str(&escape_option(&self.os_version));
            for feature in features {
                os.push('+');
                os.push_str(&escape_option(feature));
            }
            os.push(')');
        }
        f.pad(&self.join(os))
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Platform::parse(text)
    }
}

fn parse(text: &str) -> Result<Platform, String> {
    if text.contains('*') {
        return Err("wildcards are not supported".into());
    }
    let parts: Vec<&str> = text.split('/').collect();
    let (os_part, rest) = parts.split_first().ok_or("it is empty")?;
    let mut platform = parse_os(os_part)?;
    for part in rest {
        if !is_word(part, "_.-") {
            return Err(format!(
                "component {:?} is not made of letters, digits, '_', '.', '-'",
                clip(part)
            ));
        }
    }
    match *rest {
        [] if normalize::is_known_os(&platform.os) => {
            let host = Platform::host();
            platform.architecture = host.architecture;
            // arm without variant means v7 already.
            platform.variant = if host.variant == "v7" { String::new() } else { host.variant };
        }
        [] => {
            set_architecture(&mut platform, os_part, "");
            if !normalize::is_known_architecture(&platform.architecture) {
                return Err("neither an operating system nor an architecture that is known".into());
            }
            platform.os = normalize::HOST_OS.to_owned();
        }
        [architecture] => set_architecture(&mut platform, architecture, ""),
        [architecture, variant] => {
            (platform.architecture, platform.variant) =
                normalize::architecture(architecture, variant);
            // Whoever writes the variant gets it shown again.
            if platform.architecture == "arm64" && platform.variant.is_empty() {
                platform.variant = "v8".to_owned();
            }
        }
        _ => return Err("more than OS/ARCH/VARIANT".into()),
    }
    Ok(platform)
}

/// Without a variant typed, arm stays without (it means v7), while `armel` is v6.
fn set_architecture(platform: &mut Platform, architecture: &str, variant: &str) {
    (platform.architecture, platform.variant) = normalize::architecture(architecture, variant);
    if platform.architecture == "arm" && platform.variant == "v7" {
        platform.variant.clear();
    }
}

/// `NAME` or `NAME(VERSION+FEATURE+…)`; both kinds of option may be missing.
fn parse_os(text: &str) -> Result<Platform, String> {
    let (name, options) = match text.split_once('(') {
        None => (text, None),
        Some((name, rest)) => {
            (name, Some(rest.strip_suffix(')').ok_or("'(' is not closed at the end of the OS")?))
        }
    };
    if !is_word(name, "_-") {
        return Err(format!("component {:?} is not made of letters, digits, '_', '-'", clip(name)));
    }
    let mut platform = Platform { os: normalize::os(name), ..Platform::default() };
    let mut options = options.unwrap_or_default().split('+');
    platform.os_version = unescape_option(options.next().unwrap_or_default())?;
    for feature in options {
        if feature.is_empty() {
            return Err("an empty feature of the OS".into());
        }
        platform.os_features.push(unescape_option(feature)?);
    }
    Ok(platform)
}

fn is_word(text: &str, extra: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
}

/// Characters with a meaning in platform texts, percent-encoded.
fn escape_option(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '%' => escaped.push_str("%25"),
            '+' => escaped.push_str("%2B"),
            '(' => escaped.push_str("%28"),
            ')' => escaped.push_str("%29"),
            '/' => escaped.push_str("%2F"),
            _ => escaped.push(c),
        }
    }
    escaped
}

fn unescape_option(text: &str) -> Result<String, String> {
    if !text.is_empty() && !is_word(text, "_.%-") {
        return Err(format!("{:?} is no version or feature of an OS", clip(text)));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
        let value = digit().zip(digit()).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
        bytes.push(value.ok_or("'%' is not followed by two hex digits")?);
    }
    String::from_utf8(bytes).map_err(|_| "an option of the OS is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests;
