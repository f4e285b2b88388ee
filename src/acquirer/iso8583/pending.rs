//! The requests of a link that have no answer yet: whose answer is this? And for each connection what it has still to send.
//! No I/O and no waiting in here: the link holds it behind a lock.

use super::kind::Kind;
use super::message::{Message, Mti};
use crate::clock::Millis;
use std::collections::{HashMap, VecDeque};
use tokio::sync::oneshot;
use zeroize::Zeroizing;

/// How many requests without an answer are remembered after their callers have gone; the oldest are forgotten first, and an
/// answer to a forgotten one counts as an answer to nothing.
const REMEMBERED: usize = 4_096;

/// How long, milliseconds: no host answers later than that.
const REMEMBERED_MS: Millis = 15 * 60 * 1000;

/// How much is given to one write, bytes, and one frame more: what waits beside that goes with the next.
pub const BATCH: usize = 64 * 1024;

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAnswered {
    /// Not one byte of it has left.
    NotSent { why: &'static str },
    /// Some or all of it may have reached the host.
    Unknown { why: &'static str },
}

/// What a request and its answer have in common: fields 11, 41, 7 and 37 (ISO 8583). Field 11 must agree; what an answer does
/// not have agrees with anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub mti: Mti,
    /// Field 11.
    pub stan: u32,
    /// Field 41.
    pub terminal: Option<String>,
    /// Field 7, MMDDhhmmss.
    pub time: Option<String>,
    /// Field 37.
    pub rrn: Option<String>,
}

impl Key {
    /// `None` without a number in field 11.
    pub fn of(message: &Message) -> Option<Key> {
        let text = |field| message.text(field).map(str::to_owned);
        let stan = message.text(11)?.parse().ok()?;
        Some(Key { mti: message.mti(), stan, terminal: text(41), time: text(7), rrn: text(37) })
    }

    fn is_answered_by(&self, answer: &Key, echoes: Echoes) -> bool {
        let agree = |echoed: bool, ours: &Option<String>, theirs: &Option<String>| {
            !echoed || ours.is_none() || theirs.is_none() || ours == theirs
        };
        self.stan == answer.stan
            && answer.mti.answers(self.mti)
            && agree(echoes.terminal, &self.terminal, &answer.terminal)
            && agree(echoes.time, &self.time, &answer.time)
            && agree(echoes.rrn, &self.rrn, &answer.rrn)
    }

    /// No answer could be told to be the one's and not the other's.
    fn is_like(&self, other: &Key, echoes: Echoes) -> bool {
        let alike = |echoed: bool, one: &Option<String>, other: &Option<String>| !echoed || one == other;
        self.stan == other.stan
            && self.mti.answer() == other.mti.answer()
            && alike(echoes.terminal, &self.terminal, &other.terminal)
            && alike(echoes.time, &self.time, &other.time)
            && alike(echoes.rrn, &self.rrn, &other.rrn)
    }
}

/// A request that has gone or is about to.
#[derive(Clone, Debug)]
pub struct Request {
    pub kind: Kind,
    pub key: Key,
    /// By which the store knows it, whether or not it stands in the message.
    pub rrn: Option<String>,
}

/// Which fields of a request stand in its answer as they were. What a host fills in by itself cannot tell whose answer it is.
#[derive(Clone, Copy, Debug)]
pub struct Echoes {
    /// Field 41.
    pub terminal: bool,
    /// Field 7.
    pub time: bool,
    /// Field 37.
    pub rrn: bool,
}

pub type Answer = Result<Message, NotAnswered>;

/// Names a request in the book.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    id: u64,
    stan: u32,
}

struct Waiting {
    id: u64,
    request: Request,
    lane: usize,
    /// Handed to the write: from then on nobody knows what has left.
    handed: bool,
    answer: oneshot::Sender<Answer>,
}

/// A request whose caller has gone, or whose connection has.
struct Abandoned {
    request: Request,
    since: Millis,
}

struct Queued {
    /// `None` for our answer to a request of the host's: nobody waits for anything.
    entry: Option<Entry>,
    frame: Zeroizing<Vec<u8>>,
}

/// One connection's share.
#[derive(Default)]
struct Lane {
    /// Signed on: payments may go.
    up: bool,
    in_flight: usize,
    /// Never more than the window and the link's own messages.
    queue: VecDeque<Queued>,
}

/// To whom an answer belongs.
pub enum Owner {
    Caller(Request, oneshot::Sender<Answer>),
    /// Its caller went so many milliseconds ago, or its connection broke then.
    Gone(Request, Millis),
    /// No request that is known, or more than one.
    Nobody,
}

pub struct Book {
    lanes: Vec<Lane>,
    /// By field 11: mostly one for each.
    waiting: HashMap<u32, Vec<Waiting>>,
    abandoned: VecDeque<Abandoned>,
    window: usize,
    echoes: Echoes,
    next_id: u64,
}

impl Book {
    pub fn new(connections: usize, window: usize, echoes: Echoes) -> Book {
        let lanes = (0..connections).map(|_| Lane::default()).collect();
        Book { lanes, waiting: HashMap::new(), abandoned: VecDeque::new(), window, echoes, next_id: 0 }
    }

