//! All that a queue knows, under its one lock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::Hash;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::effects::Effects;
use super::room::Room;
use super::worker::Start;
use super::{Options, Shutdown};
use crate::events::{Event, Step, Teller};
use crate::job::{Finish, Id, Job, Outcome, Refusal, Refused, State as JobState};
use crate::journal::{Entry, Journal, Record};
use crate::latch::Latch;
use crate::rules::{Overflow, Rules};
use crate::scheduler::Scheduler;
use crate::ticket::Ticket;
use crate::work::{Fate, Work, drop_quietly};

/// The scheduler and who waits for it.
pub(super) struct State<K> {
    pub(super) scheduler: Scheduler<K, Work>,
    pub(super) room: Room,
    /// How the latest jobs ended, oldest first.
    history: VecDeque<(Id, Outcome)>,
    history_max: usize,
    pub(super) teller: Teller<K>,
    journal: Option<Box<dyn Journal<K>>>,
    /// Records of replayed jobs that joined another: at most what the journal has unfinished.
    joined: BTreeMap<Id, BTreeSet<Entry>>,
    /// Jobs that are to end before their time and not because somebody cancelled them: the journal
    /// keeps those that do not get done all the same.
    cut_short: BTreeSet<Id>,
    pub(super) journal_failures: u64,
    /// Set when nothing is queued or running; renewed by who waits for the next time.
    idle: Option<Arc<Latch<()>>>,
    pub(super) timer: Timer,
    overflow: Overflow,
    capacity: usize,
    /// Nothing is let in or started any more.
    closing: bool,
}

/// The task that ends jobs which were queued for too long.
pub(super) enum Timer {
    /// No queued job has a time-out.
    Off,
    /// It sleeps until then, and can be woken for an earlier one.
    Until(Duration, Option<Waker>),
}

impl<K: Clone + Eq + Hash> State<K> {
    pub(super) fn new(rules: Rules, options: Options<K>) -> Self {
        Self {
            overflow: rules.overflow,
            capacity: rules.capacity.max(1),
            scheduler: Scheduler::new(rules),
            room: Room::default(),
            history: VecDeque::new(),
            history_max: options.history_max,
            teller: Teller::new(options.events_max),
            journal: options.journal,
            joined: BTreeMap::new(),
            cut_short: BTreeSet::new(),
            journal_failures: 0,
            idle: None,
            timer: Timer::Off,
            closing: false,
        }
    }

    /// A place in the line for room, if this job needs one.
    pub(super) fn line_up(&mut self, job: &Job<K, Work>) -> Option<(u64, Arc<Latch<()>>)> {
        self.lacks_room_for(job).then(|| self.room.join())
    }

    /// Queues a job, or joins the one of its unique name.
    pub(super) fn submit(
        &mut self,
        job: Job<K, Work>,
        now: Duration,
        effects: &mut Effects,
    ) -> Result<Ticket, Refused<K, Work>> {
        // Room that is kept for a submitter in line is none for others.
        if self.lacks_room_for(&job) {
            let capacity = self.capacity;
            return Err(self.scheduler.reject(job, Refusal::Full { capacity }));
        }
        let (fate, key) = (Arc::clone(job.work.pledge.fate()), job.key.clone());
        let Self { scheduler, journal, .. } = self;
        let record = |job: &mut Job<K, Work>| record_new(journal.as_deref_mut(), job);
        let pushed = match scheduler.push_if(job, now, record) {
            Ok(pushed) => pushed,
            Err(Refused { why: Refusal::Duplicate(id), job }) => {
                return Ok(self.join(id, job.work, effects));
            }
            Err(refused) => return Err(refused),
        };
        if let Some((id, work)) = pushed.shed {
            self.ended(id, work, Outcome::Shed, effects);
        }
        self.tell(pushed.id, || Step::Submitted(key), effects);
        Ok(Ticket::new(pushed.id, fate, false))
    }

