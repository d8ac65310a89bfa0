//! Reads a file while it grows. If another takes its name (a log that is rotated), that one is read
//! next, from its beginning.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How often a file is looked at.
const PAUSE: Duration = Duration::from_millis(5);

/// A place in a file that may not exist yet.
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    file: Option<File>,
    rest: Vec<u8>,
}

impl Follow {
    /// Starts at the file's beginning.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), file: None, rest: Vec::new() }
    }

    /// What was added since the last call.
    pub fn more(&mut self) -> Vec<u8> {
        let mut bytes = self.rest_of_file();
        if bytes.is_empty() && (self.file.is_none() || self.is_replaced()) {
            self.file = File::open(&self.path).ok();
            bytes = self.rest_of_file();
        }
        bytes
    }

    fn rest_of_file(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Some(file) = &mut self.file {
            // A file that cannot be read looks like one that does not grow; the caller has a limit.
            let _ = file.read_to_end(&mut bytes);
        }
        bytes
    }

    /// Whether the name belongs to another file by now.
    fn is_replaced(&self) -> bool {
        let opened = self.file.as_ref().and_then(|file| file.metadata().ok());
        let named = std::fs::metadata(&self.path).ok();
        matches!((opened, named), (Some(opened), Some(named)) if opened.ino() != named.ino())
    }

    /// The lines completed since the last call, without their ends.
    pub fn lines(&mut self) -> Vec<String> {
        let more = self.more();
        self.rest.extend(more);
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.rest.split_off(end + 1);
        let whole = std::mem::replace(&mut self.rest, rest);
        let text = String::from_utf8_lossy(&whole[..end]).into_owned();
        text.split('\n').map(|line| line.trim_end_matches('\r').to_string()).collect()
    }

    /// The line that is not complete yet.
    pub fn unfinished(&self) -> String {
        String::from_utf8_lossy(&self.rest).into_owned()
    }

    /// Waits for a line that `wanted` accepts; gives it, or `None` at the time `until`.
    pub fn wait_for(&mut self, until: Instant, wanted: impl Fn(&str) -> bool) -> Option<String> {
        loop {
            // Lines behind the wanted one stay unread only if they come in a later piece.
            if let Some(line) = self.lines().into_iter().find(|line| wanted(line)) {
                return Some(line);
            }
            if Instant::now() >= until {
                return None;
            }
            std::thread::sleep(PAUSE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn gives_whole_lines_as_they_come() {
        let path = std::env::temp_dir().join(format!("xenios-follow-{}", std::process::id()));
        let mut follow = Follow::new(&path);
        assert!(follow.lines().is_empty());
        let mut file = File::create(&path).unwrap();
        file.write_all(b"one\r\ntw").unwrap();
        assert_eq!(follow.lines(), ["one"]);
        assert_eq!(follow.unfinished(), "tw");
        file.write_all(b"o\n\nthree\n").unwrap();
        assert_eq!(follow.lines(), ["two", "", "three"]);
        file.write_all(b"verdict: success\n").unwrap();
        let until = Instant::now() + Duration::from_secs(1);
        let line = follow.wait_for(until, |line| line.starts_with("verdict: "));
        assert_eq!(line.as_deref(), Some("verdict: success"));
        assert_eq!(follow.wait_for(Instant::now(), |_| true), None);
        std::fs::rename(&path, path.with_extension("1")).unwrap();
        file.write_all(b"last\n").unwrap();
        std::fs::write(&path, b"new\n").unwrap();
        assert_eq!(follow.lines(), ["last"]);
        assert_eq!(follow.lines(), ["new"]);
        std::fs::remove_file(path.with_extension("1")).unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}
