//! One thread's share of a run.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pool::{Options, Pool};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinSet;

use super::connection::{CONNECT_TIMEOUT, Opener};
use super::exchange::{Exchange, Order};
use super::{Connections, HEAD_START_NS, Shared};
use crate::stream::arrivals::Arrivals;
use crate::stream::plan::Load;
use crate::stream::record::{NotSent, Outcome, RequestRecord};
use crate::stream::seam::Alarm;
use crate::stream::trace::Traced;

/// A client in a closed loop whose request failed waits so long before the next: a server that refuses
/// at once would otherwise be asked 100 000 times a second.
const FAILURE_PAUSE: Duration = Duration::from_millis(10);
/// How long a connection may be idle: below the 5 s of Node.js, the shortest time-out that is common among
/// servers.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Nearer than this, an alarm would come later than going on at once.
const ALARM_MIN_NS: u64 = 5_000;

pub(super) async fn work(
    shared: Arc<Shared>,
    worker: usize,
) -> std::io::Result<Vec<RequestRecord>> {
    let flavor = Handle::current().runtime_flavor();
    assert_eq!(RuntimeFlavor::CurrentThread, flavor, "stamps need a `current_thread` runtime");
    assert!(worker < shared.plan.workers, "worker {worker} of {}", shared.plan.workers);
    let connections = connections(&shared, worker);
    let alarm = Alarm::new()?;
    alarm.until(shared.clock.system_ns(HEAD_START_NS)).await?;
    let workers = shared.plan.workers;
    match &shared.plan.load {
        Load::Closed { streams } => {
            Ok(closed(&shared, &connections, share(*streams, worker, &shared)).await)
        }
        Load::Open { rate, arrival } => {
            let arrivals = Arrivals::new(*arrival, *rate, shared.plan.seed);
            let due =
                arrivals.share(worker, workers).map(|(number, due_ns)| (number, due_ns, None));
            open(&shared, &connections, &alarm, due).await
        }
        Load::Replay { trace } => {
            let due = (0_u64..).zip(trace.requests()).skip(worker).step_by(workers);
            let due = due.map(|(number, traced)| (number, traced.due_ns, Some(*traced)));
            open(&shared, &connections, &alarm, due).await
        }
    }
}

/// A worker's part of so many.
fn share(total: usize, worker: usize, shared: &Shared) -> usize {
    let workers = shared.plan.workers;
    total / workers + usize::from(worker < total % workers)
}

fn connections(shared: &Arc<Shared>, worker: usize) -> Connections {
    let connections_max = match shared.plan.load {
        Load::Closed { streams } => share(streams, worker, shared),
        _ => shared.plan.in_flight_max,
    };
    // One that is closing still has its place: the next must not wait for it. A plan that was checked has
    // room for twice as many.
    let places = 2 * connections_max.max(1);
    let options = Options {
        connections_max: places,
        connections_per_key_max: places,
        waiters_max: places,
        idle_timeout: Some(IDLE_TIMEOUT),
        connect_timeout: Some(CONNECT_TIMEOUT),
        ..Options::default()
    };
    Pool::new(Opener(shared.clone()), options)
}

/// So many clients, each of which asks again when it was answered.
async fn closed(
    shared: &Arc<Shared>,
    connections: &Connections,
    streams: usize,
) -> Vec<RequestRecord> {
    let mut clients = JoinSet::new();
    for _ in 0..streams {
        let exchange = Exchange::new(shared.clone(), connections.clone());
        clients.spawn(one_after_the_other(shared.clone(), exchange));
        // Connecting takes more room than streaming: thousands that connect at one instant would be the
        // peak of our memory, and a burst that no server deserves. Now this one goes first.
        tokio::task::yield_now().await;
    }
    let mut records = Vec::new();
    while let Some(done) = clients.join_next().await {
        records.extend(done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())));
    }
    records
}

