//! Requests far above the burst, by children of one limiter.

use std::time::Duration;

use limiter::{Burst, Limiter, Rate, Share};
use tokio::time::{Instant, timeout};

#[tokio::test(start_paused = true)]
async fn children_with_large_requests_are_all_served() {
    let rate = Rate::per_second(1_000_000);
    let all = Limiter::new(rate, Burst::lasting(Duration::from_millis(10), rate));
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for file in 0..16_u64 {
        let child = all.child(Share::default()).unwrap();
        tasks.spawn(async move {
            for frame in 0..4 {
                child.acquire(300_000 + 7_777 * ((file + frame) % 5)).await;
            }
        });
    }
    timeout(Duration::from_secs(120), tasks.join_all()).await.expect("all are served");
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
}
