//! What went wrong in the queues of others, each with its premise.

use std::time::Duration;

use queue::{Finish, Job, Rules, Scheduler};

/// `rails/solid_queue#237`: jobs that are blocked by the cap of their key lose their priority, and 1000
/// jobs of the lowest class ran before one of a better class.
///
/// Premise: the job was submitted after the others and while its key was at its cap, so that it was
/// never eligible when the others were; the slot of its key then becomes free.
#[test]
fn solid_queue_237_a_blocked_job_keeps_its_rank() {
    let now = Duration::ZERO;
    let mut scheduler = Scheduler::new(Rules { cap: 4, key_cap: 4, ..Rules::default() });
    let best_effort = Job { class: 3, ..Job::new("predictions", ()) };
    for _ in 0..1000 {
        scheduler.push(best_effort.clone(), now).unwrap();
    }
    let running: Vec<_> = std::iter::from_fn(|| scheduler.next(now)).collect();
    assert_eq!(4, running.len());
    let urgent = Job { class: 2, ..Job::new("predictions", ()) };
    let urgent = scheduler.push(urgent, now).unwrap().id;
    // Another key has plenty of lesser jobs, too, and is not blocked.
    for _ in 0..1000 {
        scheduler.push(Job { class: 3, ..Job::new("other", ()) }, now).unwrap();
    }
    assert_eq!(None, scheduler.next(now), "all slots are taken");
    scheduler.finish(running[0], Finish::Done);
    assert_eq!(Some(urgent), scheduler.next(now));
}

#[cfg(feature = "tokio")]
mod running {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Waker};

    use queue::{Job, Queue, Rules, Work};
    use tokio::task::yield_now;

    use crate::worlds::load;

    /// Jobs that count how many of them run at once.
    #[derive(Clone, Default)]
    struct Census {
        running: Arc<AtomicUsize>,
        most: Arc<AtomicUsize>,
        ran: Arc<AtomicUsize>,
    }

    impl Census {
        fn work(&self, fails: bool) -> Work {
            let census = self.clone();
            Work::new(async move {
                let running = census.running.fetch_add(1, Ordering::SeqCst) + 1;
                census.most.fetch_max(running, Ordering::SeqCst);
                yield_now().await;
                census.running.fetch_sub(1, Ordering::SeqCst);
                census.ran.fetch_add(1, Ordering::SeqCst);
                if fails { Err(()) } else { Ok(()) }
            })
        }
    }

    /// `taskforcesh/bullmq#3210`: a group with a cap of 1 runs two jobs at once.
    ///
    /// Premise: several workers on several threads end, fail and fetch jobs of the group at the same
    /// time, while jobs are added and the cap is set again.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn bullmq_3210_a_cap_of_one_runs_one() {
        let queue = Queue::new(Rules { cap: 16, key_cap: 1, ..Rules::default() });
        let groups: Vec<_> = (0..4).map(|_| Census::default()).collect();
        let submitters: Vec<_> = (0..4)
            .map(|submitter| {
                let (queue, groups) = (queue.clone(), groups.clone());
                tokio::spawn(async move {
                    for number in 0..400 {
                        let group = (submitter + number) % groups.len();
                        let work = groups[group].work(number % 5 == 0);
                        queue.submit(Job::new(group, work)).await.unwrap();
                        if number % 50 == 0 {
                            queue.pause(&group);
                            queue.set_key_cap(&group, 1);
                            queue.resume(&group);
                        }
                    }
                })
            })
            .collect();
        for submitter in submitters {
            submitter.await.unwrap();
        }
        queue.idle().await;
        for group in groups {
            assert_eq!(1, group.most.load(Ordering::SeqCst));
            assert_eq!(400, group.ran.load(Ordering::SeqCst));
        }
    }

    /// `apalis-dev/apalis#302`: the limit is lost, and a worker starts whatever it can fetch.
    ///
    /// Premise: far more jobs wait than may run, and each of them waits for something itself, so that
    /// a worker that does not count has them all in flight at once.
    #[tokio::test]
    async fn apalis_302_a_backlog_does_not_lift_the_limit() {
        let queue = Queue::new(Rules { cap: 3, capacity: 10_000, ..Rules::default() });
        let census = Census::default();
        for _ in 0..5000 {
            queue.try_submit(Job::new("a", census.work(false))).unwrap();
        }
        queue.idle().await;
        assert_eq!(3, census.most.load(Ordering::SeqCst));
        assert_eq!(5000, census.ran.load(Ordering::SeqCst));
    }

    /// `fereidani/kanal#24` and #50: a value is lost when a future that is about to hand it over is
    /// dropped, as the branches of `select!` are that come second.
    ///
    /// Premise: room was granted to a submission, which is dropped before it is polled again. Nothing
    /// may be queued then, the room must not be lost, and each job is either run or dropped, never
    /// neither: the destructor of its code says so.
    #[tokio::test]
    async fn kanal_24_and_50_a_dropped_submission_loses_neither_job_nor_room() {
        let queue = Queue::new(Rules { cap: 1, capacity: 1, ..Rules::default() });
        let alive = Arc::new(());
        let ran = Arc::new(AtomicUsize::new(0));
        let work = || {
            let (alive, ran) = (Arc::clone(&alive), Arc::clone(&ran));
            Work::new(async move {
                let _alive = alive;
                ran.fetch_add(1, Ordering::SeqCst);
            })
        };
        let mut queued = 0;
        for _ in 0..200 {
            queue.set_cap(0);
            queue.submit(Job::new("a", work())).await.unwrap();
            queued += 1;
            {
                let mut submit = pin!(queue.submit(Job::new("a", work())));
                let mut cx = Context::from_waker(Waker::noop());
                assert!(submit.as_mut().poll(&mut cx).is_pending());
                // The queued job starts, and its room is granted to the submission.
                queue.set_cap(1);
            }
            queue.idle().await;
            assert_eq!((0, 0), load(&queue));
        }
        assert_eq!((queued, 1), (ran.load(Ordering::SeqCst), Arc::strong_count(&alive)));
        assert_eq!(queued as u64, queue.snapshot().counters.submitted);
    }
}
