//! What is measured of an executor: the same code for ours and for another, on the host and in a
//! guest.

/// Makes the scenarios of one executor. Each runs inside it and gives how many operations it took.
macro_rules! scenarios {
    ($spawn:path, $yield_now:path, $sleep:path) => {
        use alloc::boxed::Box;
        use alloc::vec::Vec;
        use core::future::{Future, poll_fn};
        use core::task::Poll;
        use core::time::Duration;

        /// Spawns tasks that end at their first poll, and awaits them.
        pub async fn spawn_and_join(count: u64) -> u64 {
            let handles: Vec<_> = (0..count).map(|number| $spawn(async move { number })).collect();
            let mut sum = 0;
            for handle in handles {
                sum += handle.await.unwrap_or_default();
            }
            assert_eq!(sum, count * (count - 1) / 2);
            count
        }

        /// Has tasks wake themselves: from the wake-up to the poll and back.
        pub async fn wake_and_poll(tasks: u64, times: u64) -> u64 {
            let task = || async move {
                for _ in 0..times {
                    $yield_now().await;
                }
            };
            let handles: Vec<_> = (0..tasks).map(|_| $spawn(task())).collect();
            for handle in handles {
                assert!(handle.await.is_ok());
            }
            tasks * times
        }

        /// Sends messages to and fro between two tasks, one at a time.
        pub async fn message_to_and_fro(times: u64) -> u64 {
            let (there, received) = async_channel::bounded(1);
            let (answer, back) = async_channel::bounded(1);
            let peer = $spawn(async move {
                while let Ok(number) = received.recv().await {
                    assert!(answer.send(number).await.is_ok());
                }
            });
            for number in 0..times {
                assert!(there.send(number).await.is_ok());
                assert_eq!(back.recv().await, Ok(number));
            }
            drop(there);
            assert!(peer.await.is_ok());
            2 * times
        }

        /// Arms timers and gives them up, among others that stay armed.
        pub async fn arm_and_give_up(others: u64, times: u64) -> u64 {
            let hour = Duration::from_secs(3600);
            let mut held = Vec::new();
            for number in 0..others {
                let mut sleep = Box::pin($sleep(hour + Duration::from_millis(number)));
                let poll = poll_fn(|context| Poll::Ready(sleep.as_mut().poll(context))).await;
                assert!(poll.is_pending());
                held.push(sleep);
            }
            for number in 0..times {
                let after = hour + Duration::from_millis(number * 7919 % (others + 1));
                let mut sleep = core::pin::pin!($sleep(after));
                let poll = poll_fn(|context| Poll::Ready(sleep.as_mut().poll(context))).await;
                assert!(poll.is_pending());
                if number % 1024 == 0 {
                    $yield_now().await;
                }
            }
            times
        }
    };
}
