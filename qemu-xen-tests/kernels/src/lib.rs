//! What the test kernels share.
#![no_std]
