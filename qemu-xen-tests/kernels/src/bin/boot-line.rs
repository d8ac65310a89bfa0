//! A boot line of 4 kB arrives whole: `--words N`, then the words `w00000`, `w00001` and so on.
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
    let expected = line.option("words").and_then(|text| text.parse::<usize>().ok());
    let words = line.words().get(2..).ok_or("no --words")?;
    libos::println!("{} words, the last is {:?}", words.len(), words.last());
    check!(Some(words.len()) == expected, "{} words, not {expected:?}", words.len());
    let wrong = words.iter().enumerate().find(|(i, word)| **word != alloc::format!("w{i:05}"));
    check!(wrong.is_none(), "{wrong:?}");
    Ok(())
}
