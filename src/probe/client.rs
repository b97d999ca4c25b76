//! The client itself: it writes and reads, each over a connection of its own, since writes wait in a pause and reads do not.

use std::{cell::RefCell, sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc::UnboundedSender, oneshot},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    CLIENT_NAME,
    measure::{Counter, Probed, Seen},
    way::Way,
};
use crate::{
    journal::unix_time,
    run::{Event, Run},
    server::{
        Command,
        guest::{Guest, Missed},
        info::Info,
        text,
    },
};

/// From the beginning of one read or write to the beginning of the next.
const PACE: Duration = Duration::from_millis(5);

/// The longest it waits for an answer, as a patient client does. A write that is held must not outlive it: it could undo a later one.
const PATIENCE: Duration = Duration::from_secs(70);

/// After that the key is gone by itself.
const EXPIRES: &str = "60";

/// What is seen is told in pieces of this length.
const PIECE: Duration = Duration::from_millis(200);

/// The same around the cut, and while something is wrong.
const SHORT_PIECE: Duration = Duration::from_millis(20);

/// For how long after the cut the pieces are short.
const AROUND: Duration = Duration::from_secs(1);

/// For how long it looks on after the cut.
const AFTER: Duration = Duration::from_secs(2);

/// How long it may take to leave.
const LEAVE: Duration = Duration::from_secs(2);

/// Words by which a server says that it takes no writes of ours, or nobody is there: another way may lead on.
const ELSEWHERE: [&str; 7] = ["READONLY", "refused", "timeout", "failed", "NOAUTH", "WRONGPASS", "MASTERDOWN"];

/// Words by which a server says that we are not allowed to.
const FORBIDDEN: [&str; 3] = ["NOPERM", "NOAUTH", "WRONGPASS"];

/// A client that looks on.
pub struct Client {
    ways: Vec<Way>,
    key: String,
    caller: Arc<Run>,
    tell: UnboundedSender<Event>,
}

/// What came of it.
#[derive(Default)]
pub struct Ended {
    /// What it saw, if it saw anything.
    pub probed: Option<Probed>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

impl Client {
    /// One that comes by these ways.
    pub fn new(ways: Vec<Way>, caller: &Arc<Run>, tell: UnboundedSender<Event>) -> Self {
        let key = format!("redis-baton:probe:{}", caller.token());
        Client { ways, key, caller: Arc::clone(caller), tell }
    }

    /// Looks on until it is told to stop, and for some seconds after the cut; at once where it is told so.
    pub async fn run(self, stopped: oneshot::Receiver<bool>) -> Ended {
        let visit = Visit {
            client: &self,
            came: Instant::now(),
            seen: RefCell::default(),
            counter: RefCell::default(),
            warnings: RefCell::default(),
            last_missed: RefCell::default(),
        };
        tokio::select! {
            () = visit.write() => {}
            () = visit.read() => {}
            () = visit.look_on(stopped) => {}
        }
        let now = visit.now();
        let probed = visit.seen.borrow().all(now);
        if probed.is_some() {
            // What was written last is looked for too.
            let _ = timeout(LEAVE, visit.leave()).await;
        } else if visit.warnings.borrow().is_empty() && !visit.last_missed.borrow().is_empty() {
            let warning = format!("the probe could not do anything: {}", visit.last_missed.borrow());
            visit.warnings.borrow_mut().push(warning);
        }
        let lost = visit.seen.borrow().all(now).map_or(0, |all| all.lost);
        Ended { probed: probed.map(|all| Probed { lost, ..all }), warnings: visit.warnings.take() }
    }

    fn get(&self) -> Command {
        Command::new(["GET", &self.key])
    }
}

/// What it is doing.
struct Visit<'a> {
    client: &'a Client,
    came: Instant,
    seen: RefCell<Seen>,
    counter: RefCell<Counter>,
    warnings: RefCell<Vec<String>>,
    last_missed: RefCell<String>,
}

/// A connection, with the way that it took.
#[derive(Default)]
struct Line {
    guest: Option<Guest>,
    way: usize,
    was_there: bool,
}

