//! What the test kernels share: the verdict that the runner reads.
//!
//! A kernel shows one property. Its last word is a line that begins with `verdict: `. A kernel that
//! is to crash has no such line before; should it survive, it says failure.
#![no_std]
#![deny(unsafe_code)]

pub mod own_grants;
#[allow(unsafe_code, reason = "a hypercall that no part of a guest needs")]
mod runstate;

pub use runstate::running_time;

use libos::println;

/// The property holds.
pub fn success() {
    println!("verdict: success");
}

/// The property does not hold.
pub fn failure(why: core::fmt::Arguments<'_>) {
    println!("verdict: failure: {why}");
}

/// The property cannot be shown here.
pub fn skip(why: core::fmt::Arguments<'_>) {
    println!("verdict: skip: {why}");
}

/// Says failure for a kernel that was to crash.
pub fn survived() {
    failure(format_args!("the kernel is still running"));
}

/// Ends with the verdict: success, or failure with the first thing that is wrong.
pub fn conclude(result: Result<(), alloc::string::String>) {
    match result {
        Ok(()) => success(),
        Err(why) => failure(format_args!("{why}")),
    }
}

/// Checks a condition inside a function that returns `Result<(), String>`.
#[macro_export]
macro_rules! check {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err(::alloc::format!($($why)+));
        }
    };
}

extern crate alloc;
