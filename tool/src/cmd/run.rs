//! `cargo xenios run`: an app as a guest in the lab, with its console on the terminal.

use super::build;
use crate::cli;
use crate::symbols::Symbols;
use qemu_xen_tests::lab::{Domain, Ended, Follow};
use qemu_xen_tests::runner::EXIT_STATUS;
use qemu_xen_tests::xl::{Config, boot_line};
use qemu_xen_tests::{Context, Error, Lab, LabOptions, Progress, Result};
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// The exit status for a guest that crashed.
const CRASHED: u8 = 101;
/// The exit status for a guest that was ended by the time limit.
const OUT_OF_TIME: u8 = 124;
/// How long the console may lag behind the guest's end.
const LAG: Duration = Duration::from_millis(1500);
/// How long an unfinished line waits for its end before it is shown.
const PATIENCE: Duration = Duration::from_millis(60);

/// The verb.
pub fn run(options: &cli::Run) -> Result<u8> {
    let built = build::build(&options.app, &options.profile)?;
    let progress = Progress::new();
    let lab_options = LabOptions {
        console_log: Some(built.app.output_directory().join("lab.log")),
        ..options.machine.lab_options()
    }
    .with_room_for(options.memory);
    let lab = Lab::boot(&lab_options, &progress)?;
    let kernel = lab.send(&built.image, &format!("{}.xen", built.app.name))?;
    let mut config = Config::new(&built.app.name, &kernel, options.memory).preserved();
    config.vcpus = options.vcpus;
    config.cmdline = boot_line(&options.words)?;
    config.more.clone_from(&options.config);
    if let Some(ramdisk) = &options.ramdisk {
        config.ramdisk = Some(lab.send(ramdisk, "ramdisk")?);
    }
    drop(progress);
    let limit = options.time_limit.map(Duration::from_secs);
    let console = Console::new(&lab, &config.name, Symbols::of(&built.debug));
    let end = converse(&lab, &config, console, limit)?;
    status(&end, &options.app)
}

/// How a run came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct End {
    /// The status that the guest printed.
    printed: Option<u8>,
    /// How the domain ended; `None` when it was out of time.
    ended: Option<Ended>,
}

