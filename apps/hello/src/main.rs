//! Greets the one named on the boot line and says what the kernel found.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

use libos::{Env, Error, println, time};

libos::entry!(main);

async fn main(env: Env) -> Result<(), Error> {
    let since_boot = time::since_boot();
    println!("Hello, {}!", env.boot_line().option("name").unwrap_or("world"));
    println!("first instruction to this line: {} us", since_boot.as_nanos() as u64 / 1000);
    println!("hypervisor: {}", env.hypervisor());
    println!("cpu features in use: {}", env.cpu_features());
    println!("canaries cover: {}", env.canary_coverage());
    for entry in env.memory().map() {
        let end = entry.addr.saturating_add(entry.len_bytes);
        println!("memory: {:#012x}..{end:#012x} {}", entry.addr, entry.kind);
    }
    println!("memory: {} KiB of RAM in all", env.memory().ram_bytes() / 1024);
    for (number, module) in env.modules().iter().enumerate() {
        println!("module {number}: {} bytes", module.data.len());
    }
    Ok(())
}
