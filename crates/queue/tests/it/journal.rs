//! What a journal is told, and what it brings back.

use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use queue::{
    Entry, Finish, Job, Journal, MemoryJournal, Options, Outcome, Queue, Record, Refusal, Rules,
    Shutdown, Unfinished, Work,
};

use crate::worlds::{Gate, no_op, settle};

fn options(journal: &MemoryJournal<&'static str>) -> Options<&'static str> {
    Options { journal: Some(Box::new(journal.clone())), ..Options::default() }
}

fn notes(journal: &mut MemoryJournal<&'static str>) -> Vec<(String, bool)> {
    let note = |unfinished: &Unfinished<_>| {
        (String::from_utf8(unfinished.note.to_vec()).unwrap(), unfinished.started)
    };
    journal.replay().unwrap().iter().map(note).collect()
}

#[tokio::test]
async fn what_a_shutdown_cuts_short_is_unfinished_and_all_else_is_over() {
    let mut journal = MemoryJournal::new();
    let queue = Queue::with_options(Rules { cap: 2, ..Rules::default() }, options(&journal));
    let gate = Gate::new();
    let noted = |name: &str| Job::new("a", gate.work().noted(name.as_bytes()));

    let done = queue.submit(noted("done")).await.unwrap();
    gate.open(1);
    done.await;
    queue.submit(noted("running")).await.unwrap();
    queue.submit(no_op("a")).await.unwrap();
    queue.pause(&"b");
    queue.submit(Job { key: "b", class: 3, cost: 9, ..noted("queued") }).await.unwrap();
    let cancelled = queue.submit(Job { key: "b", ..noted("cancelled") }).await.unwrap();
    queue.cancel(cancelled.id());
    settle().await;
    let expected = [("running".to_owned(), true), ("queued".to_owned(), false)];
    assert_eq!(expected[..], notes(&mut journal));

    let stop = tokio::spawn(async move { queue.shutdown(Shutdown::Abort).await });
    settle().await;
    stop.abort();
    assert_eq!(expected[..], notes(&mut journal));
    let unfinished = journal.replay().unwrap().pop().unwrap();
    assert_eq!(("b", 3, 9), (unfinished.key, unfinished.class, unfinished.cost));
}

/// Q9. The premise: a runtime that is shut down drops its tasks, and the journal outlives it.
#[test]
fn what_ran_when_its_runtime_ended_is_unfinished() {
    let mut journal = MemoryJournal::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let queue = Queue::with_options(Rules { cap: 1, ..Rules::default() }, options(&journal));
        for name in ["running", "queued"] {
            queue.submit(Job::new("a", Gate::new().work().noted(name.as_bytes()))).await.unwrap();
        }
        settle().await;
    });
    drop(runtime);
    let expected = [("running".to_owned(), true), ("queued".to_owned(), false)];
    assert_eq!(expected[..], notes(&mut journal));
}

/// A job that answers the stop is over if it says that it is done, or was cancelled by id before.
#[tokio::test]
async fn what_fails_because_of_an_abort_is_unfinished() {
    let mut journal = MemoryJournal::new();
    let queue = Queue::with_options(Rules::default(), options(&journal));
    let job = |name: &str, answer: Finish| {
        let work = Work::stoppable(move |stop| async move {
            stop.requested().await;
            answer
        });
        Job::new("a", work.noted(name.as_bytes()))
    };
    queue.submit(job("done", Finish::Done)).await.unwrap();
    queue.submit(job("failed", Finish::Failed)).await.unwrap();
    queue.submit(job("cancelled", Finish::Cancelled)).await.unwrap();
    let by_id = queue.submit(job("cancelled by id", Finish::Failed)).await.unwrap();
    settle().await;
    queue.cancel(by_id.id());
    queue.shutdown(Shutdown::Abort).await;
    let expected = ["failed", "cancelled"].map(|name| (name.to_owned(), true));
    assert_eq!(expected[..], notes(&mut journal));
}

#[tokio::test]
async fn what_fails_by_itself_while_the_queue_drains_is_over() {
    let mut journal = MemoryJournal::new();
    let queue = Queue::with_options(Rules::default(), options(&journal));
    let work = Work::new(async { Err::<(), _>("no disk") }).noted(*b"failed");
    queue.submit(Job::new("a", work)).await.unwrap();
    queue.shutdown(Shutdown::Drain).await;
    assert_eq!(0, notes(&mut journal).len());
}

#[tokio::test]
async fn a_replayed_job_keeps_its_record() {
    let mut journal = MemoryJournal::new();
    let queue = Queue::with_options(Rules { cap: 0, ..Rules::default() }, options(&journal));
    queue.submit(Job::new("a", Work::new(async {}).noted(*b"x"))).await.unwrap();
    drop(queue);

    let queue = Queue::with_options(Rules::default(), options(&journal));
    let unfinished = journal.replay().unwrap().pop().unwrap();
    queue.pause(&"a");
    let ticket = queue.submit(unfinished.clone().into_job(Work::new(async {}))).await.unwrap();
    assert_eq!(vec![unfinished], journal.replay().unwrap(), "it is not recorded a second time");
    queue.resume(&"a");
    assert_eq!(Outcome::Done, ticket.await);
    assert_eq!(0, journal.replay().unwrap().len());
}

