//! Who may generate: so many at once, so many in line, each key its share.
//!
//! [`Scheduler`] decides the order: classes with ageing, and among the keys of a class turns by weight
//! and tokens. Here is who waits for it. A place is a [`Permit`], in line or running: dropping it leaves,
//! wherever it stands, and lets the next one in.

#[cfg(feature = "shuttle")]
pub mod checked;
mod pace;
mod room;

use std::sync::Arc;
use std::time::Duration;

use limiter::{AdaptiveConcurrency, AdaptiveOptions, Moment, Sample};
use queue::{Finish, Id, Job, Rules, Scheduler, State as Standing};
use tokio::sync::oneshot;

use self::pace::Pace;
use self::room::Room;
use crate::options::Options;
use crate::seam::{Clock, nanoseconds};
use crate::sync::Mutex;
use crate::tenants::{Charge, Tenants};

/// What a round of turns gives to a key of weight 1, in tokens. Rounds in which nobody can pay are counted
/// and not visited, so the finest shares cost no more than coarse ones.
const QUANTUM: u64 = 1;
/// Where the search for the best number of running requests begins.
const RUNNING_START: usize = 16;

/// Why a request may not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no room to wait. It may be worth while after so long.
    Full(Duration),
    /// The server stops.
    Draining,
    /// Its turn did not come in time. It may be worth while after so long.
    TimedOut(Duration),
}

/// Who asks, and for how much.
#[derive(Debug)]
pub(crate) struct Entry {
    /// What it took of its key's rate; the key is its lane.
    pub(crate) charge: Charge,
    /// 0 is served first.
    pub(crate) class: u8,
    pub(crate) prompt_tokens: u64,
    /// At most so many are generated.
    pub(crate) tokens_max: u64,
}

/// One request, in line or running.
#[derive(Debug)]
struct Place {
    /// Its key's number.
    line: usize,
    /// Tokens at most, those of the prompt included.
    cost: u64,
    /// Whether it counts among those in line.
    waits: bool,
    /// Tells whoever waits that the turn has come, or never will.
    answer: Option<oneshot::Sender<Result<(), Refusal>>>,
}

#[derive(Debug)]
struct State {
    scheduler: Scheduler<usize, Place>,
    /// Whose turn it is, and who does not fit beside those that run.
    next: Option<Id>,
    requests: Room,
    tokens: Room,
    running_tokens: u64,
    running_tokens_max: u64,
    controller: Option<AdaptiveConcurrency>,
    pace: Pace,
    draining: bool,
}

/// The door.
#[derive(Debug)]
pub(crate) struct Admission {
    state: Mutex<State>,
    clock: Clock,
    /// Told when the last one has left.
    empty: tokio::sync::Notify,
}

impl Admission {
    pub(crate) fn new(options: &Options, tenants: &Tenants, clock: Clock) -> Self {
        let rules = Rules {
            cap: options.running_max,
            // Who may wait is decided here, by key.
            capacity: usize::MAX,
            ageing: options.ageing,
            quantum: QUANTUM,
            ..Rules::default()
        };
        let mut scheduler = Scheduler::new(rules);
        for tenant in tenants.all() {
            scheduler.set_weight(&tenant.number, tenant.weight);
        }
        let controller = options.adaptive.then(|| controller(options.running_max));
        if let Some(controller) = &controller {
            scheduler.set_cap(controller.limit());
        }
        let weights: Vec<u32> = tenants.all().iter().map(|tenant| tenant.weight.get()).collect();
        let state = State {
            scheduler,
            next: None,
            requests: Room::new(options.queued_max as u64, &weights),
            tokens: Room::new(options.queued_tokens_max, &weights),
            running_tokens: 0,
            running_tokens_max: options.running_tokens_max,
            controller,
            pace: Pace::default(),
            draining: false,
        };
        Self { state: Mutex::new(state), clock, empty: tokio::sync::Notify::new() }
    }

