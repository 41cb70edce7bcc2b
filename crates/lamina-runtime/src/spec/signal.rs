//! Signals by name and number.

use lamina_core::{Error, Result};

/// Names without `SIG`, at their number less one.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Second names.
const ALIASES: [(&str, u32); 4] = [("IOT", 6), ("CLD", 17), ("POLL", 29), ("UNUSED", 31)];

/// The first real-time signal that programs may use (the C library keeps two), and the last.
const RTMIN: u32 = 34;
const RTMAX: u32 = 64;

/// The number of a signal: 1 to 64, a name with or without `SIG`, in any case, `RTMIN+n` or
/// `RTMAX-n`. Numbers are those of all processors but MIPS, SPARC, Alpha and PA-RISC.
///
/// # Errors
/// InvalidArgument for anything else.
pub fn parse(text: &str) -> Result<u32> {
    number(text)
        .ok_or_else(|| Error::invalid_argument(format!("{:?} is no signal", super::clip(text))))
}

fn number(text: &str) -> Option<u32> {
    if let Some(number) = digits(text) {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(index) = NAMES.iter().position(|known| *known == name) {
        return u32::try_from(index + 1).ok();
    }
    if let Some((_, number)) = ALIASES.iter().find(|(known, _)| *known == name) {
        return Some(*number);
    }
    let span = RTMAX - RTMIN;
    let within = |rest: &str, sign: char| match rest {
        "" => Some(0),
        _ => digits(rest.strip_prefix(sign)?).filter(|offset| *offset <= span),
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return Some(RTMIN + within(rest, '+')?);
    }
    Some(RTMAX - within(name.strip_prefix("RTMAX")?, '-')?)
}

fn digits(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let known = [
            ("SIGTERM", 15),
            ("TERM", 15),
            ("sigterm", 15),
            ("15", 15),
            ("SIGKILL", 9),
            ("sigquit", 3),
            ("WINCH", 28),
            ("SYS", 31),
            ("SIGPOLL", 29),
            ("1", 1),
            ("64", 64),
            ("SIGRTMIN", 34),
            ("RTMIN+3", 37),
            ("SIGRTMIN+30", 64),
            ("SIGRTMAX", 64),
            ("RTMAX-30", 34),
        ];
        for (text, number) in known {
            assert_eq!(parse(text).unwrap(), number, "{text}");
        }
    }

    #[test]
    fn what_is_no_signal() {
        let unknown = [
            "",
            "0",
            "65",
            "-9",
            "+9",
            "4294967305",
            "SIG",
            "SIGSIGTERM",
            "TERM ",
            "RTMIN-1",
            "RTMIN+31",
            "RTMAX+1",
            "RTMAX-31",
            "RTMIN+",
            "RTMIN++1",
            "NOSUCH",
            "9\0",
        ];
        for text in unknown {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
