//! Devices that come and go at run time: says which. It uses none, but answers a backend that
//! closes, so that the toolstack need not wait for its time-out.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

extern crate alloc;

use core::time::Duration;
use libos::exec::waiting;
use libos::{Env, println, spawn_named, time};
use xen::xenbus::{Change, Discovery, Frontend};
use xen::xenstore::{StoreError, Xenstore};

libos::entry!(main);

async fn main(env: Env) {
    let Some(store) = env.xenstore() else {
        return kernels::failure(format_args!("no store"));
    };
    for class in ["vif", "vbd"] {
        let store = store.clone();
        spawn_named(class, async move {
            if let Err(error) = follow(&store, class).await {
                kernels::failure(format_args!("{class}: {error}"));
            }
        })
        .detach();
    }
    println!("ready");
    env.shutdown_requested().await;
    kernels::success();
}

async fn follow(store: &Xenstore, class: &'static str) -> Result<(), StoreError> {
    let mut devices = Discovery::frontends(store, class).await?;
    loop {
        match waiting("a device that comes or goes", devices.next()).await? {
            Change::Added(place) => {
                println!("added {class} {}", place.id);
                spawn_named("device", answer(store.clone(), class, place.id)).detach();
            }
            Change::Removed(place) => println!("removed {class} {}", place.id),
        }
    }
}

/// Closes the device when its backend does, until it is gone.
async fn answer(store: Xenstore, class: &str, id: u32) {
    let Ok(mut device) = Frontend::open(&store, class, id).await else { return };
    // Ready to be used comes back at once, and closing is answered on the way to it.
    while device.prepare().await.is_ok() {
        time::sleep(Duration::from_millis(100)).await;
    }
}
