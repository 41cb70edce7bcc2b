//! `hosts.toml`: which hosts serve a registry's images, in containerd's format.
//!
//! Pure parsing: paths are resolved against the file's directory but not opened. What containerd
//! would drop silently, an unknown key, is returned as a warning. A file that cannot be understood is
//! an error: falling back to the registry itself would go around a mirror that was meant to be used.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::{Table, Value};
use url::Url;

/// What a `hosts.toml` says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HostsFile {
    /// The hosts in the order to try them; the registry's own server is the last.
    pub hosts: Vec<HostEntry>,
    /// Keys that are not known, and settings without effect.
    pub warnings: Vec<String>,
}

/// One host.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HostEntry {
    /// Its address with the whole path of its API; `None` for the registry itself.
    pub url: Option<Url>,
    /// What it may be used for.
    pub capabilities: Capabilities,
    /// Files of certificate authorities.
    pub ca: Vec<PathBuf>,
    /// Client certificates with their keys; `None` when the key is in the same file.
    pub client: Vec<(PathBuf, Option<PathBuf>)>,
    /// Headers to send to it.
    pub headers: Vec<(String, String)>,
    /// Whether its certificate is not checked; `None` when the file does not say.
    pub skip_verify: Option<bool>,
    /// How long connecting may take.
    pub dial_timeout: Option<Duration>,
}

/// What a host may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Manifests and blobs by digest.
    pub pull: bool,
    /// Tags to digests: only for hosts trusted to tell the truth about them.
    pub resolve: bool,
    /// Uploads.
    pub push: bool,
    /// The referrers API.
    pub referrers: bool,
}

impl Capabilities {
    const NONE: Capabilities =
        Capabilities { pull: false, resolve: false, push: false, referrers: false };
}

impl Default for Capabilities {
    /// All, as containerd has it when nothing is said.
    fn default() -> Self {
        Capabilities { pull: true, resolve: true, push: true, referrers: true }
    }
}

/// Parses the text of a `hosts.toml` that lies in `dir`.
///
/// # Errors
/// What is wrong and at which key, without the file's name.
pub fn parse(text: &str, dir: &Path) -> Result<HostsFile, String> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        format!("not TOML: {}", error.to_string().trim().replace('\n', " "))
    })?;
    let mut file = HostsFile::default();
    let mut server = HostEntry::default();
    for (key, value) in &table {
        match key.as_str() {
            "server" => {}
            "host" => {
                let hosts = value.as_table().ok_or("host: a table is expected")?;
                for (address, settings) in hosts {
                    let at = format!("host.{address:?}");
                    let settings =
                        settings.as_table().ok_or(format!("{at}: a table is expected"))?;
                    file.hosts.push(host(address, settings, &at, dir, &mut file.warnings)?);
                }
            }
            _ => setting(&mut server, key, value, "", dir, &mut file.warnings)?,
        }
    }
    let override_path = flag(&table, "override_path")?;
    match table.get("server") {
        None => {}
        Some(Value::String(address)) if address.is_empty() => {}
        Some(Value::String(address)) => {
            server.url = Some(url(address, override_path).map_err(|e| format!("server: {e}"))?);
        }
        Some(_) => return Err("server: a text is expected".into()),
    }
    if server.url.is_none() && table.contains_key("capabilities") {
        // containerd replaces them by all, too.
        server.capabilities = Capabilities::default();
        file.warnings.push("capabilities: no effect without server".into());
    }
    file.hosts.push(server);
    Ok(file)
}

fn host(
    address: &str,
    settings: &Table,
    at: &str,
    dir: &Path,
    warnings: &mut Vec<String>,
) -> Result<HostEntry, String> {
    let mut entry = HostEntry::default();
    for (key, value) in settings {
        setting(&mut entry, key, value, &format!("{at}."), dir, warnings)?;
    }
    let override_path = flag(settings, "override_path")?;
    entry.url = Some(url(address, override_path).map_err(|error| format!("{at}: {error}"))?);
    Ok(entry)
}

