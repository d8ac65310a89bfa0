//! Output that works from the first instruction on and needs no memory, no ring and no peer.
//!
//! On Xen a byte written to port 0xE9 goes into the hypervisor's log (`xl dmesg`), line by line,
//! rate limited: good for what happens before the console ring is up, and for a crash. Elsewhere
//! the first serial port is used if its loopback test passes.
//!
//! ```text
//!             Xen? ──yes──▶ port 0xE9
//!               │no
//!               ├─ 16550 at 0x3F8 answers ──▶ UART
//!               └─ port 0xE9 reads 0xE9   ──▶ debug port (QEMU)
//! ```

use core::fmt;
use uart_16550::backend::PioBackend;
use uart_16550::{Config, Uart16550Tty};

/// The debug port of Xen (Xen: xen.h, XEN_HVM_DEBUGCONS_IOPORT) and of QEMU.
const DEBUG_PORT: u16 = 0xe9;
/// The first serial port of a PC.
const COM1: u16 = 0x3f8;

/// The channel found, ready to write to.
pub enum EarlyConsole {
    /// Port 0xE9 of the hypervisor.
    DebugPort,
    /// A 16550 UART.
    Uart(Uart16550Tty<PioBackend>),
    /// Nowhere to write to; text is dropped.
    Absent,
}

impl EarlyConsole {
    /// On Xen the debug port is known to work without a test (Xen 4.17 reads it as 0xFF, though
    /// output works).
    pub const fn on_xen() -> Self {
        Self::DebugPort
    }

    /// Finds what a machine without Xen has.
    ///
    /// # Safety
    /// The ports 0xE9 and 0x3F8 to 0x3FF are a debug port or a UART or nothing, and no one else
    /// drives them.
    pub unsafe fn probe() -> Self {
        // SAFETY: the caller says that these ports are a UART's or no one's, and ours.
        if let Ok(uart) = unsafe { Uart16550Tty::new_port(COM1, Config::default()) } {
            return Self::Uart(uart);
        }
        // SAFETY: reading the debug port has no effect.
        if unsafe { x86_64::instructions::port::PortReadOnly::<u8>::new(DEBUG_PORT).read() } == 0xe9
        {
            return Self::DebugPort;
        }
        Self::Absent
    }

    /// Writes formatted text.
    pub fn print(&mut self, text: fmt::Arguments<'_>) {
        crate::text::format(text, &mut |piece| self.write_bytes(piece.as_bytes()));
    }

    /// Writes bytes as they are.
    pub fn write_bytes(&mut self, bytes: &[u8]) {
        match self {
            Self::DebugPort => {
                let mut port = x86_64::instructions::port::PortWriteOnly::new(DEBUG_PORT);
                for &byte in bytes {
                    // SAFETY: the port takes any byte and changes no memory of ours.
                    unsafe { port.write(byte) };
                }
            }
            Self::Uart(uart) => {
                for &byte in bytes {
                    if byte == b'\n' {
                        send_bounded(uart, b'\r');
                    }
                    send_bounded(uart, byte);
                }
            }
            Self::Absent => {}
        }
    }
}

/// How often a full transmitter is asked again before the byte is given up: about a second.
const UART_TRIES: u32 = 1_000_000;

fn send_bounded(uart: &mut Uart16550Tty<PioBackend>, byte: u8) {
    for _ in 0..UART_TRIES {
        if uart.inner_mut().try_send_byte(byte).is_ok() {
            return;
        }
        core::hint::spin_loop();
    }
}
