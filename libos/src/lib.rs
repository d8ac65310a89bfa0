//! The runtime an app links: start, executor, heap, log, console, boot line.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