    /// Waits for a turn, first come, first served within a key and class.
    ///
    /// # Errors
    ///
    /// Why there is none.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place in line.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        entry: Entry,
        timeout: Duration,
    ) -> Result<Permit, Refusal> {
        let prompt_tokens = entry.prompt_tokens;
        let (mut permit, answer) = self.enter(entry)?;
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(told)) => told?,
            // The sender lives as long as the place in line, which the permit holds.
            Ok(Err(_)) => return Err(Refusal::Draining),
            Err(_) => return Err(Refusal::TimedOut(self.state.lock().wait())),
        }
        permit.charge.use_prompt(prompt_tokens);
        Ok(permit)
    }

    fn enter(
        self: &Arc<Self>,
        entry: Entry,
    ) -> Result<(Permit, oneshot::Receiver<Result<(), Refusal>>), Refusal> {
        let (sender, receiver) = oneshot::channel();
        let now = self.now();
        let line = entry.charge.tenant().number;
        let cost = entry.prompt_tokens.saturating_add(entry.tokens_max);
        let place = Place { line, cost, waits: false, answer: Some(sender) };
        let job = Job { class: entry.class, cost, ..Job::new(line, place) };
        let id = self.state.lock().enter(job, now)?;
        let admission = Arc::clone(self);
        Ok((Permit { admission, id, charge: entry.charge }, receiver))
    }

    /// Refuses everybody in line and whoever comes.
    pub(crate) fn drain(&self) {
        let mut state = self.state.lock();
        state.draining = true;
        let ids: Vec<Id> = state.scheduler.ids().map(|(id, _)| id).collect();
        for id in ids {
            let is_next = state.next == Some(id);
            if is_next || state.scheduler.state(id) == Some(Standing::Queued) {
                let place = state.take_out(id).expect("it is in line");
                if let Some(answer) = place.answer {
                    // Whoever has gone need not be told.
                    let _ = answer.send(Err(Refusal::Draining));
                }
            }
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.state.lock().draining
    }

    /// How many run, and how many wait.
    pub(crate) fn counts(&self) -> (u64, u64) {
        self.state.lock().counts()
    }

    /// So many tokens have left the server since its start. To be told several times a second.
    pub(crate) fn tick(&self, tokens_total: u64) {
        self.state.lock().tick(tokens_total, self.now());
    }

    /// Waits until nothing runs.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub(crate) async fn empty(&self) {
        loop {
            let told = self.empty.notified();
            if self.counts().0 == 0 {
                return;
            }
            told.await;
        }
    }

    fn leave(&self, id: Id, used_tokens: u64) {
        let now = self.now();
        let mut state = self.state.lock();
        state.leave(id, used_tokens, now);
        let is_empty = state.counts().0 == 0;
        drop(state);
        if is_empty {
            self.empty.notify_waiters();
        }
    }

    fn now(&self) -> Duration {
        Duration::from_nanos(self.clock.now_ns())
    }
}

fn controller(running_max: usize) -> AdaptiveConcurrency {
    let limit_max = running_max.max(1);
    let limit_start = RUNNING_START.min(limit_max);
    let options = AdaptiveOptions { limit_max, limit_start, ..AdaptiveOptions::default() };
    AdaptiveConcurrency::new(options, Moment::ZERO).expect("the limits ascend from 1")
}

fn moment(since_start: Duration) -> Moment {
    Moment::from_nanos(nanoseconds(since_start))
}

impl State {
    /// Queues a request and starts whoever may; a request that neither starts nor finds room to wait
    /// is out again.
    fn enter(&mut self, job: Job<usize, Place>, now: Duration) -> Result<Id, Refusal> {
        if self.draining {
            return Err(Refusal::Draining);
        }
        let Place { line, cost, .. } = job.work;
        let id = self.scheduler.push(job, now).expect("its capacity has no end").id;
        self.start_all(now);
        if self.scheduler.state(id) == Some(Standing::Running) && self.next != Some(id) {
            return Ok(id);
        }
        // A request of more tokens than there is room for waits where no other of its key does.
        let is_alone = self.requests.is_empty(line);
        if !self.requests.has(line, 1) || !(is_alone || self.tokens.has(line, cost)) {
            self.take_out(id);
            self.start_all(now);
            return Err(Refusal::Full(self.wait()));
        }
        self.requests.enter(line, 1);
        self.tokens.enter(line, cost);
        self.scheduler.work_mut(id).expect("it is in line").waits = true;
        Ok(id)
    }

