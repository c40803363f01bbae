//! The peers of `queue`, each with the same jobs: 4 classes in turn, first come, first served inside.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use benches::queue_bodies::{
    DISPATCH_CAP, DISPATCH_JOBS, DISPATCH_KEY_CAP, DISPATCH_KEYS, two_threads,
};
use benches::{Body, Run};
use priority_queue::PriorityQueue;
use tokio::sync::Semaphore;

/// All bodies of this module.
pub(crate) const BODIES: &[Body] = &[
    Body { case: "queue/push-pop-8", subject: "binary-heap", prepare: || heap(8) },
    Body { case: "queue/push-pop-10k", subject: "binary-heap", prepare: || heap(10_000) },
    Body { case: "queue/push-pop-1m", subject: "binary-heap", prepare: || heap(1_000_000) },
    Body { case: "queue/push-pop-8", subject: "priority-queue", prepare: || queue(8) },
    Body { case: "queue/push-pop-10k", subject: "priority-queue", prepare: || queue(10_000) },
    Body { case: "queue/push-pop-1m", subject: "priority-queue", prepare: || queue(1_000_000) },
    Body { case: "queue/push-pop-8", subject: "async-priority-channel", prepare: || channel(8) },
    Body {
        case: "queue/push-pop-10k",
        subject: "async-priority-channel",
        prepare: || channel(10_000),
    },
    Body {
        case: "queue/push-pop-1m",
        subject: "async-priority-channel",
        prepare: || channel(1_000_000),
    },
    Body { case: "queue/cancel-8", subject: "priority-queue", prepare: || remove(8) },
    Body { case: "queue/cancel-10k", subject: "priority-queue", prepare: || remove(10_000) },
    Body { case: "queue/cancel-1m", subject: "priority-queue", prepare: || remove(1_000_000) },
    Body { case: "queue/dispatch", subject: "tokio-semaphores", prepare: semaphores },
];

/// Ageing of a class in the unit of a job's number, as ours has 60 s at a job per microsecond.
const AGEING: u64 = 60_000_000;

/// The same order as ours: the greatest is next.
type Rank = Reverse<(u64, u64)>;

fn rank(number: u64) -> Rank {
    Reverse((number + number % 4 * AGEING, number))
}

/// The standard library's heap: no keys, no cancellation, no lock.
fn heap(jobs: u64) -> Run {
    let mut heap: BinaryHeap<(Rank, u64)> = (0..jobs).map(|n| (rank(n), n)).collect();
    let mut number = jobs;
    Box::new(move |iterations| {
        for _ in 0..iterations {
            heap.push((rank(number), number));
            number += 1;
            let (_, work) = heap.pop().expect("a job waits");
            assert!(work < number);
        }
    })
}

/// A heap with a hash map beside it.
fn queue(jobs: u64) -> Run {
    let mut queue: PriorityQueue<u64, Rank> = (0..jobs).map(|n| (n, rank(n))).collect();
    let mut number = jobs;
    Box::new(move |iterations| {
        for _ in 0..iterations {
            queue.push(number, rank(number));
            number += 1;
            let (work, _) = queue.pop().expect("a job waits");
            assert!(work < number);
        }
    })
}

/// A channel around a locked heap; the only peer that can be shared.
fn channel(jobs: u64) -> Run {
    let (sender, receiver) = async_priority_channel::unbounded::<u64, Rank>();
    for n in 0..jobs {
        sender.try_send(n, rank(n)).expect("it is open");
    }
    let mut number = jobs;
    Box::new(move |iterations| {
        for _ in 0..iterations {
            sender.try_send(number, rank(number)).expect("it is open");
            number += 1;
            let (work, _) = receiver.try_recv().expect("a job waits");
            assert!(work < number);
        }
    })
}

/// One in, and another one out by its name.
fn remove(jobs: u64) -> Run {
    const STEP: usize = 7919;
    let mut queue: PriorityQueue<u64, Rank> = (0..jobs).map(|n| (n, rank(n))).collect();
    let mut ids: Vec<u64> = (0..jobs).collect();
    let (mut number, mut at) = (jobs, 0);
    Box::new(move |iterations| {
        for _ in 0..iterations {
            at = (at + STEP) % ids.len();
            queue.remove(&ids[at]).expect("it is queued");
            queue.push(number, rank(number));
            ids[at] = number;
            number += 1;
        }
    })
}

/// What one does without a queue: a task per job, which takes a permit of its key and one of all.
/// There is no order, no bound on what waits, and no cancellation by id.
fn semaphores() -> Run {
    let runtime = two_threads();
    let all = Arc::new(Semaphore::new(DISPATCH_CAP));
    let keys: Vec<_> =
        (0..DISPATCH_KEYS).map(|_| Arc::new(Semaphore::new(DISPATCH_KEY_CAP))).collect();
    let done = Arc::new(AtomicU64::new(0));
    let mut expected = 0;
    Box::new(move |iterations| {
        let jobs = iterations * DISPATCH_JOBS;
        let (all, keys, count) = (Arc::clone(&all), keys.clone(), Arc::clone(&done));
        let submits = async move {
            let mut tasks = Vec::new();
            for key in keys.iter().cycle().take(usize::try_from(jobs).expect("it fits")) {
                let (all, key, count) = (Arc::clone(&all), Arc::clone(key), Arc::clone(&count));
                tasks.push(tokio::spawn(async move {
                    let _of_key = key.acquire().await.expect("it is not closed");
                    let _of_all = all.acquire().await.expect("it is not closed");
                    count.fetch_add(1, Ordering::Relaxed);
                }));
            }
            for task in tasks {
                task.await.expect("nothing panics");
            }
        };
        runtime.block_on(runtime.spawn(submits)).expect("nothing panics");
        expected += jobs;
        assert_eq!(expected, done.load(Ordering::Relaxed));
    })
}
