//! Walks the page tables in use: nothing is writable and executable, each part of the image has its
//! rights, guards and page zero are absent, and what is mapped is RAM or a page of Xen's.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::String;
use alloc::vec::Vec;
use arch::addr::PAGE_BYTES;
use arch::layout;
use arch::paging::kernel::{look_up, runs};
use arch::paging::{Hole, Leaf, Permission, Run};
use kernels::check;
use xen_abi::memory::MemoryKind;

libos::entry!(main);

async fn main(env: libos::Env) {
    kernels::conclude(inspect(&env));
}

fn inspect(env: &libos::Env) -> Result<(), String> {
    let mut all: Vec<Run> = Vec::with_capacity(1000);
    runs(|run| all.push(run));
    check!(all.len() > 5, "only {} runs of pages", all.len());
    for run in &all {
        check!(!(run.access.write && run.access.execute), "{} is {}", run.range, run.access);
        let text = layout::text().contains_range(run.range);
        check!(run.access.execute == text, "{} is {}", run.range, run.access);
    }
    check!(all.iter().any(|run| run.access.execute), "no text");
    for region in layout::regions() {
        for addr in (region.range.start()..region.range.end()).step_by(PAGE_BYTES as usize) {
            let expected = match region.leaf {
                Leaf::Page(permission) => Ok(permission.access()),
                Leaf::Hole(hole) => Err(hole),
            };
            let found = look_up(addr);
            check!(found == Some(expected), "{} at {addr:#x}: {found:?}", region.name);
        }
    }
    check!(look_up(0) == Some(Err(Hole::Null)), "page zero: {:?}", look_up(0));
    check!(look_up(PAGE_BYTES) == Some(Ok(Permission::Data.access())), "page one is not data");
    only_ram_and_xens_pages(env, &all)
}

/// Outside of RAM there are a handful of pages: shared info, console, and what the loader left.
fn only_ram_and_xens_pages(env: &libos::Env, all: &[Run]) -> Result<(), String> {
    let ram = env.memory().map().iter().filter(|entry| entry.kind == MemoryKind::Ram);
    let ram: Vec<(u64, u64)> =
        ram.map(|entry| (entry.addr, entry.addr.saturating_add(entry.len_bytes))).collect();
    let mut outside_bytes = 0;
    for run in all {
        let (start, end) = (run.range.start(), run.range.end());
        let inside = ram.iter().map(|&(from, to)| end.min(to).saturating_sub(start.max(from)));
        outside_bytes += run.range.len_bytes() - inside.sum::<u64>();
    }
    check!(outside_bytes <= 8 * PAGE_BYTES, "{outside_bytes} bytes outside of RAM are mapped");
    Ok(())
}