    /// Starts whoever may.
    fn start_all(&mut self, now: Duration) {
        while let Some(id) = self.next.take().or_else(|| self.scheduler.next(now)) {
            let place = self.scheduler.work_mut(id).expect("it was just started");
            let fits = place.cost <= self.running_tokens_max.saturating_sub(self.running_tokens);
            // Alone, a request may be as large as it likes.
            if !fits && 0 < self.running_tokens {
                self.next = Some(id);
                return;
            }
            self.running_tokens = self.running_tokens.saturating_add(place.cost);
            if let Some(answer) = place.answer.take() {
                // Whoever has gone leaves by dropping the permit.
                let _ = answer.send(Ok(()));
            }
            let (line, cost, waits) = (place.line, place.cost, std::mem::take(&mut place.waits));
            self.leave_room(line, cost, waits);
        }
    }

    /// Takes a request out of the line.
    fn take_out(&mut self, id: Id) -> Option<Place> {
        let place = if self.next == Some(id) {
            self.next = None;
            self.scheduler.finish_at(id, Finish::Cancelled, 0)
        } else {
            self.scheduler.cancel(id)
        }?;
        self.leave_room(place.line, place.cost, place.waits);
        Some(place)
    }

    fn leave_room(&mut self, line: usize, cost: u64, waits: bool) {
        if waits {
            self.requests.leave(line, 1);
            self.tokens.leave(line, cost);
        }
    }

    /// A request leaves, wherever it stands.
    fn leave(&mut self, id: Id, used_tokens: u64, now: Duration) {
        if self.take_out(id).is_none()
            && let Some(place) = self.scheduler.finish_at(id, Finish::Done, used_tokens)
        {
            self.running_tokens = self.running_tokens.saturating_sub(place.cost);
        }
        self.start_all(now);
    }

    /// Tells the controller what left since the last time, as one piece of each request that runs. Whole
    /// requests would tell it too late: they take seconds, and those that started together end together.
    fn tick(&mut self, tokens_total: u64, now: Duration) {
        let (in_flight, running) = (self.in_flight(), self.counts().0);
        let left = self.pace.observe(tokens_total, 0 < in_flight, now);
        let Some(controller) = &mut self.controller else { return };
        if let Some((before, tokens)) = left {
            let (begun, finished) = (moment(before), moment(now));
            for piece in 0..running {
                let amount = tokens / running + u64::from(piece < tokens % running);
                controller.observe(Sample { begun, finished, amount, in_flight });
            }
        }
        controller.tick(moment(now), in_flight);
        self.follow_controller(now);
    }

    fn follow_controller(&mut self, now: Duration) {
        if let Some(controller) = &self.controller {
            self.scheduler.set_cap(controller.limit());
            self.start_all(now);
        }
    }

    fn counts(&self) -> (u64, u64) {
        let counters = self.scheduler.counters();
        let next = u64::from(self.next.is_some());
        (counters.running() - next, counters.queued() + next)
    }

    fn in_flight(&self) -> usize {
        let (running, queued) = self.counts();
        usize::try_from(running + queued).unwrap_or(usize::MAX)
    }

    /// How long those take to leave the line who are in it.
    fn wait(&self) -> Duration {
        self.pace.time_for(self.tokens.used())
    }
}

/// A place, in line or running. Dropping it leaves.
#[derive(Debug)]
#[must_use = "dropping a permit leaves the line"]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    id: Id,
    charge: Charge,
}

impl Permit {
    /// Tokens of the request were sent.
    pub(crate) fn use_tokens(&mut self, tokens: u64) {
        self.charge.use_tokens(tokens);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.leave(self.id, self.charge.used());
    }
}

#[cfg(test)]
mod tests;
