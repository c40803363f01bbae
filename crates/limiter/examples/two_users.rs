//! Two users of one link of 20 MB/s, one of them three times as important: what each gets while both want
//! all of it, and when the important one has gone.
//!
//! ```sh
//! cargo run -p limiter --example two_users
//! ```

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use limiter::{Burst, Limiter, Rate, Share};
use tokio::task::JoinHandle;
use tokio::time::interval;

const STEP: Duration = Duration::from_millis(250);
const FRAME_BYTES: u64 = 16 << 10;

/// Wants as much as it can get, over four connections, so that one of them waits in line at any time: a
/// weight decides among those who wait.
struct User {
    bytes: Arc<AtomicU64>,
    connections: Vec<JoinHandle<()>>,
}

impl User {
    fn of(link: &Limiter, weight: u32) -> Result<Self, limiter::ShareError> {
        let share = link.child(Share { weight, ..Share::default() })?;
        let bytes = Arc::new(AtomicU64::new(0));
        let connection = |_| {
            let (share, bytes) = (share.clone(), Arc::clone(&bytes));
            tokio::spawn(async move {
                loop {
                    drop(share.acquire(FRAME_BYTES).await);
                    bytes.fetch_add(FRAME_BYTES, Ordering::Relaxed);
                }
            })
        };
        let connections = (0..4).map(connection).collect();
        Ok(Self { bytes, connections })
    }

    fn go(&self) {
        self.connections.iter().for_each(JoinHandle::abort);
    }

    /// Megabytes per second since it was last asked.
    fn rate(&self) -> f64 {
        self.bytes.swap(0, Ordering::Relaxed) as f64 / 1e6 / STEP.as_secs_f64()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rate: Rate = "20MB/s".parse()?;
    let link = Limiter::new(rate, Burst::lasting(Duration::from_millis(20), rate));
    let (urgent, other) = (User::of(&link, 3)?, User::of(&link, 1)?);

    println!("{:>6}  {:>8}  {:>8}  (MB/s)", "ms", "weight 3", "weight 1");
    let mut steps = interval(STEP);
    steps.tick().await;
    for step in 1..=8 {
        steps.tick().await;
        println!("{:>6}  {:>8.1}  {:>8.1}", 250 * step, urgent.rate(), other.rate());
        match step {
            4 => urgent.go(),                      // what it does not want is lent at once
            6 => link.set_rate("40MB/s".parse()?), // so is what is added, to whoever waits
            _ => {}
        }
    }
    let stats = link.stats();
    println!("{} grants, {} of them waited for", stats.granted, stats.waited);
    Ok(())
}
