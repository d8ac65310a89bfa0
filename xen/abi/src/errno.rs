//! Error numbers of the hypervisor (Xen: errno.h).

use core::fmt;

/// An error that a hypercall returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Errno(pub u32);

/// Numbers with names; others are printed as numbers.
const NAMES: [(u32, &str); 15] = [
    (1, "EPERM"),
    (2, "ENOENT"),
    (3, "ESRCH"),
    (6, "ENXIO"),
    (7, "E2BIG"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (14, "EFAULT"),
    (16, "EBUSY"),
    (17, "EEXIST"),
    (22, "EINVAL"),
    (28, "ENOSPC"),
    (38, "ENOSYS"),
    (95, "EOPNOTSUPP"),
];

impl Errno {
    /// No memory, or no room under a limit.
    pub const NOMEM: Self = Self(12);
    /// In use.
    pub const BUSY: Self = Self(16);
    /// Already there.
    pub const EXIST: Self = Self(17);
    /// The argument makes no sense, or is beyond a limit.
    pub const INVAL: Self = Self(22);
    /// The table or the limit is full.
    pub const NOSPC: Self = Self(28);
    /// The hypervisor does not know the call.
    pub const NOSYS: Self = Self(38);

    /// A hypercall's result: what it gives from 0 on, its error from -4095 to -1.
    pub const fn from_result(result: i64) -> Result<u64, Self> {
        if result < 0 && result >= -4095 { Err(Self(-result as u32)) } else { Ok(result as u64) }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(number, _)| *number == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "error {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn only_the_errno_range_is_an_error() {
        assert_eq!(Errno::from_result(0), Ok(0));
        assert_eq!(Errno::from_result(5), Ok(5));
        assert_eq!(Errno::from_result(-38), Err(Errno::NOSYS));
        assert_eq!(Errno::from_result(-4095), Err(Errno(4095)));
        assert_eq!(Errno::from_result(-4096), Ok(-4096i64 as u64));
    }

    #[test]
    fn names_are_said_where_known() {
        assert_eq!(Errno(22).to_string(), "EINVAL");
        assert_eq!(Errno(99).to_string(), "error 99");
    }
}