/// The premise: after a restart somebody asks for the same before the old job is replayed.
#[tokio::test]
async fn a_replayed_job_that_joins_another_ends_with_it() {
    let mut journal = MemoryJournal::new();
    let named = |work: Work| Job { unique: Some("model".into()), ..Job::new("a", work) };
    let queue = Queue::with_options(Rules { cap: 0, ..Rules::default() }, options(&journal));
    queue.submit(named(Work::new(async {}).noted(*b"old"))).await.unwrap();
    drop(queue);

    let (gate, old) = (Gate::new(), journal.replay().unwrap().pop().unwrap());
    let queue = Queue::with_options(Rules::default(), options(&journal));
    let twin = queue.submit(named(gate.work().noted(*b"new"))).await.unwrap();
    let joined = queue.submit(old.into_job(Work::new(async {}))).await.unwrap();
    settle().await;
    assert_eq!((true, 2), (joined.is_joined(), notes(&mut journal).len()));
    gate.open(1);
    assert_eq!(Outcome::Done, twin.await);
    assert_eq!(0, notes(&mut journal).len());
}

/// Fails from the second call on.
struct Broken(Arc<AtomicUsize>);

impl Broken {
    fn write(&self) -> io::Result<()> {
        let calls = self.0.fetch_add(1, Ordering::SeqCst);
        if calls == 0 { Ok(()) } else { Err(io::Error::other("no space left")) }
    }
}

impl Journal<&'static str> for Broken {
    fn submitted(&mut self, _: &Record<'_, &'static str>) -> io::Result<Entry> {
        self.write().map(|()| Entry(0))
    }

    fn started(&mut self, _: Entry) -> io::Result<()> {
        self.write()
    }

    fn ended(&mut self, _: Entry, _: Outcome) -> io::Result<()> {
        self.write()
    }

    fn replay(&mut self) -> io::Result<Vec<Unfinished<&'static str>>> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_broken_journal_refuses_new_jobs_and_lets_old_ones_end() {
    let journal: Box<dyn Journal<_>> = Box::new(Broken(Arc::default()));
    let options = Options { journal: Some(journal), ..Options::default() };
    let queue = Queue::with_options(Rules::default(), options);
    let noted = || Job::new("a", Work::new(async {}).noted(*b"x"));
    let ticket = queue.submit(noted()).await.unwrap();
    assert_eq!(Outcome::Done, ticket.await);
    assert_eq!(2, queue.snapshot().journal_failures);

    let refused = queue.submit(noted()).await.unwrap_err();
    assert!(matches!(refused.why, Refusal::Journal(_)), "{refused}");
    assert_eq!(Outcome::Done, queue.submit(no_op("a")).await.unwrap().await);
}

/// One of its calls fails, and not in the way that it may.
struct Panicking(&'static str);

impl Panicking {
    fn call(&self, name: &str) -> io::Result<Entry> {
        if self.0 == name { resume_unwind(Box::new("a journal of the test")) } else { Ok(Entry(0)) }
    }
}

impl Journal<&'static str> for Panicking {
    fn submitted(&mut self, _: &Record<'_, &'static str>) -> io::Result<Entry> {
        self.call("submitted")
    }

    fn started(&mut self, _: Entry) -> io::Result<()> {
        self.call("started").map(drop)
    }

    fn ended(&mut self, _: Entry, _: Outcome) -> io::Result<()> {
        self.call("ended").map(drop)
    }

    fn replay(&mut self) -> io::Result<Vec<Unfinished<&'static str>>> {
        Ok(Vec::new())
    }
}

#[tokio::test]
async fn a_journal_that_panics_has_failed_and_takes_no_slot_along() {
    for (call, expected) in [("submitted", (1, 0)), ("started", (0, 1)), ("ended", (0, 1))] {
        let journal: Box<dyn Journal<_>> = Box::new(Panicking(call));
        let options = Options { journal: Some(journal), ..Options::default() };
        let queue = Queue::with_options(Rules { cap: 1, ..Rules::default() }, options);
        match queue.submit(Job::new("a", Work::new(async {}).noted(*b"x"))).await {
            Ok(ticket) => assert_eq!(Outcome::Done, ticket.await),
            Err(refused) => assert!(matches!(refused.why, Refusal::Journal(_)), "{refused}"),
        }
        let snapshot = queue.snapshot();
        assert_eq!(expected, (snapshot.counters.rejected, snapshot.journal_failures), "{call}");
        assert_eq!(Outcome::Done, queue.submit(no_op("a")).await.unwrap().await, "{call}");
    }
}