/// Takes one key into `entry`; `at` is what stands before the key in messages.
fn setting(
    entry: &mut HostEntry,
    key: &str,
    value: &Value,
    at: &str,
    dir: &Path,
    warnings: &mut Vec<String>,
) -> Result<(), String> {
    let fail = |what: &str| Err(format!("{at}{key}: {what}"));
    match key {
        "capabilities" => match texts(value) {
            // An empty list says nothing, as in containerd.
            Some(names) if names.is_empty() => {}
            Some(names) => {
                entry.capabilities = Capabilities::NONE;
                for name in names {
                    match name.to_ascii_lowercase().as_str() {
                        "pull" => entry.capabilities.pull = true,
                        "resolve" => entry.capabilities.resolve = true,
                        "push" => entry.capabilities.push = true,
                        "referrers" => entry.capabilities.referrers = true,
                        _ => return fail(&format!("unknown capability {name:?}")),
                    }
                }
            }
            None => return fail("a list of texts is expected"),
        },
        "ca" => match one_or_more(value) {
            Some(files) => entry.ca = files.into_iter().map(|file| dir.join(file)).collect(),
            None => return fail("a text or a list of texts is expected"),
        },
        "client" => match client(value, dir) {
            Some(pairs) => entry.client = pairs,
            None => {
                return fail(
                    "a text, a list of texts, or a list of lists of a certificate and a key is \
                     expected",
                );
            }
        },
        "header" => {
            let Some(headers) = value.as_table() else { return fail("a table is expected") };
            for (name, value) in headers {
                let Some(values) = one_or_more(value) else {
                    return fail(&format!("{name}: a text or a list of texts is expected"));
                };
                entry.headers.extend(values.iter().map(|v| (name.clone(), (*v).to_owned())));
            }
        }
        "skip_verify" => match value.as_bool() {
            Some(skip) => entry.skip_verify = Some(skip),
            None => return fail("true or false is expected"),
        },
        "override_path" => {}
        "dial_timeout" => match value.as_str().and_then(duration) {
            Some(time) => entry.dial_timeout = (!time.is_zero()).then_some(time),
            None => return fail("a duration like \"3s\" is expected"),
        },
        _ => warnings.push(format!("{at}{key}: not known, ignored")),
    }
    Ok(())
}

fn flag(table: &Table, key: &str) -> Result<bool, String> {
    match table.get(key) {
        None => Ok(false),
        Some(value) => value.as_bool().ok_or(format!("{key}: true or false is expected")),
    }
}

/// An address as a URL: `https` if it names no scheme, `/v2` appended unless the path is overridden
/// or ends so already.
fn url(address: &str, override_path: bool) -> Result<Url, String> {
    let whole =
        if address.contains("://") { address.to_owned() } else { format!("https://{address}") };
    let mut url = Url::parse(&whole).map_err(|error| format!("not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{}:// is neither https nor http", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a user does not belong here".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a query or fragment does not belong here".into());
    }
    let path = url.path().trim_end_matches('/').to_owned();
    let path = if override_path || path.ends_with("/v2") { path } else { format!("{path}/v2") };
    url.set_path(&path);
    Ok(url)
}

fn texts(value: &Value) -> Option<Vec<&str>> {
    value.as_array()?.iter().map(Value::as_str).collect()
}

fn one_or_more(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        _ => texts(value),
    }
}

/// `"a.pem"`, `["a.pem", "b.pem"]` (each with certificate and key) or
/// `[["a.cert", "a.key"], ["b.pem", ""]]`.
fn client(value: &Value, dir: &Path) -> Option<Vec<(PathBuf, Option<PathBuf>)>> {
    let pair = |value: &Value| match value {
        Value::String(file) => Some((dir.join(file), None)),
        Value::Array(_) => match texts(value)?.as_slice() {
            [file] | [file, ""] => Some((dir.join(file), None)),
            [cert, key] => Some((dir.join(cert), Some(dir.join(key)))),
            _ => None,
        },
        _ => None,
    };
    match value {
        Value::Array(list) => list.iter().map(pair).collect(),
        one => Some(vec![pair(one)?]),
    }
}

