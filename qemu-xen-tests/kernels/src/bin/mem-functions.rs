//! memcpy, memmove, memset, memcmp against loops, at every length and alignment that has a branch.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::hint::black_box;
use kernels::check;

libos::entry!(main);

/// Longest block; more than two rounds of the widest loop.
const LEN: usize = 200;

async fn main(_: libos::Env) {
    kernels::conclude(compare());
}

fn pattern() -> Vec<u8> {
    (0..LEN + 64).map(|i| (i * 37 + 11) as u8).collect()
}

fn compare() -> Result<(), String> {
    for len in 0..LEN {
        for offset in [0, 1, 7, 15] {
            copy(len, offset)?;
            for distance in [1, 3, 16, 33] {
                shift(len, offset, offset + distance)?;
                shift(len, offset + distance, offset)?;
            }
            fill(len, offset)?;
            order(len, offset)?;
        }
    }
    Ok(())
}

fn copy(len: usize, offset: usize) -> Result<(), String> {
    let from = pattern();
    let mut to = vec![0xaau8; LEN + 64];
    to[offset..offset + len].copy_from_slice(black_box(&from[3..3 + len]));
    let right = to.iter().enumerate().all(|(i, &byte)| {
        byte == if (offset..offset + len).contains(&i) { from[3 + i - offset] } else { 0xaa }
    });
    check!(right, "memcpy of {len} bytes to offset {offset}");
    Ok(())
}

fn shift(len: usize, from: usize, to: usize) -> Result<(), String> {
    let original = pattern();
    let mut moved = original.clone();
    moved.copy_within(black_box(from..from + len), to);
    let right = moved.iter().enumerate().all(|(i, &byte)| {
        byte == if (to..to + len).contains(&i) { original[from + i - to] } else { original[i] }
    });
    check!(right, "memmove of {len} bytes from {from} to {to}");
    Ok(())
}

fn fill(len: usize, offset: usize) -> Result<(), String> {
    let mut to = pattern();
    let original = pattern();
    to[offset..offset + len].fill(black_box(0xc5));
    let right = to.iter().enumerate().all(|(i, &byte)| {
        byte == if (offset..offset + len).contains(&i) { 0xc5 } else { original[i] }
    });
    check!(right, "memset of {len} bytes at offset {offset}");
    Ok(())
}

fn order(len: usize, offset: usize) -> Result<(), String> {
    let a = pattern();
    let mut b = pattern();
    let (x, y) = (&a[offset..offset + len], offset..offset + len);
    check!(x.cmp(black_box(&b[y.clone()])).is_eq(), "memcmp of {len} equal bytes");
    for at in [0, len / 2, len.saturating_sub(1)] {
        if at < len {
            b[offset + at] = b[offset + at].wrapping_add(1);
            let expected = a[offset + at].cmp(&b[offset + at]);
            check!(
                x.cmp(black_box(&b[y.clone()])) == expected,
                "memcmp of {len}, byte {at} differs"
            );
            b[offset + at] = a[offset + at];
        }
    }
    Ok(())
}
