//! A shell for xenstore on the console.
//!
//! Paths without a leading slash are below the domain's own directory. `watch` shows changes until
//! a key is pressed; `exit` ends the domain.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use libos::console::Console;
use libos::exec::{Either, select};
use libos::{Env, Error, print, println};
use xenstore::{StoreError, Xenstore};

use libos::xen::xenstore;
use libos::xenstore as store_of_domain;

libos::entry!(main);

/// Longest line that is taken.
const LINE_BYTES: usize = 1024;

const HELP: &str = "ls [PATH]           names below a node, or in the domain's own directory
read PATH           a node's value
write PATH VALUE    sets it, the rest of the line being the value
rm PATH             removes a node and all below it
perms PATH          who may do what
watch PATH          shows what changes, until a key is pressed
exit                ends the domain";

async fn main(env: Env) -> Result<(), Error> {
    let Some(store) = store_of_domain() else {
        println!("store: this machine has no xenstore");
        return Ok(());
    };
    let console = env.console();
    println!("store: a shell for xenstore; `help` lists the commands");
    let mut shell = Shell { console, store, typed: Vec::new() };
    match select(shell.run(), env.shutdown_requested()).await {
        Either::First(()) | Either::Second(_) => Ok(()),
    }
}

struct Shell {
    console: Console,
    store: Xenstore,
    /// Bytes that were typed beyond the last line.
    typed: Vec<u8>,
}

impl Shell {
    async fn run(&mut self) {
        loop {
            print!("> ");
            let line = self.line().await;
            let (command, rest) = cut(line.trim());
            if command == "exit" {
                return;
            }
            if let Err(error) = self.carry_out(command, rest).await {
                println!("{error}");
            }
        }
    }

    async fn carry_out(&mut self, command: &str, rest: &str) -> Result<(), StoreError> {
        match command {
            "" => {}
            "help" => println!("{HELP}"),
            "ls" => {
                let path = match rest {
                    "" => format!("/local/domain/{}", self.store.domid().await?.0),
                    path => path.into(),
                };
                for name in self.store.directory(&path).await? {
                    println!("{name}");
                }
            }
            "read" => println!("{}", self.store.read(rest).await?.escape_ascii()),
            "write" => {
                let (path, value) = cut(rest);
                self.store.write(path, value.as_bytes()).await?;
            }
            "rm" => self.store.rm(rest).await?,
            "perms" => {
                for permission in self.store.permissions(rest).await? {
                    println!("{permission}");
                }
            }
            "watch" => self.watch(rest).await?,
            other => println!("{other}: no such command; `help` lists them"),
        }
        Ok(())
    }

    async fn watch(&mut self, path: &str) -> Result<(), StoreError> {
        let mut watch = self.store.watch(path).await?;
        println!("watching; press a key to end");
        let mut key = [0];
        loop {
            match select(watch.next(), self.console.read(&mut key)).await {
                Either::First(changed) => println!("changed: {}", changed?),
                Either::Second(_) => return Ok(()),
            }
        }
    }

    /// The next line, echoed while it is typed.
    async fn line(&mut self) -> String {
        let mut line = Vec::new();
        loop {
            while !self.typed.is_empty() {
                match self.typed.remove(0) {
                    b'\r' | b'\n' => {
                        println!();
                        return String::from_utf8_lossy(&line).into_owned();
                    }
                    // Backspace and delete.
                    8 | 127 if line.pop().is_some() => print!("\u{8} \u{8}"),
                    byte if byte >= b' ' && line.len() < LINE_BYTES => {
                        line.push(byte);
                        print!("{}", char::from(byte));
                    }
                    _ => {}
                }
            }
            let mut bytes = [0; 64];
            let count = self.console.read(&mut bytes).await;
            self.typed.extend_from_slice(&bytes[..count]);
        }
    }
}

/// The first word of a text, and the rest.
fn cut(text: &str) -> (&str, &str) {
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim()))
}