    /// Puts a payment's message in the queue of the connection that has the fewest in flight; which one that was.
    ///
    /// # Errors
    /// [`NotAnswered::NotSent`], at once: no connection is up, or none has room.
    pub fn enter(
        &mut self,
        request: Request,
        frame: Zeroizing<Vec<u8>>,
    ) -> Result<(usize, Entry, oneshot::Receiver<Answer>), NotAnswered> {
        let up = self.lanes.iter().enumerate().filter(|(_, lane)| lane.up);
        let Some((lane, share)) = up.min_by_key(|(_, lane)| lane.in_flight) else {
            return Err(NotAnswered::NotSent { why: "no connection to the acquirer is up" });
        };
        // After an outage all reversals go at once: half of the room is the payments'.
        let room = if request.kind == Kind::Reverse { self.window.div_ceil(2) } else { self.window };
        if share.in_flight >= room {
            return Err(NotAnswered::NotSent { why: "as many requests as the acquirer may have are in flight" });
        }
        let (entry, answer) = self.enter_on(lane, request, frame)?;
        Ok((lane, entry, answer))
    }

    /// Puts a message in the queue of this connection, whether or not it is up or full: sign-on, echo, sign-off.
    ///
    /// # Errors
    /// [`NotAnswered::NotSent`]: one that cannot be told from it waits already.
    pub fn enter_on(
        &mut self,
        lane: usize,
        request: Request,
        frame: Zeroizing<Vec<u8>>,
    ) -> Result<(Entry, oneshot::Receiver<Answer>), NotAnswered> {
        let mut same = self.waiting.get(&request.key.stan).into_iter().flatten();
        if same.any(|waiting| waiting.request.key.is_like(&request.key, self.echoes)) {
            return Err(NotAnswered::NotSent { why: "a message with the same trace number is in flight" });
        }
        let entry = Entry { id: self.next_id, stan: request.key.stan };
        self.next_id += 1;
        let (answer, receiver) = oneshot::channel();
        let waiting = Waiting { id: entry.id, request, lane, handed: false, answer };
        self.waiting.entry(entry.stan).or_default().push(waiting);
        self.lanes[lane].in_flight += 1;
        self.lanes[lane].queue.push_back(Queued { entry: Some(entry), frame });
        Ok((entry, receiver))
    }

    /// Puts our answer to the host's own request in the queue; `false` when there is no room: a host that asks and does not read
    /// gets none.
    pub fn reply(&mut self, lane: usize, frame: Zeroizing<Vec<u8>>) -> bool {
        let queue = &mut self.lanes[lane].queue;
        let room = queue.len() < self.window;
        if room {
            queue.push_back(Queued { entry: None, frame });
        }
        room
    }

    /// Moves frames from a connection's queue to `batch`, from where they are about to be written; `false`: there was none.
    pub fn take(&mut self, lane: usize, batch: &mut Vec<u8>) -> bool {
        while batch.len() < BATCH
            && let Some(next) = self.lanes[lane].queue.pop_front()
        {
            batch.extend_from_slice(&next.frame);
            let waiting = next
                .entry
                .and_then(|entry| self.waiting.get_mut(&entry.stan)?.iter_mut().find(|waiting| waiting.id == entry.id));
            if let Some(waiting) = waiting {
                waiting.handed = true;
            }
        }
        !batch.is_empty()
    }

    /// Whose answer has this key; it is theirs alone from here on. Two that it could belong to: neither has it, since a wrong answer
    /// is worse than none.
    pub fn owner(&mut self, answer: &Key, now: Millis) -> Owner {
        let echoes = self.echoes;
        let same = self.waiting.get(&answer.stan).into_iter().flatten();
        let mut fitting = same.filter(|waiting| waiting.handed && waiting.request.key.is_answered_by(answer, echoes));
        let found =
            (fitting.next().map(|waiting| Entry { id: waiting.id, stan: answer.stan }), fitting.next().is_some());
        match found {
            (Some(entry), false) => {
                let waiting = self.remove(entry);
                waiting.map_or(Owner::Nobody, |waiting| Owner::Caller(waiting.request, waiting.answer))
            }
            (Some(_), true) => Owner::Nobody,
            (None, _) => {
                let at =
                    self.abandoned.iter().rposition(|abandoned| abandoned.request.key.is_answered_by(answer, echoes));
                let found = at.and_then(|at| self.abandoned.remove(at));
                found.map_or(Owner::Nobody, |abandoned| Owner::Gone(abandoned.request, now - abandoned.since))
            }
        }
    }

    /// The caller has gone. What had not been handed to a write never leaves; `false`: it was answered already.
    pub fn give_up(&mut self, entry: Entry, now: Millis) -> bool {
        let Some(waiting) = self.remove(entry) else { return false };
        if waiting.handed {
            self.remember(waiting.request, now);
        } else {
            let queue = &mut self.lanes[waiting.lane].queue;
            queue.retain(|queued| queued.entry.is_none_or(|other| other.id != entry.id));
        }
        true
    }

