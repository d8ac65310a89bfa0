//! A boot line of 4 kB arrives whole: `--check SUM` is the sum of the bytes of all other words.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::String;
use kernels::check;

libos::entry!(main);

async fn main(env: libos::Env) {
    kernels::conclude(inspect(env.boot_line()));
}

fn inspect(line: &libos::boot_line::BootLine) -> Result<(), String> {
    let expected = line.option("check").and_then(|sum| sum.parse::<u64>().ok()).ok_or("no --check")?;
    let words = line.words();
    let others = words.iter().skip(2);
    let bytes: usize = words.iter().map(String::len).sum();
    let sum: u64 = others.flat_map(|word| word.bytes()).map(u64::from).sum();
    libos::println!("{} words, {bytes} bytes, sum {sum}", words.len());
    check!(words.len() > 100 && bytes > 3500, "{} words, {bytes} bytes arrived", words.len());
    check!(sum == expected, "the sum is {sum}, not {expected}");
    Ok(())
}
