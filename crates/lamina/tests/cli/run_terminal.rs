//! Containers before somebody's eyes: a terminal, its size, the keys that let go of it, and input.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lamina_testkit::env::skip::require_tool;
use lamina_testkit::or_skip;

use crate::environment::says;
use crate::lab::{Lab, busybox};

/// The binary on a terminal, which is typed at.
struct Terminal {
    child: Child,
    seen: String,
    /// All that was ever seen: what is looked for and the end may come at once.
    all: String,
}

impl Terminal {
    /// Of 33 rows and 77 columns. Its name is told first, and how it is set up in the end.
    fn open(lab: &Lab, args: &[&str]) -> Terminal {
        let lamina = env!("CARGO_BIN_EXE_lamina");
        let words: Vec<String> = lab.args(args).iter().map(|word| format!("'{word}'")).collect();
        let line = format!(
            "stty cols 77 rows 33 echo; tty; {lamina} {}; code=$?; stty -a; exit $code",
            words.join(" ")
        );
        let mut command = Command::new("script");
        let command = lab.env.prepare(&mut command).env("TERM", "xterm");
        let command = command.args(["--quiet", "--return", "--echo", "never", "--command", &line]);
        let command = command.arg("/dev/null").stdin(Stdio::piped()).stdout(Stdio::piped());
        Terminal { child: command.spawn().unwrap(), seen: String::new(), all: String::new() }
    }

    fn type_in(&mut self, text: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(text).unwrap();
    }

    /// Reads until `text` was on the screen; what came since the last time.
    #[track_caller]
    fn see(&mut self, text: &str) -> String {
        let mut block = [0; 4096];
        while !self.seen.contains(text) {
            match self.child.stdout.as_mut().unwrap().read(&mut block).unwrap() {
                0 => panic!("{text:?} did not come, but:\n{}", self.seen),
                read => self.seen.push_str(&String::from_utf8_lossy(&block[..read])),
            }
        }
        self.all.push_str(&self.seen);
        std::mem::take(&mut self.seen)
    }

    /// The exit code, and what came after the last look. The terminal is as it was.
    #[track_caller]
    fn end(mut self) -> (i32, String) {
        let mut rest = Vec::new();
        self.child.stdout.as_mut().unwrap().read_to_end(&mut rest).unwrap();
        let code = self.child.wait().unwrap().code().unwrap();
        self.seen.push_str(&String::from_utf8_lossy(&rest));
        self.all.push_str(&self.seen);
        let set_up = self.all.rsplit("speed ").next().unwrap_or_default();
        let modes: Vec<&str> = set_up.split_whitespace().collect();
        for mode in ["echo", "icanon", "isig", "opost"] {
            assert!(modes.contains(&mode), "{mode:?} is not as it was:\n{}", self.all);
        }
        (code, self.all)
    }
}

/// A shell that says when it is ready, in a text that was not typed.
const SHELL: &str = "echo rea''dy; exec sh";

#[test]
fn privileged_a_terminal_is_the_programs_with_its_size_and_its_exit_code() {
    let name = "privileged_a_terminal_is_the_programs_with_its_size_and_its_exit_code";
    let busybox = or_skip!(name, busybox());
    or_skip!(name, require_tool("script"));
    let lab = Lab::new(&busybox, "tty");
    let image = lab.image();
    lab.ok(&["pull", "--quiet", "--plain-http", &image]);
    let mut terminal =
        Terminal::open(&lab, &["run", "--rm", "-it", "--name", "c", &image, "sh", "-c", SHELL]);
    let device = terminal.see("ready");
    let device =
        device.lines().find(|line| line.starts_with("/dev/pts/")).unwrap().trim().to_owned();
    terminal.type_in(b"stty size; tty\n");
    terminal.see("33 77");

    // The program's terminal follows ours.
    let sized = Command::new("stty").args(["-F", &device, "cols", "90", "rows", "40"]).status();
    assert!(sized.unwrap().success());
    terminal
        .type_in(b"while [ \"$(stty size)\" != '40 90' ]; do sleep 0.1; done; echo fol''lowed\n");
    terminal.see("followed");

    // Keys are the program's: ctrl-c ends what it runs, not us.
    terminal.type_in(b"echo sle''eps; sleep 1000\n");
    terminal.see("sleeps");
    terminal.type_in(b"\x03");
    terminal.type_in(b"echo go''es on; exit 7\n");
    terminal.see("goes on");
    assert_eq!(terminal.end().0, 7);
    lab.assert_clean();

    // One that is killed from elsewhere leaves the terminal as it was.
    let mut terminal =
        Terminal::open(&lab, &["run", "--rm", "-it", "--name", "c", &image, "sh", "-c", SHELL]);
    terminal.see("ready");
    lab.ok(&["kill", "c"]);
    assert_eq!(terminal.end().0, 137);
    lab.assert_clean();
}

