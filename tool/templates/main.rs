//! A Xenios app: greets the one named on the boot line.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use libos::{Env, Error, println};

libos::entry!(main);

/// Runs when the guest has booted; the guest ends with it.
async fn main(env: Env) -> Result<(), Error> {
    println!("Hello, {}!", env.boot_line().option("name").unwrap_or("world"));
    Ok(())
}
