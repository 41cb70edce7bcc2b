//! The page about the command line knows every verb.

use crate::environment::TestEnvironment;

/// The page, as far as it is code.
fn examples() -> Vec<String> {
    let page = include_str!("../../../../docs/cli.md");
    let mut inside = false;
    let mut lines = Vec::new();
    for line in page.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if inside {
            lines.push(line.to_owned());
        }
    }
    lines
}

/// Verbs as `--help` lists them, each with its words.
fn verbs(env: &TestEnvironment, words: &[String]) -> Vec<Vec<String>> {
    let help = env.ok(&[words, &["-h".to_owned()]].concat());
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed
        .take_while(|line| !line.is_empty())
        // What is indented deeper goes on with the line before.
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help");
    let mut all = Vec::new();
    for name in names {
        let words = [words, &[name.to_owned()]].concat();
        let below = verbs(env, &words);
        if below.is_empty() {
            all.push(words);
        } else {
            all.extend(below);
        }
    }
    all
}

#[test]
fn every_verb_has_an_example() {
    let env = TestEnvironment::new();
    let verbs = verbs(&env, &[]);
    assert!(verbs.len() > 30, "{verbs:?}");
    let examples = examples();
    for words in verbs {
        let start = format!("lamina {}", words.join(" "));
        let shown = examples.iter().any(|line| {
            line.strip_prefix(&start).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        });
        assert!(shown, "docs/cli.md has no example of `{start}`");
    }
}

#[test]
fn every_example_is_understood() {
    let env = TestEnvironment::new();
    for example in examples().iter().filter(|line| line.starts_with("lamina ")) {
        let command = example.split(" > ").next().unwrap();
        let words = command.split_whitespace().skip(1).map(|word| word.trim_matches('\''));
        // With help asked for nothing is done, but unknown verbs before it are noticed; flags are
        // checked by name.
        let words: Vec<&str> = words.collect();
        let verbs = words.iter().take_while(|word| word.chars().all(|c| c.is_ascii_lowercase()));
        let depth = if [
            "df",
            "events",
            "prune",
            "fsck",
            "info",
            "version",
            "completion",
            "run",
            "ps",
            "exec",
            "kill",
            "stop",
            "commit",
            "rm",
            "logs",
            "attach",
            "pause",
            "unpause",
            "publish",
            "serve",
            "snapshotter",
        ]
        .contains(&words[0])
        {
            1
        } else {
            2
        };
        let verb: Vec<&str> = verbs.take(depth).copied().collect();
        let help = env.ok(&[&verb[..], &["--help"]].concat());
        for flag in words.iter().filter(|word| word.starts_with('-')) {
            // Those of a program in a container.
            if words[0] == "run" && ["-f", "-h", "-c"].contains(flag) {
                continue;
            }
            // Short flags may stand together.
            let short = flag.strip_prefix('-').filter(|letters| !letters.starts_with('-'));
            let known = match short {
                Some(letters) => letters.chars().all(|c| help.contains(&format!("-{c}"))),
                None => help.contains(flag),
            };
            assert!(known, "{example}: no flag {flag}");
        }
    }
}

#[test]
fn the_configuration_shown_is_understood() {
    let env = TestEnvironment::new();
    let page = include_str!("../../../../docs/cli.md");
    let (_, rest) = page.split_once("```toml\n").unwrap();
    let (toml, _) = rest.split_once("```").unwrap();
    env.file("config.toml", toml);
    let run = env.run(&["version"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
}
