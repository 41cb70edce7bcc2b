//! Variables: as they are asked for, and as a program gets them.

use lamina_core::oci::ExecConfig;
use lamina_core::{Error, Result};

use super::{Options, User, clip};

/// The search path of an image that has none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What one `--env NAME[=value]` means, as an entry for [`Options::env`]. A name alone takes the
/// value that `lookup` has for it, and means nothing if there is none.
///
/// # Errors
/// InvalidArgument for a name that is empty, and for a NUL.
pub fn variable(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<Option<String>> {
    let entry = match text.contains('=') {
        true => Some(text.to_owned()),
        false => lookup(text).map(|value| format!("{text}={value}")),
    };
    check(entry.as_deref().unwrap_or(text), text.contains('=') || entry.is_some())?;
    Ok(entry)
}

/// What an `--env-file` means: [`variable`] for each line. Spaces before a name are passed over, and
/// so are empty lines and those that begin with `#`. Values are taken as they are: no quotes.
///
/// # Errors
/// InvalidArgument that names the line, also for a name with spaces in it.
pub fn file(text: &str, lookup: impl Fn(&str) -> Option<String>) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let in_line = |error: Error| error.context(format!("line {} of variables", index + 1));
        let name = line.split('=').next().unwrap_or_default();
        if name.contains(char::is_whitespace) {
            let message = format!("the name {:?} has a space in it", clip(name));
            return Err(in_line(Error::invalid_argument(message)));
        }
        found.extend(variable(line, &lookup).map_err(in_line)?);
    }
    Ok(found)
}

/// All variables of a program. Of two with one name the later counts: the image's, the user's.
/// PATH, HOME, TERM (with a terminal) and HOSTNAME are added where nobody set them.
pub(super) fn of_process(
    config: &ExecConfig,
    user: &User,
    options: &Options,
    hostname: Option<&str>,
) -> Result<Vec<String>> {
    let mut env: Vec<&str> = Vec::new();
    for entry in config.env.iter().chain(&options.env) {
        check(entry, true)?;
        match env.iter_mut().find(|known| name(known) == name(entry)) {
            Some(known) => *known = entry,
            None => env.push(entry),
        }
    }
    let mut env: Vec<String> = env.into_iter().map(str::to_owned).collect();
    let home = format!("HOME={}", user.home.as_deref().unwrap_or("/"));
    let hostname = hostname.map(|hostname| format!("HOSTNAME={hostname}"));
    let term = options.terminal.then(|| "TERM=xterm".to_owned());
    let defaults = [Some(PATH.to_owned()), hostname, term, Some(home)];
    for default in defaults.into_iter().flatten() {
        if !env.iter().any(|known| name(known) == name(&default)) {
            env.push(default);
        }
    }
    Ok(env)
}

fn name(entry: &str) -> &str {
    entry.split('=').next().unwrap_or_default()
}

/// A runtime refuses what this does, but later and in fewer words.
fn check(entry: &str, assigned: bool) -> Result<()> {
    let refused = |why: &str| {
        let message = format!("the variable {:?} {why}", clip(entry));
        Err(Error::invalid_argument(message))
    };
    if name(entry).is_empty() {
        return refused("has no name");
    }
    if entry.contains('\0') {
        return refused("has a NUL in it");
    }
    if assigned && !entry.contains('=') {
        return refused("has no value");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        (name == "KNOWN").then(|| "from=outside".to_owned())
    }

    #[test]
    fn names_alone_are_looked_up() {
        let meaning = |text: &str| variable(text, lookup).unwrap();
        assert_eq!(meaning("A=b=c"), Some("A=b=c".to_owned()));
        assert_eq!(meaning("A="), Some("A=".to_owned()));
        assert_eq!(meaning("KNOWN"), Some("KNOWN=from=outside".to_owned()));
        assert_eq!(meaning("UNKNOWN"), None);
        for bad in ["", "=x", "A=\0", "A\0"] {
            assert!(variable(bad, lookup).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn files() {
        let text = "\u{feff}A=1\n\n# B=2\n  C = 'quoted' \r\nKNOWN\nUNKNOWN\nD=";
        let error = file(text, lookup).unwrap_err();
        assert_eq!(error.chain(), "line 4 of variables: the name \"C \" has a space in it");
        let text = text.replace("C =", "C=");
        let found = file(&text, lookup).unwrap();
        assert_eq!(found, ["A=1", "C= 'quoted' ", "KNOWN=from=outside", "D="]);
    }

    fn env(image: &[&str], user: &[&str], terminal: bool) -> Result<Vec<String>> {
        let strings = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        let config = ExecConfig { env: strings(image), ..ExecConfig::default() };
        let options = Options { env: strings(user), terminal, ..Options::default() };
        let home = Some("/home/u".to_owned());
        of_process(&config, &User { home, ..User::default() }, &options, Some("box"))
    }

    #[test]
    fn the_later_counts_and_defaults_fill_in() {
        assert_eq!(env(&[], &[], false).unwrap(), [PATH, "HOSTNAME=box", "HOME=/home/u"]);
        assert_eq!(
            env(&["A=1", "PATH=/p", "A=2", "AB=3"], &["AB=4", "C=5"], true).unwrap(),
            ["A=2", "PATH=/p", "AB=4", "C=5", "HOSTNAME=box", "TERM=xterm", "HOME=/home/u"]
        );
        let set = ["PATH=", "HOSTNAME=h", "TERM=vt100", "HOME=/x"];
        assert_eq!(env(&set[..2], &set[2..], true).unwrap(), set);
    }

    #[test]
    fn an_image_with_half_a_variable_is_told_so() {
        for (bad, message) in [
            ("NAME", "the variable \"NAME\" has no value"),
            ("=value", "the variable \"=value\" has no name"),
            ("A=\0", "the variable \"A=\\0\" has a NUL in it"),
        ] {
            assert_eq!(env(&[bad], &[], false).unwrap_err().message(), message);
        }
    }
}
