//! The program: what is run, as whom, where, with what.

use lamina_core::oci::ExecConfig;
use lamina_core::{Error, Result};
use serde_json::{Value, json};

use super::limits::Ulimit;
use super::{Options, User, clip, env, mount};

pub(super) fn of(
    config: &ExecConfig,
    user: &User,
    options: &Options,
    hostname: Option<&str>,
    capabilities: &[&str],
) -> Result<Value> {
    Ok(json!({
        "terminal": options.terminal,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": user.groups},
        "args": args(config, options)?,
        "env": env::of_process(config, user, options, hostname)?,
        "cwd": cwd(config, options)?,
        // None are inheritable (CVE-2022-24769): a program with file capabilities would gain them.
        "capabilities": {
            "bounding": capabilities,
            "effective": capabilities,
            "permitted": capabilities,
        },
        "rlimits": rlimits(options),
        "noNewPrivileges": !options.new_privileges && options.privileged.is_none(),
    }))
}

/// containerd's, and what was asked for; of two for one thing the later counts.
fn rlimits(options: &Options) -> Vec<Value> {
    let mut limits = vec![("RLIMIT_NOFILE", 1024, 1024)];
    for Ulimit { kind, soft, hard } in &options.ulimits {
        limits.retain(|(known, ..)| known != kind);
        limits.push((kind, *soft, *hard));
    }
    let limits = limits.into_iter();
    limits.map(|(kind, soft, hard)| json!({"type": kind, "soft": soft, "hard": hard})).collect()
}

fn args(config: &ExecConfig, options: &Options) -> Result<Vec<String>> {
    let (entrypoint, cmd) = match &options.entrypoint {
        Some(entrypoint) => (entrypoint, &options.args),
        None if options.args.is_empty() => (&config.entrypoint, &config.cmd),
        None => (&config.entrypoint, &options.args),
    };
    let args: Vec<String> = entrypoint.iter().chain(cmd).cloned().collect();
    if args.first().is_none_or(String::is_empty) {
        return Err(Error::invalid_argument("no command: the image has none, and none was given"));
    }
    if let Some(bad) = args.iter().find(|arg| arg.contains('\0')) {
        let message = format!("the argument {:?} has a NUL in it", clip(bad));
        return Err(Error::invalid_argument(message));
    }
    Ok(args)
}

/// The image's need not be absolute: Docker takes it from the root.
fn cwd(config: &ExecConfig, options: &Options) -> Result<String> {
    match &options.workdir {
        Some(path) => mount::clean(path)
            .ok_or_else(|| Error::invalid_argument(refused("the working directory", path))),
        None => mount::clean(&format!("/{}", config.working_dir)).ok_or_else(|| {
            Error::invalid_argument(refused("the image's working directory", &config.working_dir))
        }),
    }
}

fn refused(what: &str, path: &str) -> String {
    format!("{what} {:?} is not an absolute path without `..`", clip(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn entry_points_and_commands() {
        type Case<'a> = (&'a [&'a str], &'a [&'a str], Option<&'a [&'a str]>, &'a [&'a str]);
        let cases: [(Case<'_>, &[&str]); 8] = [
            ((&["/e", "-x"], &["c"], None, &[]), &["/e", "-x", "c"]),
            ((&["/e", "-x"], &["c"], None, &["a", "b"]), &["/e", "-x", "a", "b"]),
            ((&[], &["c", "d"], None, &[]), &["c", "d"]),
            ((&[], &["c", "d"], None, &["a"]), &["a"]),
            ((&["/e"], &["c"], Some(&["/f"]), &[]), &["/f"]),
            ((&["/e"], &["c"], Some(&["/f", "1"]), &["a"]), &["/f", "1", "a"]),
            ((&["/e"], &["c"], Some(&[]), &["a"]), &["a"]),
            ((&["/e"], &[""], None, &[]), &["/e", ""]),
        ];
        for ((entrypoint, cmd, replaced, given), expected) in cases {
            let config = ExecConfig {
                entrypoint: strings(entrypoint),
                cmd: strings(cmd),
                ..ExecConfig::default()
            };
            let options = Options {
                args: strings(given),
                entrypoint: replaced.map(strings),
                ..Options::default()
            };
            assert_eq!(args(&config, &options).unwrap(), expected);
        }
    }

    #[test]
    fn nothing_to_run() {
        let run = |cmd: &[&str], options: &Options| {
            let config = ExecConfig { cmd: strings(cmd), ..ExecConfig::default() };
            args(&config, options).map_err(|error| error.to_string())
        };
        let none = "no command: the image has none, and none was given".to_owned();
        assert_eq!(run(&[], &Options::default()), Err(none.clone()));
        assert_eq!(run(&["", "x"], &Options::default()), Err(none.clone()));
        let cleared = Options { entrypoint: Some(Vec::new()), ..Options::default() };
        assert_eq!(run(&["sh"], &cleared), Err(none));
        assert!(run(&["a\0b"], &Options::default()).unwrap_err().contains("NUL"));
    }

    #[test]
    fn working_directories() {
        let of = |image: &str, given: Option<&str>| {
            let config = ExecConfig { working_dir: image.to_owned(), ..ExecConfig::default() };
            let workdir = given.map(str::to_owned);
            cwd(&config, &Options { workdir, ..Options::default() }).ok()
        };
        let some = |path: &str| Some(path.to_owned());
        assert_eq!(of("", None), some("/"));
        assert_eq!(of("/srv//app/./", None), some("/srv/app"));
        assert_eq!(of("app", None), some("/app"));
        assert_eq!(of("/srv", Some("/tmp")), some("/tmp"));
        assert_eq!(of("/srv", Some("tmp")), None);
        assert_eq!(of("/srv/../..", None), None);
        assert_eq!(of("/a\0", None), None);
    }
}