    /// Lets a job be the one that is there; its record, if it was replayed, ends with that one.
    fn join(&mut self, id: Id, work: Work, effects: &mut Effects) -> Ticket {
        let first = self.scheduler.work(id).expect("a twin has not ended");
        if let Some(entry) = work.entry.filter(|_| work.entry != first.entry) {
            self.joined.entry(id).or_default().insert(entry);
        }
        let fate = Arc::clone(first.pledge.fate());
        effects.dropped.push(work);
        Ticket::new(id, fate, true)
    }

    /// Ends a running job.
    pub(super) fn finish(&mut self, id: Id, finish: Finish, effects: &mut Effects) {
        if let Some(work) = self.scheduler.finish(id, finish) {
            self.ended(id, work, finish.into(), effects);
        }
    }

    /// Ends a queued job, or asks a running one to end; returns the state that it saw.
    pub(super) fn cancel(&mut self, id: Id, effects: &mut Effects) -> Option<JobState> {
        let state = self.scheduler.state(id)?;
        match self.scheduler.cancel(id) {
            Some(work) => self.ended(id, work, Outcome::Cancelled, effects),
            None => effects.stopped.extend(self.fate(id)),
        }
        Some(state)
    }

    /// Ends what was queued for too long, and does what follows.
    pub(super) fn expire(&mut self, now: Duration, effects: &mut Effects) {
        if self.scheduler.next_deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        while let Some((id, work)) = self.scheduler.expire(now) {
            self.ended(id, work, Outcome::TimedOut, effects);
        }
        self.follow_up(now, effects);
    }

    /// Lets nothing in and starts nothing any more; cancels what is queued and, to abort, asks what
    /// runs to end.
    pub(super) fn shut_down(&mut self, how: Shutdown, effects: &mut Effects) {
        self.scheduler.close();
        self.closing = true;
        let ids: Vec<_> = self.scheduler.ids().collect();
        for (id, state) in ids {
            if state == JobState::Queued || how == Shutdown::Abort {
                self.cut_short(id);
                self.cancel(id, effects);
            }
        }
        effects.opened.extend(self.room.dismiss());
    }

    /// Ends a job whose task is gone.
    pub(super) fn lose(&mut self, id: Id, effects: &mut Effects) {
        self.cut_short(id);
        self.finish(id, Finish::Failed, effects);
    }

    /// Has the journal keep a job that is about to end, unless it was cancelled by id before.
    fn cut_short(&mut self, id: Id) {
        if self.fate(id).is_some_and(|fate| fate.stop.get().is_none()) {
            self.cut_short.insert(id);
        }
    }

    /// Starts all that may start, gives room to those who wait for it, and sees to the timer: what
    /// follows each change.
    pub(super) fn follow_up(&mut self, now: Duration, effects: &mut Effects) {
        while let Some(id) = self.scheduler.next(now) {
            self.start(id, effects);
        }
        while self.has_room() && !self.closing {
            let Some(latch) = self.room.reserve() else { break };
            effects.opened.push(latch);
        }
        if self.is_idle() {
            effects.opened.extend(self.idle.take());
        }
        self.see_to_timer(effects);
    }

    /// Whether neither queued nor running jobs are left.
    pub(super) fn is_idle(&self) -> bool {
        let counters = self.scheduler.counters();
        counters.queued() == 0 && counters.running() == 0
    }

    /// Set as soon as neither queued nor running jobs are left.
    pub(super) fn idle_latch(&mut self) -> Arc<Latch<()>> {
        Arc::clone(self.idle.get_or_insert_with(|| Arc::new(Latch::new())))
    }

    pub(super) fn fate(&self, id: Id) -> Option<Arc<Fate>> {
        self.scheduler.work(id).map(|work| Arc::clone(work.pledge.fate()))
    }

    /// How one of the latest jobs ended.
    pub(super) fn past(&self, id: Id) -> Option<Outcome> {
        self.history.iter().rev().find(|(past, _)| *past == id).map(|(_, outcome)| *outcome)
    }

