//! The hook of the crate getrandom: `__getrandom_v03_custom`, which its versions 0.3 and 0.4 call
//! in a kernel. Version 0.2 has another hook, which this target cannot use: keep it out of an app.

use getrandom::Error;

/// What getrandom's error says while there is no seed: the first code that is free for such hooks.
const UNSEEDED: u16 = 1;

/// Fills `len` bytes at `to` for getrandom.
///
/// # Safety
/// The bytes are the caller's to write; they may be uninitialised.
#[unsafe(no_mangle)]
unsafe extern "Rust" fn __getrandom_v03_custom(to: *mut u8, len: usize) -> Result<(), Error> {
    // SAFETY: the bytes are ours to write for the time of this call (the contract above), so they
    // are initialised here before they become a slice.
    let to = unsafe {
        to.write_bytes(0, len);
        core::slice::from_raw_parts_mut(to, len)
    };
    super::try_fill(to).map_err(|_| Error::new_custom(UNSEEDED))
}