async fn one_after_the_other(shared: Arc<Shared>, exchange: Exchange) -> Vec<RequestRecord> {
    let mut records = Vec::new();
    while let Some(number) = next_number(&shared) {
        let record = exchange.run(number, shared.clock.now_ns(), Order::of(&shared)).await;
        let has_failed = !record.is_ok();
        records.push(record);
        if has_failed && !shared.is_stopped() {
            tokio::time::sleep(FAILURE_PAUSE).await;
        }
    }
    records
}

/// The number of the next request in a closed loop, unless it is over.
fn next_number(shared: &Shared) -> Option<u64> {
    if shared.is_stopped() || shared.end_ns() <= shared.clock.now_ns() {
        return None;
    }
    let number = shared.next_number.fetch_add(1, Ordering::Relaxed);
    (number < shared.plan.requests_max()).then_some(number)
}

/// Requests on a clock. What is due is sent, however late we are; nothing is moved.
async fn open(
    shared: &Arc<Shared>,
    connections: &Connections,
    alarm: &Alarm,
    due: impl Iterator<Item = (u64, u64, Option<Traced>)>,
) -> std::io::Result<Vec<RequestRecord>> {
    let requests = shared.plan.requests_max();
    let end_ns = shared.end_ns();
    let planned = due
        .map(|(number, due_ns, traced)| (number, HEAD_START_NS.saturating_add(due_ns), traced))
        .take_while(|&(number, due_ns, _)| number < requests && due_ns < end_ns);
    let mut under_way = JoinSet::new();
    let mut records = Vec::new();
    for (number, due_ns, traced) in planned {
        // A long prompt takes time to write: it is spent before the request is due.
        let order =
            traced.map_or_else(|| Order::of(shared), |traced| Order::traced(shared, &traced));
        if !wait(shared, alarm, due_ns).await? {
            // What fell due while we were told to stop is listed; what was not due yet was not planned.
            if shared.clock.now_ns() < due_ns {
                break;
            }
            records.push(not_sent(shared, number, due_ns, &order, NotSent::Interrupted));
            continue;
        }
        if shared.plan.in_flight_max <= shared.counters.in_flight.load(Ordering::Relaxed) {
            records.push(not_sent(shared, number, due_ns, &order, NotSent::TooManyInFlight));
            continue;
        }
        let exchange = Exchange::new(shared.clone(), connections.clone());
        under_way.spawn(async move { exchange.run(number, due_ns, order).await });
        while let Some(done) = under_way.try_join_next() {
            records.push(finished(done));
        }
    }
    while let Some(done) = under_way.join_next().await {
        records.push(finished(done));
    }
    Ok(records)
}

fn finished(done: Result<RequestRecord, tokio::task::JoinError>) -> RequestRecord {
    done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Waits until a request is due; `false` when the run was stopped before.
async fn wait(shared: &Shared, alarm: &Alarm, due_ns: u64) -> std::io::Result<bool> {
    if shared.is_stopped() {
        return Ok(false);
    }
    if due_ns <= shared.clock.now_ns() + ALARM_MIN_NS {
        // Others have to run, too: a sender that is behind must not starve its own requests.
        tokio::task::yield_now().await;
        return Ok(!shared.is_stopped());
    }
    tokio::select! {
        biased;
        waited = alarm.until(shared.clock.system_ns(due_ns)) => waited.map(|()| true),
        () = shared.stop.notified() => Ok(false),
    }
}

fn not_sent(
    shared: &Shared,
    number: u64,
    intended_ns: u64,
    order: &Order,
    reason: NotSent,
) -> RequestRecord {
    shared.counters.not_sent.fetch_add(1, Ordering::Relaxed);
    RequestRecord {
        number,
        intended_ns,
        warmup: shared.is_warmup(intended_ns),
        tokens_asked: order.tokens,
        outcome: Outcome::NotSent { reason },
        ..RequestRecord::default()
    }
}
