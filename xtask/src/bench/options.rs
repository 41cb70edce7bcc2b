//! What was asked for.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

const USAGE: &str = "usage: cargo xtask bench [SCENARIO…] [--peer SOCKET|auto] [--quick] [--json] \
    [--pairs N] [--images DIR] [--lamina PROGRAM] [--programs DIR]";

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Options {
    /// Empty for all.
    pub(crate) scenarios: Vec<String>,
    /// The socket of a containerd that runs already; its processor time and memory are not known.
    pub(crate) peer: Option<PathBuf>,
    /// A tenth of everything.
    pub(crate) quick: bool,
    pub(crate) json: bool,
    /// How many pairs; each scenario has its own number otherwise.
    pub(crate) pairs: Option<usize>,
    /// Where images are kept for the next run. They go with the run otherwise.
    pub(crate) images: Option<PathBuf>,
    /// Measured instead of the one that is built.
    pub(crate) lamina: Option<PathBuf>,
    /// Where `lamina`, `bench_data` and `bench_load` of an earlier build are; nothing is built then.
    pub(crate) programs: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(args: &[String]) -> Result<Options> {
        let mut options = Options::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value; {USAGE}"));
            match arg.as_str() {
                "--quick" => options.quick = true,
                "--json" => options.json = true,
                "--peer" => options.peer = Some(value()?.into()).filter(|it| it != "auto"),
                "--pairs" => {
                    let pairs = value()?.parse().ok().filter(|pairs| *pairs > 0);
                    options.pairs = Some(pairs.context("--pairs takes a number above 0")?);
                }
                "--images" => options.images = Some(value()?.into()),
                "--programs" => options.programs = Some(value()?.into()),
                "--lamina" => options.lamina = Some(value()?.into()),
                _ if arg.starts_with('-') => bail!("cannot make sense of {arg}; {USAGE}"),
                _ => options.scenarios.push(arg.clone()),
            }
        }
        Ok(options)
    }

    /// Of the full sizes.
    pub(crate) fn percent(&self) -> u64 {
        if self.quick { 10 } else { 100 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        Options::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_stand_anywhere() {
        let options = parse("pull-big --quick --peer /run/c.sock gc --pairs 2").unwrap();
        assert_eq!(options.scenarios, ["pull-big", "gc"]);
        assert_eq!(options.peer, Some("/run/c.sock".into()));
        assert_eq!((options.quick, options.pairs, options.percent()), (true, Some(2), 10));
        assert_eq!(parse("--peer auto").unwrap(), Options::default());
        for bad in ["--pairs 0", "--pairs", "--fast"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
