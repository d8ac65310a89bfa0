//! Writes an archive in the "newc" format of cpio, which Linux unpacks as its first root.
//!
//! Linux: Documentation/driver-api/early-userspace/buffer-format.rst

use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// An archive being written. Paths are given without a leading slash, parents before children.
pub struct Writer<W> {
    out: W,
    inode: u32,
}

impl<W: Write> Writer<W> {
    /// Begins an archive.
    pub fn new(out: W) -> Self {
        Self { out, inode: 0 }
    }

    /// Adds a folder.
    pub fn directory(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, DIRECTORY | 0o755, &[])
    }

    /// Adds a file.
    pub fn file(&mut self, path: &str, executable: bool, bytes: &[u8]) -> io::Result<()> {
        self.entry(path, FILE | if executable { 0o755 } else { 0o644 }, bytes)
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.entry(path, LINK | 0o777, target.as_bytes())
    }

    /// Ends the archive; gives back what it was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.entry("TRAILER!!!", 0, &[])?;
        Ok(self.out)
    }

    fn entry(&mut self, path: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
        let too_long = |_| io::Error::new(io::ErrorKind::FileTooLarge, path.to_string());
        let size = u32::try_from(bytes.len()).map_err(too_long)?;
        let name_size = u32::try_from(path.len() + 1).map_err(too_long)?;
        self.inode += 1;
        write!(self.out, "070701{:08x}{mode:08x}", self.inode)?;
        // Owner, group, links, time.
        write!(self.out, "{:08x}{:08x}{:08x}{:08x}", 0, 0, 1, 0)?;
        // Size; device and special device numbers; length of the name; no checksum.
        write!(self.out, "{size:08x}{:08x}{:08x}{:08x}{:08x}{name_size:08x}{:08x}", 0, 0, 0, 0, 0)?;
        self.out.write_all(path.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad(110 + path.len() + 1)?;
        self.out.write_all(bytes)?;
        self.pad(bytes.len())
    }

    /// Fills up to a multiple of four.
    fn pad(&mut self, length: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..length.wrapping_neg() % 4])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_entries_at_multiples_of_four() {
        let mut writer = Writer::new(Vec::new());
        writer.directory("bin").unwrap();
        writer.file("bin/a", true, b"hello").unwrap();
        writer.link("b", "bin/a").unwrap();
        let bytes = writer.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(&bytes[..6], b"070701");
        let text = String::from_utf8_lossy(&bytes);
        let starts: Vec<usize> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert_eq!(starts.len(), 4);
        assert!(starts.iter().all(|at| at % 4 == 0));
        // Mode and size of the file.
        assert_eq!(&text[starts[1] + 14..starts[1] + 22], "000081ed");
        assert_eq!(&text[starts[1] + 54..starts[1] + 62], "00000005");
        assert!(text.contains("TRAILER!!!\0"));
    }

    #[test]
    fn padding_fills_up() {
        for length in 0..9_usize {
            let mut writer = Writer::new(Vec::new());
            writer.pad(length).unwrap();
            assert_eq!((writer.out.len() + length) % 4, 0);
            assert!(writer.out.len() < 4);
        }
    }
}
