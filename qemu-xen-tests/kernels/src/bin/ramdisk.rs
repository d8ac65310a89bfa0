//! A ramdisk is read back: byte `i` of it is `(i * i + i / 256)` modulo 256, `--bytes N` long.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::String;
use kernels::check;

libos::entry!(main);

async fn main(env: libos::Env) {
    kernels::conclude(inspect(&env));
}

fn inspect(env: &libos::Env) -> Result<(), String> {
    let expected = env.boot_line().option("bytes").and_then(|text| text.parse::<usize>().ok());
    let module = env.modules().first().ok_or("no module")?;
    check!(Some(module.data.len()) == expected, "{} bytes, not {expected:?}", module.data.len());
    let wrong = module
        .data
        .iter()
        .enumerate()
        .find(|(i, byte)| **byte != (i.wrapping_mul(*i).wrapping_add(i / 256)) as u8);
    check!(wrong.is_none(), "byte {wrong:?} is wrong");
    let rights = arch::paging::kernel::look_up(module.data.as_ptr().addr() as u64);
    let rodata = arch::paging::Permission::Rodata.access();
    check!(rights == Some(Ok(rodata)), "the module's pages are {rights:?}");
    Ok(())
}