impl Visit<'_> {
    fn now(&self) -> u64 {
        self.came.elapsed().as_micros() as u64
    }

    /// Writes until it is not allowed to.
    async fn write(&self) {
        let mut line = Line::default();
        let mut tries = 0;
        loop {
            let (began, next) = (self.now(), Instant::now() + PACE);
            while let Err(missed) = self.write_once(&mut line).await {
                tries += 1;
                let nothing_yet = !self.seen.borrow().any();
                if nothing_yet && tries >= self.client.ways.len() && FORBIDDEN.contains(&missed.word.as_str()) {
                    let warning = format!("the probe may not write its key {}: {}", self.client.key, missed.text);
                    self.warnings.borrow_mut().push(warning);
                    return;
                }
                self.missed(&mut line, &missed).await;
            }
            self.seen.borrow_mut().wrote(began, self.now());
            sleep_until(next).await;
        }
    }

    async fn write_once(&self, line: &mut Line) -> Result<(), Missed> {
        let fresh = line.guest.is_none();
        let number = self.counter.borrow().next().to_string();
        let set = Command::new(["SET", &self.client.key, &number, "EX", EXPIRES]);
        let guest = self.connected(line).await?;
        // What is there after a new connection tells whether anything is gone: in the same breath, before it is overwritten.
        let commands = if fresh { vec![self.client.get(), set] } else { vec![set] };
        let mut replies = guest.ask(&commands).await?;
        let done = replies.pop().unwrap_or_else(|| Err(nothing())).map(drop);
        let found = replies.pop().and_then(Result::ok);
        done?;
        if let Some(found) = found {
            self.judge(guest, text(&found).ok()).await;
        }
        self.counter.borrow_mut().acknowledge();
        Ok(())
    }

    /// Whether what was acknowledged is there.
    async fn judge(&self, guest: &mut Guest, found: Option<String>) {
        let found = found.and_then(|found| found.parse().ok());
        let lost = self.counter.borrow().lost(found);
        if lost == 0 {
            return;
        }
        if found.is_none() && evicts(guest).await {
            let warning = "the probe's key was gone: evicted or lost, that can't be told where maxmemory evicts keys";
            self.warnings.borrow_mut().push(warning.to_owned());
            return;
        }
        self.seen.borrow_mut().lost(lost);
    }

    /// Reads, for ever.
    async fn read(&self) {
        let mut line = Line::default();
        loop {
            let (began, next) = (self.now(), Instant::now() + PACE);
            while let Err(missed) = self.read_once(&mut line).await {
                self.missed(&mut line, &missed).await;
            }
            // Before anything was written there is nobody to read from.
            if self.seen.borrow().any() {
                self.seen.borrow_mut().read(began, self.now());
            }
            sleep_until(next).await;
        }
    }

    async fn read_once(&self, line: &mut Line) -> Result<(), Missed> {
        let guest = self.connected(line).await?;
        guest.ask(&[self.client.get()]).await?.pop().unwrap_or_else(|| Err(nothing())).map(drop)
    }

    async fn connected<'l>(&self, line: &'l mut Line) -> Result<&'l mut Guest, Missed> {
        if line.guest.is_none() {
            let endpoint = self.client.ways[line.way].leads_to().await?;
            line.guest = Some(Guest::open(&endpoint, CLIENT_NAME, PATIENCE).await?);
            if line.was_there {
                self.seen.borrow_mut().connected_again();
            }
            line.was_there = true;
        }
        line.guest.as_mut().ok_or_else(nothing)
    }

    /// What a client does then: it connects again, at once when it was cut, and to the next address where this one is of no use.
    async fn missed(&self, line: &mut Line, missed: &Missed) {
        self.seen.borrow_mut().missed(&missed.word);
        self.last_missed.borrow_mut().clone_from(&missed.text);
        let (was_cut, elsewhere) = (missed.word == "closed", ELSEWHERE.contains(&missed.word.as_str()));
        if was_cut || elsewhere {
            line.guest = None;
        }
        if elsewhere {
            line.way = (line.way + 1) % self.client.ways.len();
        }
        if !was_cut {
            sleep(PACE).await;
        }
    }

    /// Tells what is seen, until it is time to go.
    async fn look_on(&self, stopped: oneshot::Receiver<bool>) {
        let caller = &self.client.caller;
        let (mut cut, mut times) = (None::<Instant>, caller.times_shielded());
        let (mut since, mut piece) = (unix_time(), Instant::now());
        let mut stays = None;
        tokio::pin!(stopped);
        loop {
            tokio::select! {
                // Without a word nobody is left who wants to know.
                word = &mut stopped, if stays.is_none() => stays = Some(word.unwrap_or(false)),
                () = sleep(PACE) => {}
            }
            if caller.is_shielded() || caller.times_shielded() != times {
                (cut, times) = (Some(Instant::now()), caller.times_shielded());
            }
            let leaves = stays.is_some_and(|stays| !stays || cut.is_none_or(|cut| cut.elapsed() >= AFTER));
            let short = cut.is_some_and(|cut| cut.elapsed() < AROUND)
                || self.seen.borrow().is_odd(self.now(), SHORT_PIECE.as_micros() as u64);
            if leaves || piece.elapsed() >= if short { SHORT_PIECE } else { PIECE } {
                let until = unix_time();
                if let Some(bucket) = self.seen.borrow_mut().bucket(self.now(), since, until) {
                    let _ = self.client.tell.send(Event::Probe(bucket));
                }
                (since, piece) = (until, Instant::now());
            }
            if leaves {
                return;
            }
        }
    }

    /// Looks for what was written last, and takes the key away.
    async fn leave(&self) {
        let mut line = Line::default();
        let delete = Command::new(["DEL", &self.client.key]);
        for _ in 0..=self.client.ways.len() {
            let Ok(guest) = self.connected(&mut line).await else {
                line.way = (line.way + 1) % self.client.ways.len();
                continue;
            };
            let replies = guest.ask(&[self.client.get(), delete.clone()]).await;
            if let Ok([Ok(found), Ok(_)]) = replies.as_deref() {
                self.judge(guest, text(found).ok()).await;
                return;
            }
            line = Line { way: (line.way + 1) % self.client.ways.len(), ..Line::default() };
        }
    }
}

/// Whether the server may have thrown the key out.
async fn evicts(guest: &mut Guest) -> bool {
    let reply = guest.ask(&[Command::info("stats")]).await.ok().and_then(|mut replies| replies.pop());
    let info = reply.and_then(Result::ok).and_then(|reply| text(&reply).ok()).map(|text| Info::parse(&text));
    info.is_none_or(|info| info.number("evicted_keys") != Some(0))
}

fn nothing() -> Missed {
    Missed { word: "failed".into(), text: "sent no reply".into() }
}