    /// Whether a submitter of this job has to wait, if it can.
    fn lacks_room_for(&self, job: &Job<K, Work>) -> bool {
        self.overflow == Overflow::Wait
            && !self.closing
            && !self.has_room()
            && self.scheduler.twin_of(job).is_none()
    }

    fn has_room(&self) -> bool {
        let queued = usize::try_from(self.scheduler.counters().queued()).unwrap_or(usize::MAX);
        queued + self.room.reserved() < self.capacity
    }

    fn start(&mut self, id: Id, effects: &mut Effects) {
        let work = self.scheduler.work_mut(id).expect("it was started just now");
        let code = work.code.take().expect("a job is started once");
        let (fate, entry) = (Arc::clone(work.pledge.fate()), work.entry);
        self.record(entry, |journal, entry| journal.started(entry));
        self.tell(id, || Step::Started, effects);
        effects.starts.push(Start { id, code, fate });
    }

    /// What follows each end of a job.
    fn ended(&mut self, id: Id, work: Work, outcome: Outcome, effects: &mut Effects) {
        let joined = self.joined.remove(&id).unwrap_or_default();
        if !self.cut_short.remove(&id) || outcome == Outcome::Done {
            let entries = work.entry.into_iter().chain(joined);
            self.record(entries, |journal, entry| journal.ended(entry, outcome));
        }
        if 0 < self.history_max {
            if self.history.len() == self.history_max {
                self.history.pop_front();
            }
            self.history.push_back((id, outcome));
        }
        self.tell(id, || Step::Ended(outcome), effects);
        effects.ended.push((work, outcome));
    }

    /// Has the journal record something about jobs that it knows; failures are counted.
    fn record(
        &mut self,
        entries: impl IntoIterator<Item = Entry>,
        mut write: impl FnMut(&mut dyn Journal<K>, Entry) -> io::Result<()>,
    ) {
        let Some(journal) = &mut self.journal else { return };
        for entry in entries {
            let written = caught(|| write(&mut **journal, entry));
            self.journal_failures += u64::from(written.is_err());
        }
    }

    fn tell(&self, id: Id, step: impl FnOnce() -> Step<K>, effects: &mut Effects) {
        self.teller.tell(|| Event { id, step: step() }, &mut effects.wakers);
    }

    /// Has the timer started, or woken for an earlier deadline than the one that it sleeps for.
    fn see_to_timer(&mut self, effects: &mut Effects) {
        let Some(deadline) = self.scheduler.next_deadline() else { return };
        match &mut self.timer {
            Timer::Off => {
                self.timer = Timer::Until(deadline, None);
                effects.starts_timer = true;
            }
            Timer::Until(until, waker) if deadline < *until => {
                *until = deadline;
                effects.wakers.extend(waker.take());
            }
            Timer::Until(..) => {}
        }
    }
}

/// Has the journal record a new job that has a note.
fn record_new<K>(
    journal: Option<&mut (dyn Journal<K> + '_)>,
    job: &mut Job<K, Work>,
) -> Result<(), Refusal> {
    let (Some(journal), Some(note), None) = (journal, &job.work.note, job.work.entry) else {
        return Ok(());
    };
    let (key, class, cost, unique) = (&job.key, job.class, job.cost, job.unique.as_deref());
    let record = Record { key, class, cost, unique, note };
    let entry = caught(|| journal.submitted(&record));
    job.work.entry = Some(entry.map_err(|error| Refusal::Journal(Arc::new(error)))?);
    Ok(())
}

/// Writes into a journal, whose panic is one more way to fail: let through it would cut a transition short,
/// and a started job would run for ever.
fn caught<T>(write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    catch_unwind(AssertUnwindSafe(write)).unwrap_or_else(|payload| {
        drop_quietly(payload);
        Err(io::Error::other("the journal panicked"))
    })
}
