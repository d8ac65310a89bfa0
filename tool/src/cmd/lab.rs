//! `cargo xenios lab`: a shell, or one command, in dom0.

use crate::cli;
use nix::sys::termios::{self, SetArg, Termios};
use qemu_xen_tests::xl::single_quote;
use qemu_xen_tests::{Cache, Context, Error, Lab, Progress, Result, pieces};
use std::io::{IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A command may run for a day.
const COMMAND_LIMIT: Duration = Duration::from_secs(86_400);

/// dom0 prints this when the shell has ended.
const END: &[u8] = b"\x1b]xenios-end\x07";

/// The verb.
pub fn run(options: &cli::Lab) -> Result<u8> {
    let progress = Progress::new();
    if options.refresh {
        let cache = Cache::open()?;
        pieces::QEMU.forget(&cache);
        pieces::DOM0.forget(&cache);
    }
    let interactive = options.command.is_empty();
    if interactive && !(std::io::stdin().is_terminal() && std::io::stdout().is_terminal()) {
        return Err(Error::new("a shell in dom0 needs a terminal")
            .help("run one command instead: cargo xenios lab -- xl list"));
    }
    let lab = Lab::boot(&options.machine.lab_options(), &progress)?;
    drop(progress);
    if interactive {
        eprintln!("This is dom0. /share is {}; `exit` ends the lab.", lab.share().display());
        return shell(&lab).map(|()| 0);
    }
    let command = match options.command.as_slice() {
        [one] => one.clone(),
        words => words.iter().map(|word| single_quote(word)).collect::<Vec<_>>().join(" "),
    };
    let output = lab.sh(&command, COMMAND_LIMIT)?;
    let print = |mut out: Box<dyn Write>, bytes: &[u8]| out.write_all(bytes);
    print(Box::new(std::io::stdout()), &output.stdout).doing(|| "print the output".into())?;
    print(Box::new(std::io::stderr()), &output.stderr).doing(|| "print the output".into())?;
    Ok(u8::try_from(output.status).unwrap_or(1))
}

/// Connects the terminal with a shell in dom0 until that ends.
fn shell(lab: &Lab) -> Result<()> {
    let doing = || "talk to dom0's shell".to_string();
    let mut port = UnixStream::connect(lab.shell_socket()).doing(doing)?;
    let (rows, columns) = size();
    let term = std::env::var("TERM").unwrap_or_else(|_| "linux".into());
    port.write_all(format!("{rows} {columns} {term}\n").as_bytes()).doing(doing)?;
    let _raw = Raw::enter()?;
    let mut keys = port.try_clone().doing(doing)?;
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        let mut stdin = std::io::stdin();
        while let Ok(count @ 1..) = stdin.read(&mut buffer) {
            if keys.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
    });
    let mut out = std::io::stdout();
    let mut pending = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = port.read(&mut buffer).doing(doing)?;
        if count == 0 {
            return Err(Error::new("the lab has ended"));
        }
        pending.extend_from_slice(&buffer[..count]);
        let (print, ended) = split_at_end(&pending);
        out.write_all(&pending[..print]).and_then(|()| out.flush()).doing(doing)?;
        if ended {
            return Ok(());
        }
        pending.drain(..print);
    }
}

/// How many bytes are the shell's for sure, and whether the mark of its end follows them.
fn split_at_end(bytes: &[u8]) -> (usize, bool) {
    if let Some(at) = bytes.windows(END.len()).position(|window| window == END) {
        return (at, true);
    }
    // The beginning of the mark may be at the end of what has come so far.
    let begun = (1..END.len()).rev().find(|count| bytes.ends_with(&END[..*count])).unwrap_or(0);
    (bytes.len() - begun, false)
}

/// The terminal's rows and columns, as `stty` sees them.
fn size() -> (u32, u32) {
    let output = std::process::Command::new("stty")
        .arg("size")
        .stdin(std::process::Stdio::inherit())
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let numbers = text.ok().and_then(|text| {
        let (rows, columns) = text.trim().split_once(' ')?;
        Some((rows.parse().ok()?, columns.parse().ok()?))
    });
    numbers.unwrap_or((24, 80))
}

/// The terminal without echo, line editing and signals, until this is dropped.
struct Raw {
    before: Termios,
}

impl Raw {
    fn enter() -> Result<Self> {
        let doing = || "set up the terminal".to_string();
        let before = termios::tcgetattr(std::io::stdin()).doing(doing)?;
        let mut raw = before.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &raw).doing(doing)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // If the terminal is gone, nobody needs it restored.
        let _ = termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_end_in_pieces() {
        assert_eq!(split_at_end(b"abc"), (3, false));
        assert_eq!(split_at_end(b"abc\x1b]xen"), (3, false));
        assert_eq!(split_at_end(b"abc\x1b]xenios-end\x07"), (3, true));
        assert_eq!(split_at_end(b"\x1b[0m"), (4, false));
    }
}
