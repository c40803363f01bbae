//! Two tenants, one of whom floods the queue; a third who comes late with something urgent; and one job that
//! is given up. Prints in which order all of that runs.
//!
//! ```sh
//! cargo run -p queue --example who_is_next
//! ```

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::time::Duration;

use queue::{Job, Outcome, Queue, Rules, Work};
use tokio::time::sleep;

/// A job that says when it runs.
fn job(tenant: &'static str, name: String, class: u8) -> Job<&'static str, Work> {
    let work = Work::new(async move {
        println!("  {tenant:<6} {name}");
        sleep(Duration::from_millis(20)).await;
    });
    Job { class, ..Job::new(tenant, work) }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Two jobs at once, one per tenant; after 100 ms of waiting a job counts as one class better.
    let ageing = Duration::from_millis(100);
    let queue = Queue::new(Rules { cap: 2, key_cap: 1, ageing, ..Rules::default() });

    println!("a flood of `big`, three jobs of `small`, in turn:");
    let mut tickets = Vec::new();
    for number in 0..6 {
        tickets.push(queue.submit(job("big", format!("{number}"), 1)).await?);
    }
    for number in 0..3 {
        tickets.push(queue.submit(job("small", format!("{number}"), 1)).await?);
    }
    let given_up = queue.submit(job("small", "that nobody wants any more".to_owned(), 1)).await?;
    queue.cancel(given_up.id());
    sleep(Duration::from_millis(30)).await;

    println!("`late` comes with class 0, before all that wait:");
    tickets.push(queue.submit(job("late", "urgent".to_owned(), 0)).await?);
    assert_eq!(Outcome::Cancelled, given_up.await);
    for ticket in tickets {
        assert_eq!(Outcome::Done, ticket.await);
    }
    let counters = queue.snapshot().counters;
    println!("{} done, {} cancelled", counters.done, counters.cancelled_queued);
    Ok(())
}