/// Creates the domain and carries its console until it ends.
fn converse(
    lab: &Lab,
    config: &Config,
    mut console: Console,
    limit: Option<Duration>,
) -> Result<End> {
    let domain = Domain { name: config.name.clone(), config: String::new() };
    let mut watch = lab.end_watch(&domain);
    std::thread::scope(|scope| {
        let creation = scope.spawn(|| lab.create(config));
        let mut created = false;
        let mut creation = Some(creation);
        let mut until = None;
        let mut turns = 0_u32;
        let end = loop {
            console.carry()?;
            if let Some(done) = creation.take_if(|creation| creation.is_finished()) {
                done.join().map_err(|_| Error::new("xl create failed"))??;
                created = true;
                until = limit.map(|limit| Instant::now() + limit);
                // Not scoped: reading the keyboard cannot be interrupted.
                type_in_background(lab, &domain)?;
            }
            if created && let Some(ended) = watch.ended() {
                break Some(ended);
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                lab.destroy(&domain)?;
                break None;
            }
            turns += 1;
            if turns.is_multiple_of(100) {
                lab.check()?;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        console.finish()?;
        Ok(End { printed: console.status, ended: end })
    })
}

/// Sends what is typed here to the guest's console.
fn type_in_background(lab: &Lab, domain: &Domain) -> Result<()> {
    let mut typist = lab.typist(domain)?;
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        let mut stdin = std::io::stdin();
        while let Ok(count @ 1..) = stdin.read(&mut buffer) {
            if typist.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// The tool's exit status for an end.
fn status(end: &End, app: &str) -> Result<u8> {
    let crashed = |what: String| {
        Err(Error::new(what)
            .help(format!(
                "the console above has the report; target/xenios/{app}/lab.log has what Xen said"
            ))
            .status(CRASHED))
    };
    match (end.ended, end.printed) {
        (None, _) => Err(Error::new(format!("{app} was still running at the time limit"))
            .help("--time-limit gives it more")
            .status(OUT_OF_TIME)),
        (Some(Ended::Shutdown(_) | Ended::Destroyed), Some(status)) => Ok(status),
        (Some(Ended::Shutdown(0)), None) => {
            crashed(format!("{app} powered off without printing its exit status"))
        }
        (Some(Ended::Shutdown(1)), None) => {
            crashed(format!("{app} asked for a reboot, or died of a triple fault"))
        }
        (Some(Ended::Shutdown(3)), None) => crashed(format!("{app} crashed")),
        (Some(Ended::Shutdown(code)), None) => {
            crashed(format!("{app} shut down with reason code {code}"))
        }
        (Some(Ended::Destroyed), None) => crashed(format!("{app} was destroyed")),
    }
}

/// Copies a guest's console to standard output, with addresses explained.
struct Console {
    follow: Follow,
    symbols: Symbols,
    /// The line that has not ended yet, and how much of it is on the screen.
    line: Vec<u8>,
    shown: usize,
    last_growth: Instant,
    status: Option<u8>,
}

impl Console {
    fn new(lab: &Lab, name: &str, symbols: Symbols) -> Self {
        Self {
            follow: Follow::new(&lab.console_log(name)),
            symbols,
            line: Vec::new(),
            shown: 0,
            last_growth: Instant::now(),
            status: None,
        }
    }

    /// Shows what has come since the last call.
    fn carry(&mut self) -> Result<()> {
        let more = self.follow.more();
        let mut out = Vec::new();
        if !more.is_empty() {
            self.last_growth = Instant::now();
        }
        for byte in more {
            if byte == b'\n' {
                self.end_line(&mut out);
            } else {
                self.line.push(byte);
            }
        }
        if self.last_growth.elapsed() >= PATIENCE && self.shown < self.line.len() {
            out.extend_from_slice(&self.line[self.shown..]);
            self.shown = self.line.len();
        }
        print(&out)
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches('\r');
        if let Some(status) = text.strip_prefix(EXIT_STATUS) {
            self.status = status.trim().parse().ok();
        }
        out.extend_from_slice(&line[self.shown..]);
        let explained = self.symbols.explain(text);
        if let Some(place) = explained.strip_prefix(text)
            && !place.is_empty()
        {
            if out.last() == Some(&b'\r') {
                out.pop();
            }
            out.extend_from_slice(place.as_bytes());
        }
        out.push(b'\n');
        self.shown = 0;
    }

    /// Shows the rest after the guest's end: until its status has come, or nothing more comes.
    fn finish(&mut self) -> Result<()> {
        let until = Instant::now() + LAG;
        while self.status.is_none() && Instant::now() < until {
            self.carry()?;
            std::thread::sleep(Duration::from_millis(5));
        }
        self.carry()?;
        if !self.line.is_empty() {
            let mut out = Vec::new();
            self.end_line(&mut out);
            print(&out)?;
        }
        Ok(())
    }
}

fn print(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).doing(|| "print the guest's console".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status_of(printed: Option<u8>, ended: Option<Ended>) -> u8 {
        match status(&End { printed, ended }, "app") {
            Ok(status) => status,
            Err(error) => error.exit_status(),
        }
    }

    #[test]
    fn the_status_is_the_guests() {
        assert_eq!(status_of(Some(0), Some(Ended::Shutdown(0))), 0);
        assert_eq!(status_of(Some(7), Some(Ended::Shutdown(3))), 7);
        assert_eq!(status_of(None, Some(Ended::Shutdown(3))), CRASHED);
        assert_eq!(status_of(None, Some(Ended::Shutdown(0))), CRASHED);
        assert_eq!(status_of(Some(0), None), OUT_OF_TIME);
    }

    #[test]
    fn lines_give_the_status() {
        let mut console = Console {
            follow: Follow::new(std::path::Path::new("/nonexistent")),
            symbols: Symbols::of(std::path::Path::new("/nonexistent")),
            line: b"xenios: exit status 3\r".to_vec(),
            shown: 0,
            last_growth: Instant::now(),
            status: None,
        };
        let mut out = Vec::new();
        console.end_line(&mut out);
        assert_eq!(console.status, Some(3));
        assert_eq!(out, b"xenios: exit status 3\r\n");
    }
}