    /// The connection is up for payments.
    pub fn up(&mut self, lane: usize) {
        self.lanes[lane].up = true;
    }

    /// No new payments from here on; those in flight go on.
    pub fn close(&mut self, lane: usize) {
        self.lanes[lane].up = false;
    }

    /// The connection is gone: so is what it had to send, and those who wait for it hear at once.
    pub fn broken(&mut self, lane: usize, now: Millis) {
        self.close(lane);
        self.lanes[lane].queue.clear();
        let of_lane = |(stan, waiting): (&u32, &Vec<Waiting>)| {
            let own = waiting.iter().filter(|waiting| waiting.lane == lane);
            own.map(|waiting| Entry { id: waiting.id, stan: *stan }).collect::<Vec<_>>()
        };
        for entry in self.waiting.iter().flat_map(of_lane).collect::<Vec<_>>() {
            let Some(waiting) = self.remove(entry) else { continue };
            let answer = if waiting.handed {
                // The host may answer on the next connection.
                self.remember(waiting.request, now);
                NotAnswered::Unknown { why: "the connection to the acquirer broke" }
            } else {
                NotAnswered::NotSent { why: "the connection to the acquirer broke before it was sent" }
            };
            // Nobody may be there any more.
            let _ = waiting.answer.send(Err(answer));
        }
    }

    pub fn connections_up(&self) -> usize {
        self.lanes.iter().filter(|lane| lane.up).count()
    }

    /// Requests of one connection without an answer, the link's own included.
    pub fn in_flight(&self, lane: usize) -> usize {
        self.lanes[lane].in_flight
    }

    fn remove(&mut self, entry: Entry) -> Option<Waiting> {
        let same = self.waiting.get_mut(&entry.stan)?;
        let at = same.iter().position(|waiting| waiting.id == entry.id)?;
        let waiting = same.swap_remove(at);
        if same.is_empty() {
            self.waiting.remove(&entry.stan);
        }
        self.lanes[waiting.lane].in_flight -= 1;
        Some(waiting)
    }

    fn remember(&mut self, request: Request, now: Millis) {
        let old = |abandoned: &Abandoned| now - abandoned.since > REMEMBERED_MS;
        while self.abandoned.len() >= REMEMBERED || self.abandoned.front().is_some_and(old) {
            self.abandoned.pop_front();
        }
        self.abandoned.push_back(Abandoned { request, since: now });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(stan: u32) -> Request {
        let mti = Mti::parse(b"0200").unwrap();
        Request { kind: Kind::Purchase, key: Key { mti, stan, terminal: None, time: None, rrn: None }, rrn: None }
    }

    fn answer(stan: u32) -> Key {
        Key { mti: Mti::parse(b"0210").unwrap(), ..request(stan).key }
    }

    fn book() -> Book {
        let mut book = Book::new(1, 8, Echoes { terminal: true, time: true, rrn: true });
        book.up(0);
        book
    }

    /// Sent, and given up at `now`.
    fn abandon(book: &mut Book, stan: u32, now: Millis) {
        let (_, entry, _) = book.enter(request(stan), Zeroizing::new(vec![0])).unwrap();
        assert!(book.take(0, &mut Vec::new()));
        assert!(book.give_up(entry, now));
        assert!(!book.give_up(entry, now));
    }

    #[test]
    fn what_is_remembered_has_a_limit() {
        let mut book = book();
        let all = u32::try_from(REMEMBERED).unwrap() + 10;
        for stan in 1..=all {
            abandon(&mut book, stan, 0);
        }
        assert_eq!((book.abandoned.len(), book.waiting.len(), book.in_flight(0)), (REMEMBERED, 0, 0));
        assert!(matches!(book.owner(&answer(10), 5), Owner::Nobody));
        assert!(matches!(book.owner(&answer(11), 5), Owner::Gone(request, 5) if request.key.stan == 11));
        assert!(matches!(book.owner(&answer(11), 5), Owner::Nobody));
        // Later on the old ones make room.
        abandon(&mut book, 7, REMEMBERED_MS + 1);
        assert_eq!(book.abandoned.len(), 1);
    }

    #[test]
    fn what_has_not_left_has_no_answer() {
        let mut book = book();
        let (_, entry, mut waits) = book.enter(request(1), Zeroizing::new(vec![0])).unwrap();
        assert!(matches!(book.owner(&answer(1), 0), Owner::Nobody));
        let mut batch = Vec::new();
        assert!(book.take(0, &mut batch));
        assert_eq!(batch, [0]);
        // Another connection's end is none of its business.
        let mut other = Book::new(2, 8, Echoes { terminal: true, time: true, rrn: true });
        other.broken(1, 0);
        book.broken(0, 0);
        assert!(matches!(waits.try_recv(), Ok(Err(NotAnswered::Unknown { .. }))));
        assert!(!book.give_up(entry, 0));
        assert!(matches!(book.enter(request(2), Zeroizing::new(vec![0])), Err(NotAnswered::NotSent { .. })));
    }
}