#[test]
fn privileged_a_terminal_is_let_go_of_and_returned_to() {
    let name = "privileged_a_terminal_is_let_go_of_and_returned_to";
    let busybox = or_skip!(name, busybox());
    or_skip!(name, require_tool("script"));
    let lab = Lab::new(&busybox, "detach");
    let image = lab.image();
    lab.ok(&["pull", "--quiet", "--plain-http", &image]);
    let mut terminal =
        Terminal::open(&lab, &["run", "-it", "--name", "c", &image, "sh", "-c", SHELL]);
    terminal.see("ready");
    terminal.type_in(b"X=4\n\x10\x11");
    let (code, seen) = terminal.end();
    assert_eq!(code, 0, "{seen}");
    says(&seen, &["lamina attach c"]);
    says(&lab.ok(&["ps"]), &["RUNNING"]);
    let mut terminal = Terminal::open(&lab, &["attach", "--detach-keys", "ctrl-a,d", "c"]);
    terminal.type_in(b"echo $((X+1))$((X+2))\n");
    terminal.see("56");
    terminal.type_in(b"\x01d");
    assert_eq!(terminal.end().0, 0);
    // Another program, which has a terminal of its own.
    let mut terminal = Terminal::open(&lab, &["exec", "-it", "c", "sh", "-c", SHELL]);
    terminal.see("ready");
    terminal.type_in(b"stty size; exit 3\n");
    terminal.see("33 77");
    assert_eq!(terminal.end().0, 3);
    lab.ok(&["rm", "-f", "c"]);
    lab.assert_clean();

    // One that was left running from the start; its screen is in the log, too.
    lab.ok(&["run", "-d", "-it", "--name", "d", &image, "sh", "-c", SHELL]);
    let mut terminal = Terminal::open(&lab, &["attach", "d"]);
    terminal.type_in(b"echo $((5+5))$((6+6)); exit 6\n");
    terminal.see("1012");
    assert_eq!(terminal.end().0, 6);
    says(&lab.ok(&["logs", "d"]), &["ready\r\n", "1012\r\n"]);
    says(&lab.env.fails(&lab.args(&["attach", "d"])), &["\"d\" is stopped"]);
    lab.ok(&["rm", "d"]);
    lab.assert_clean();
}

#[test]
fn privileged_input_is_read_to_its_end() {
    let name = "privileged_input_is_read_to_its_end";
    let busybox = or_skip!(name, busybox());
    let lab = Lab::new(&busybox, "stdin");
    let image = lab.image();
    lab.ok(&["pull", "--quiet", "--plain-http", &image]);
    let input: Vec<u8> = (0..300_000_u32).flat_map(|n| n.to_le_bytes()).collect();
    let file = lab.env.file("input", &input);
    let mut command = lab.env.command(&lab.args(&["run", "--rm", "-i", &image, "cat"]));
    command.stdin(std::fs::File::open(file).unwrap());
    let run = lab.env.finish(command.output().unwrap());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.bytes == input, "{} bytes of {}", run.bytes.len(), input.len());
    // Without -i there is nothing to read.
    let run = lab.env.run_with_input(&lab.args(&["run", "--rm", &image, "cat"]), b"x");
    assert_eq!((run.code, run.stdout.as_str()), (0, ""), "{}", run.stderr);
    // A terminal without input needs none of ours; with input it does.
    let script = "test -t 1 && echo yes";
    let run = lab.env.run(&lab.args(&["run", "--rm", "-t", &image, "sh", "-c", script]));
    assert_eq!((run.code, run.stdout.as_str()), (0, "yes\r\n"), "{}", run.stderr);
    says(&lab.env.fails_with(125, &lab.args(&["run", "-it", &image])), &["no terminal"]);
    lab.assert_clean();

    // Left running, it reads what attaches, and goes on when that leaves.
    let script = "while read line; do echo got $line; done; echo end";
    lab.ok(&["run", "-d", "-i", "--name", "c", &image, "sh", "-c", script]);
    let exec = ["exec", "-i", "-u", "bob", "-e", "A=b", "-w", "/bin", "c", "sh", "-c"];
    let script = "id -u; echo $A; pwd; cat; exit 2";
    let run = lab.env.run_with_input(&lab.args(&[&exec[..], &[script]].concat()), b"all of it");
    assert_eq!((run.code, run.stdout.as_str()), (2, "7\nb\n/bin\nall of it"), "{}", run.stderr);
    let mut command = lab.env.command(&lab.args(&["attach", "c"]));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.as_mut().unwrap().write_all(b"one\n").unwrap();
    wait_for(|| lab.ok(&["logs", "c"]) == "got one\n");
    child.kill().unwrap();
    child.wait().unwrap();
    let run = lab.env.run_with_input(&lab.args(&["attach", "c"]), b"two\n");
    assert_eq!((run.code, run.stdout.as_str()), (0, "got two\nend\n"), "{}", run.stderr);
    assert_eq!(lab.ok(&["logs", "c"]), "got one\ngot two\nend\n");
    lab.ok(&["rm", "c"]);
    lab.assert_clean();
}

#[track_caller]
fn wait_for(mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(90), "it does not come to be");
        std::thread::sleep(Duration::from_millis(100));
    }
}
