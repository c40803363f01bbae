//! A database that allows three connections, and twenty tasks that want one: who waits how long, how often a
//! connection is used again, and what becomes of one that breaks.
//!
//! ```sh
//! cargo run -p pool --example small_database
//! ```

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pool::{GetError, Options, Pool, Poolable, State};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// A session that breaks at its fifth query, as sessions do.
struct Session {
    number: u32,
    queries: u32,
}

impl Poolable for Session {
    fn state(&mut self) -> State {
        if self.queries < 5 { State::Reusable } else { State::Dead }
    }
}

impl Session {
    async fn query(&mut self) {
        self.queries += 1;
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), GetError> {
    static OPENED: AtomicU32 = AtomicU32::new(0);
    let connect = |_database: &'static str| async {
        sleep(Duration::from_millis(30)).await; // handshakes are dear
        let number = OPENED.fetch_add(1, Ordering::Relaxed);
        Ok::<_, io::Error>(Session { number, queries: 0 })
    };
    let pool = Pool::new(connect, Options { connections_max: 3, ..Options::default() });

    let mut tasks = JoinSet::new();
    for task in 0..20 {
        let pool = pool.clone();
        tasks.spawn(async move {
            let mut session = pool.get(&"users").await?;
            session.query().await;
            Ok::<_, GetError>((task, session.number, session.waited()))
        });
    }
    for done in tasks.join_all().await {
        let (task, session, waited) = done?;
        println!("task {task:>2} on session {session}, after {:>3} ms", waited.as_millis());
    }
    let stats = pool.stats();
    println!(
        "{} opened, {:.0} % of {} leases on one that was open; median wait up to {:?}",
        stats.opened,
        100.0 * stats.reuse_ratio(),
        stats.checkouts(),
        stats.waits.quantile(0.5).unwrap_or_default()
    );
    assert!(stats.adds_up());
    Ok(())
}
