//! The table of what runs.

use std::collections::HashMap;
use std::sync::Arc;

use super::filter::Filter;
use crate::arena::{Arena, Id};
use crate::handover::{Failure, Outlet, Piece, PieceKind, Start, Steps, Stream};
use crate::metrics::Metrics;
use crate::runner::{FinishReason, Push, Sequence, SequenceId, Token};

/// The sequences of one request.
#[derive(Debug)]
struct Group {
    request: u64,
    stream: Arc<Stream>,
    lane: usize,
    address: Id,
    /// What was produced for the stream, as its credit counts.
    produced: u64,
    /// Those that run.
    sequences: Vec<SequenceId>,
    started_ns: u64,
}

#[derive(Debug)]
struct Running {
    group: Id,
    choice: u16,
    /// How many tokens may still come.
    tokens_left: u64,
    /// Whether its last token found no room.
    paused: bool,
    /// Tokens that were taken but not shown.
    tokens_held: u32,
    filter: Filter,
}

/// An outlet, and what this step has for it.
#[derive(Debug)]
struct Lane {
    outlet: Arc<Outlet>,
    steps: Steps,
}

/// Everything that runs in one runner.
#[derive(Debug)]
pub(crate) struct Table {
    groups: Arena<Group>,
    sequences: Arena<Running>,
    requests: HashMap<u64, Id>,
    /// One for each I/O thread.
    lanes: Vec<Lane>,
    metrics: Arc<Metrics>,
    /// The instant that `due` of tokens is counted from.
    clock: crate::seam::Clock,
}

impl Table {
    pub(crate) fn new(metrics: Arc<Metrics>, clock: crate::seam::Clock) -> Self {
        Self {
            groups: Arena::default(),
            sequences: Arena::default(),
            requests: HashMap::new(),
            lanes: Vec::new(),
            metrics,
            clock,
        }
    }

    pub(crate) fn running(&self) -> usize {
        self.sequences.len()
    }

    /// Takes a request in; returns the names of its sequences.
    pub(crate) fn start(&mut self, start: Start, now_ns: u64) -> Vec<(SequenceId, Arc<Sequence>)> {
        let group = Group {
            request: start.request,
            lane: self.lane_of(&start.outlet),
            stream: start.stream,
            address: start.address,
            produced: 0,
            sequences: Vec::with_capacity(start.sequences.len()),
            started_ns: now_ns,
        };
        let group_id = self.groups.insert(group);
        self.requests.insert(start.request, group_id);
        let mut named = Vec::with_capacity(start.sequences.len());
        for (choice, sequence) in start.sequences.into_iter().enumerate() {
            let running = Running {
                group: group_id,
                choice: u16::try_from(choice).expect("requests have few choices"),
                tokens_left: sequence.tokens_max,
                paused: false,
                tokens_held: 0,
                filter: Filter::new(&start.stops),
            };
            named.push((SequenceId(self.sequences.insert(running)), sequence));
        }
        let group = self.groups.get_mut(group_id).expect("was put in above");
        group.sequences.extend(named.iter().map(|(id, _)| *id));
        named
    }

    fn lane_of(&mut self, outlet: &Arc<Outlet>) -> usize {
        let same = |lane: &Lane| Arc::ptr_eq(&lane.outlet, outlet);
        if let Some(lane) = self.lanes.iter().position(same) {
            return lane;
        }
        let lane = Lane { outlet: Arc::clone(outlet), steps: Steps::default() };
        // An outlet that nobody serves any more leaves its place: `groups` name places by number.
        let idle = |lane: &Lane| Arc::strong_count(&lane.outlet) == 1;
        if let Some(place) = self.lanes.iter().position(idle) {
            self.lanes[place] = lane;
            return place;
        }
        self.lanes.push(lane);
        self.lanes.len() - 1
    }

    /// Takes a request out because its client has gone; returns the sequences that had not ended.
    pub(crate) fn cancel(&mut self, request: u64) -> Vec<SequenceId> {
        let Some(group_id) = self.requests.remove(&request) else { return Vec::new() };
        let Some(group) = self.groups.remove(group_id) else { return Vec::new() };
        for id in &group.sequences {
            self.sequences.remove(id.0);
        }
        group.sequences
    }

    /// There is room for a request; returns its sequences that paused. News of room may come late, or
    /// twice: whoever does not pause any more is not among them.
    pub(crate) fn resume(&mut self, request: u64) -> Vec<SequenceId> {
        let group = self.requests.get(&request).and_then(|id| self.groups.get(*id));
        let Some(group) = group else { return Vec::new() };
        let mut paused = Vec::new();
        for id in &group.sequences {
            let running = self.sequences.get_mut(id.0).expect("a group has those that run");
            if std::mem::take(&mut running.paused) {
                paused.push(*id);
            }
        }
        paused
    }

