//! What the toolstack writes into `control/shutdown` and `control/sysrq`, as values.
//!
//! Sources: Xen: docs/misc/xenstore-paths, "control/shutdown"; xl sysrq sends a single letter.

use super::shutdown::Request;

/// A command in `control/shutdown`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// End, in an orderly way.
    End(Request),
    /// Get ready to be saved or migrated.
    Suspend,
    /// Crash.
    Crash,
    /// A word that means nothing here.
    Unknown,
}

impl Command {
    /// The command; nothing for an empty node, which is an acknowledged one.
    pub fn parse(value: &[u8]) -> Option<Self> {
        Some(match value.trim_ascii() {
            b"" => return None,
            b"poweroff" | b"halt" => Self::End(Request::Poweroff),
            b"reboot" => Self::End(Request::Reboot),
            b"suspend" => Self::Suspend,
            b"crash" => Self::Crash,
            _ => Self::Unknown,
        })
    }
}

/// A key of `xl sysrq`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Key {
    /// Lists the keys.
    Help,
    /// Has the app write to stable storage what it holds back.
    Sync,
    /// Lists the tasks, with what each waits for.
    Tasks,
    /// Memory: heap, frames, balloon.
    Memory,
    /// Event channels and grants.
    Events,
    /// Ends the domain at once, to be started again.
    Reboot,
    /// Ends the domain at once.
    Poweroff,
    /// Crashes, with a report.
    Crash,
}

/// Letters with their keys, and what they do.
pub const KEYS: [(u8, Key, &str); 8] = [
    (b'h', Key::Help, "this list"),
    (b's', Key::Sync, "sync: the app writes what it holds back"),
    (b't', Key::Tasks, "tasks and what each waits for"),
    (b'm', Key::Memory, "memory: heap, free frames, balloon"),
    (b'e', Key::Events, "event channels and grants"),
    (b'b', Key::Reboot, "reboot now, without grace"),
    (b'o', Key::Poweroff, "power off now, without grace"),
    (b'c', Key::Crash, "crash, with a report"),
];

impl Key {
    /// The key of a value in `control/sysrq`: its first letter. An unknown letter gets the help.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let letter = value.trim_ascii().first()?.to_ascii_lowercase();
        let known = KEYS.iter().find(|(key, ..)| *key == letter);
        Some(known.map_or(Self::Help, |(_, key, _)| *key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        assert_eq!(Command::parse(b""), None);
        assert_eq!(Command::parse(b" \n"), None);
        assert_eq!(Command::parse(b"halt"), Some(Command::End(Request::Poweroff)));
        assert_eq!(Command::parse(b"reboot"), Some(Command::End(Request::Reboot)));
        assert_eq!(Command::parse(b"suspend"), Some(Command::Suspend));
        assert_eq!(Command::parse(b"s3"), Some(Command::Unknown));
        assert_eq!(Command::parse(&[0xff; 300]), Some(Command::Unknown));
    }

    #[test]
    fn keys_are_read() {
        assert_eq!(Key::parse(b"t"), Some(Key::Tasks));
        assert_eq!(Key::parse(b"T"), Some(Key::Tasks));
        assert_eq!(Key::parse(b""), None);
        assert_eq!(Key::parse(b"?"), Some(Key::Help));
    }
}