/// A duration as Go writes it: `3s`, `1m30s`, `1.5h`, `250ms`, `0`.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = total.checked_add(part)?;
        rest = after;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    fn read(text: &str) -> Result<HostsFile, String> {
        parse(text, Path::new("/etc/hosts.d/x"))
    }

    #[test]
    fn every_setting_is_read_and_order_kept() {
        let file = read(
            r#"
server = "https://registry-1.docker.io"
skip_verify = false

[host."https://z.example"]
  capabilities = ["pull", "Resolve"]
  ca = "z.crt"
  dial_timeout = "1m1.5s"
[host."http://10.0.0.1:5000/prefix/"]
  capabilities = ["pull"]
  ca = ["/abs/a.crt", "b.crt"]
  client = [["c.cert", "c.key"], ["d.pem", ""], ["e.pem"]]
  skip_verify = true
  override_path = true
  [host."http://10.0.0.1:5000/prefix/".header]
    x-one = "1"
    x-more = ["2", "3"]
[host."a.example/v2"]
  client = "c.pem"
"#,
        )
        .unwrap();
        assert_eq!(file.warnings, [""; 0]);
        let urls: Vec<_> = file.hosts.iter().map(|h| h.url.as_ref().unwrap().as_str()).collect();
        assert_eq!(
            urls,
            [
                "https://z.example/v2",
                "http://10.0.0.1:5000/prefix",
                "https://a.example/v2",
                "https://registry-1.docker.io/v2",
            ]
        );
        let [z, ten, a, server] = &file.hosts[..] else { panic!("{file:?}") };
        let path = |name: &str| PathBuf::from("/etc/hosts.d/x").join(name);
        assert_eq!(
            z.capabilities,
            Capabilities { pull: true, resolve: true, ..Capabilities::NONE }
        );
        assert_eq!(z.ca, [path("z.crt")]);
        assert_eq!(z.dial_timeout, Some(Duration::from_millis(61_500)));
        assert_eq!(ten.ca, [PathBuf::from("/abs/a.crt"), path("b.crt")]);
        assert_eq!(
            ten.client,
            [(path("c.cert"), Some(path("c.key"))), (path("d.pem"), None), (path("e.pem"), None),]
        );
        let header = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        assert_eq!(
            ten.headers,
            [header("x-one", "1"), header("x-more", "2"), header("x-more", "3")]
        );
        assert_eq!(
            (z.skip_verify, ten.skip_verify, server.skip_verify),
            (None, Some(true), Some(false))
        );
        assert_eq!(a.client, [(path("c.pem"), None)]);
        assert_eq!(a.capabilities, Capabilities::default());
    }

    #[test]
    fn the_registry_itself_is_last_and_settings_without_server_are_its_own() {
        let file = read("ca = \"x\"\ncapabilities = [\"push\"]").unwrap();
        assert_eq!(file.hosts.len(), 1);
        assert_eq!((&file.hosts[0].url, file.hosts[0].ca.len()), (&None, 1));
        assert_eq!(file.hosts[0].capabilities, Capabilities::default());
        assert_eq!(file.warnings, ["capabilities: no effect without server"]);
        assert_eq!(read("").unwrap().hosts, [HostEntry::default()]);
    }

    #[test]
    fn unknown_keys_are_warnings() {
        let file = read("sever = \"x\"\n[host.\"https://a\"]\ncapabilites = [\"pull\"]").unwrap();
        assert_eq!(
            file.warnings,
            ["sever: not known, ignored", "host.\"https://a\".capabilites: not known, ignored",]
        );
    }

    #[test]
    fn what_makes_no_sense_is_an_error_at_its_key() {
        for (text, says) in [
            ("server =", "not TOML"),
            ("server = 1", "server: a text"),
            ("server = \"ftp://x\"", "server: ftp:// is neither"),
            ("server = \"https://u:p@x\"", "a user does not belong"),
            ("server = \"https://x/?a=b\"", "query"),
            ("host = 1", "host: a table"),
            ("[host]\n\"https://a\" = 1", "host.\"https://a\": a table"),
            ("[host.\"https://a\"]\ncapabilities = [\"pul\"]", "unknown capability \"pul\""),
            ("[host.\"https://a\"]\nca = 1", "host.\"https://a\".ca: "),
            ("client = [[\"a\", \"b\", \"c\"]]", "client: "),
            ("skip_verify = \"yes\"", "skip_verify: true or false"),
            ("override_path = 1", "override_path: true or false"),
            ("dial_timeout = \"3\"", "dial_timeout: a duration"),
            ("[header]\nx = 1", "header: x: "),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn durations_are_gos() {
        for (text, millis) in
            [("3s", 3000), ("1m30s", 90_000), ("1.5h", 5_400_000), ("250ms", 250), ("0", 0)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "3", "s", "-1s", "3 s", "1d", "..s", "9e9h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    const CHANGED: &str = r#"server = "https://[::1]:5000/v2"
[host."https://a.example:443/x/"]
  capabilities = ["pull", "resolve"]
  ca = ["/a.crt", "b.crt"]
  client = [["c.cert", "c.key"], ["d.pem", ""]]
  dial_timeout = "1h1m1.5s"
  skip_verify = true
  override_path = true
  [host."https://a.example:443/x/".header]
    x-a = ["1", "2"]
    x-b = "3"
"#;

    #[test]
    fn the_file_to_change_is_read_as_it_is() {
        read(CHANGED).unwrap();
    }

    proptest! {
        // The same in every run; more cases are other ones.
        #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(20), ..ProptestConfig::default() })]

        #[test]
        fn no_input_panics(text in "\\PC{0,120}") {
            let _ = read(&text);
            let _ = duration(&text);
        }

        #[test]
        fn no_address_or_value_panics(address in "[a-z:/\\[\\]@.0-9?#%]{0,24}", value in "[a-z0-9.\"\\[\\]]{0,16}") {
            let _ = read(&format!("[host.\"{address}\"]\nclient = {value}\ndial_timeout = {value}"));
        }

        #[test]
        fn changed_files_are_read_or_refused(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in prop::option::of(any::<prop::sample::Index>()),
        ) {
            let mut text = CHANGED.as_bytes().to_vec();
            for (place, byte) in changes {
                text[place.index(CHANGED.len())] = byte;
            }
            if let Some(cut) = cut {
                text.truncate(cut.index(CHANGED.len()));
            }
            let _ = read(&String::from_utf8_lossy(&text));
        }
    }
}