    pub(crate) fn push(&mut self, id: SequenceId, token: Token<'_>, now_ns: u64) -> Push {
        let Some(running) = self.sequences.get_mut(id.0) else { return Push::Ended };
        let group = self.groups.get_mut(running.group).expect("a sequence has its group");
        if !group.stream.credit.has_room(group.produced) {
            running.paused = true;
            return Push::Full;
        }
        let due_ns = token.due.map_or(now_ns, |due| self.clock.ns(due));
        self.metrics.lateness.observe(now_ns.saturating_sub(due_ns));
        let steps = &mut self.lanes[group.lane].steps;
        let text_from = steps.text_mut().len();
        let stopped = running.filter.read(token.text, steps.text_mut());
        let text_bytes = steps.text_mut().len() - text_from;
        running.tokens_held += 1;
        running.tokens_left -= 1;
        let ends = stopped || running.tokens_left == 0;
        let is_shown = 0 < text_bytes || (token.text.is_empty() && !running.filter.holds());
        if is_shown {
            let tokens = std::mem::take(&mut running.tokens_held);
            let piece = Piece {
                due_ns,
                emitted_ns: now_ns,
                text_bytes: u32::try_from(text_bytes).expect("a token is shorter than 4 GiB"),
                tokens,
                logprob: token.logprob.unwrap_or(f32::NAN),
                choice: running.choice,
                kind: PieceKind::Text,
            };
            group.produced += Piece::cost_bytes(text_bytes);
            steps.push(group.address, piece);
        }
        if !ends {
            return Push::Taken;
        }
        let reason = if stopped { FinishReason::Stop } else { FinishReason::Length };
        self.finish(id, reason, now_ns);
        Push::Ended
    }

    /// Ends a sequence; shows first what was held back.
    pub(crate) fn finish(&mut self, id: SequenceId, reason: FinishReason, now_ns: u64) {
        let Some(mut running) = self.sequences.remove(id.0) else { return };
        let group = self.groups.get_mut(running.group).expect("a sequence has its group");
        let steps = &mut self.lanes[group.lane].steps;
        let mut piece = Piece {
            due_ns: now_ns,
            emitted_ns: now_ns,
            text_bytes: 0,
            tokens: running.tokens_held,
            logprob: f32::NAN,
            choice: running.choice,
            kind: PieceKind::Text,
        };
        if running.filter.holds() {
            let text_from = steps.text_mut().len();
            running.filter.end(steps.text_mut());
            let text_bytes = steps.text_mut().len() - text_from;
            piece.text_bytes = u32::try_from(text_bytes).expect("little is held back");
            group.produced += Piece::cost_bytes(text_bytes);
            steps.push(group.address, piece);
            (piece.text_bytes, piece.tokens) = (0, 0);
        }
        piece.kind = PieceKind::Finish(reason);
        group.produced += Piece::cost_bytes(0);
        steps.push(group.address, piece);
        group.sequences.retain(|running| *running != id);
        if group.sequences.is_empty() {
            self.metrics.inference.observe(now_ns.saturating_sub(group.started_ns));
            self.requests.remove(&group.request);
            self.groups.remove(running.group);
        }
    }

    /// Ends everything, because the runner failed.
    pub(crate) fn fail(&mut self, failure: Failure, now_ns: u64) {
        let groups: Vec<Id> = self.requests.drain().map(|(_, id)| id).collect();
        for id in groups {
            let Some(group) = self.groups.remove(id) else { continue };
            for sequence in &group.sequences {
                self.sequences.remove(sequence.0);
            }
            let piece = Piece {
                due_ns: now_ns,
                emitted_ns: now_ns,
                text_bytes: 0,
                tokens: 0,
                logprob: f32::NAN,
                choice: 0,
                kind: PieceKind::Failure(failure),
            };
            self.lanes[group.lane].steps.push(group.address, piece);
        }
    }

    /// Hands everything over that the steps produced so far.
    pub(crate) fn publish(&mut self) {
        for lane in &mut self.lanes {
            if !lane.steps.is_empty() {
                lane.outlet.publish(&mut lane.steps);
            }
        }
    }

    /// Forgets what no one has been told.
    pub(crate) fn discard(&mut self) {
        for lane in &mut self.lanes {
            lane.steps.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seam::Clock;
    use crate::wire::Prompt;

    fn start(request: u64, choices: usize, outlet: &Arc<Outlet>) -> Start {
        let stream = Arc::new(Stream::new(1 << 20, 0, 0));
        let sequence = Arc::new(Sequence {
            model: "test".into(),
            prompt: Prompt::Text(String::new()),
            prompt_tokens: 0,
            tokens_max: 2,
            temperature: 1.0,
            top_p: 1.0,
            seed: None,
        });
        Start {
            request,
            address: outlet.add(Arc::clone(&stream)),
            outlet: Arc::clone(outlet),
            stream,
            sequences: vec![sequence; choices],
            stops: Arc::from([]),
        }
    }

    #[test]
    fn nothing_stays_of_what_has_ended() {
        let (outlet, clock) = (Arc::new(Outlet::default()), Clock::start());
        let mut table = Table::new(Arc::new(Metrics::default()), clock);
        let token = || Token { text: b"x", logprob: None, due: None };
        let endings: [fn(&mut Table, u64, SequenceId); 4] = [
            |table, request, _| drop(table.cancel(request)),
            |table, _, id| table.finish(id, FinishReason::Stop, 0),
            |table, _, _| table.fail(Failure::Stuck, 0),
            |_, _, _| {},
        ];
        for (request, end) in (0_u64..).zip(endings) {
            let sequences = table.start(start(request, 2, &outlet), 0);
            for (id, _) in sequences {
                let _ = table.push(id, token(), 0);
                end(&mut table, request, id);
                // Whatever still runs ends with its last token.
                assert_eq!(Push::Ended, table.push(id, token(), 0));
            }
            assert_eq!((0, 0, 0), (table.requests.len(), table.groups.len(), table.running()));
        }
    }
}
