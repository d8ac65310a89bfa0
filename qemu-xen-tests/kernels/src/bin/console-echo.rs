//! Echoes `--bytes N` typed bytes, losing none, and says so. The runner types and reads.
#![no_std]
#![no_main]
#![forbid(unsafe_code)]

libos::entry!(main);

async fn main(env: libos::Env) {
    let wanted = env.boot_line().option("bytes").and_then(|text| text.parse::<usize>().ok());
    let wanted = wanted.unwrap_or(0);
    let console = env.console();
    libos::println!("ready");
    let mut echoed = 0;
    let mut buffer = [0; 512];
    while echoed < wanted {
        let count = console.read(&mut buffer).await;
        console.write_all(&buffer[..count]).await;
        echoed += count;
    }
    libos::println!("\necho done");
    kernels::success();
}
