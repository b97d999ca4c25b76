//! What a relay has: its doors, and who is in. Connections are dealt out to a few threads.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpStream as BlockingTcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinHandle,
};

use super::{
    Connection, Status, Way,
    door::{Gate, attend, listen},
    place,
    session::{self, Traffic},
};
use crate::journal::unix_time;
use crate::mutex::lock;

/// More threads would not be faster: what is behind them is one server.
const THREADS: usize = 4;

/// At most so many connections to the server come up at a time: more would not fit into its queue (511 by default), and
/// what falls out of that is tried again by the system a second later.
const COMING_UP: usize = 128;

/// What a client comes with: from where, to where, and its share of the room.
pub struct Ticket {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub room: OwnedSemaphorePermit,
}

/// A client: its address, since when it is in, and what has passed.
type Guest = (SocketAddr, f64, Arc<Traffic>);

/// Who is in.
pub struct Guests {
    most: usize,
    room: Arc<Semaphore>,
    coming_up: Semaphore,
    inside: Mutex<BTreeMap<u64, Guest>>,
    taken: AtomicU64,
    failed: AtomicU64,
    threads: Vec<mpsc::UnboundedSender<(BlockingTcpStream, Ticket)>>,
    turn: AtomicUsize,
    began: Instant,
}

impl Guests {
    fn new(most: usize) -> anyhow::Result<Arc<Self>> {
        let count = thread::available_parallelism().map_or(1, usize::from).min(THREADS);
        let (threads, queues): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::unbounded_channel()).unzip();
        let guests = Arc::new(Guests {
            most,
            room: Arc::new(Semaphore::new(most)),
            coming_up: Semaphore::new(COMING_UP),
            inside: Mutex::default(),
            taken: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            threads,
            turn: AtomicUsize::new(0),
            began: Instant::now(),
        });
        for (mut queue, place) in queues.into_iter().zip(place::places(count)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let guests = Arc::clone(&guests);
            thread::Builder::new().name("relay".to_owned()).spawn(move || {
                runtime.block_on(async move {
                    tokio::spawn(place::keep(place));
                    while let Some((stream, ticket)) = queue.recv().await {
                        tokio::spawn(Arc::clone(&guests).serve(stream, ticket));
                    }
                });
            })?;
        }
        Ok(guests)
    }

    /// How many there is room for.
    pub fn most(&self) -> usize {
        self.most
    }

    /// The room that is left.
    pub fn room(&self) -> Arc<Semaphore> {
        Arc::clone(&self.room)
    }

    /// Takes a client in.
    pub fn take(&self, stream: BlockingTcpStream, ticket: Ticket) {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.threads.len().max(1);
        if let Some(thread) = self.threads.get(turn) {
            // The threads live as long as the process.
            let _ = thread.send((stream, ticket));
        }
    }

    async fn serve(self: Arc<Self>, stream: BlockingTcpStream, ticket: Ticket) {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        let traffic = Arc::new(Traffic::new(self.began));
        lock(&self.inside).insert(number, (ticket.from, unix_time(), Arc::clone(&traffic)));
        let served = async {
            // What std accepts waits for its peer.
            stream.set_nonblocking(true)?;
            let client = session::prepared(tokio::net::TcpStream::from_std(stream)?)?;
            let permit = self.coming_up.acquire().await;
            let server = session::connect(ticket.to).await.inspect_err(|_| {
                self.failed.fetch_add(1, Ordering::Relaxed);
            })?;
            drop(permit);
            session::forward(client, server, &traffic).await
        };
        // What ends a connection is for its two ends to know: it is closed, as they would see it without us.
        let _: std::io::Result<()> = served.await;
        lock(&self.inside).remove(&number);
        drop(ticket.room);
    }
}

/// What is open.
struct Doors {
    ways: Vec<Way>,
    idle: Option<u64>,
    gate: watch::Sender<Gate>,
    attended: Vec<JoinHandle<()>>,
    empty_since: Instant,
}

/// The doors and the guests.
pub struct House {
    guests: Arc<Guests>,
    doors: Mutex<Option<Doors>>,
}

impl House {
    pub fn new(most: usize) -> anyhow::Result<Self> {
        Ok(House { guests: Guests::new(most).context("its threads can't be started")?, doors: Mutex::new(None) })
    }

    /// Listens, and lets clients in if it is to be open. Says whether that was new.
    pub fn listen(&self, ways: &[Way], open: bool, idle: Option<u64>) -> anyhow::Result<bool> {
        let mut doors = lock(&self.doors);
        if let Some(present) = doors.as_mut() {
            anyhow::ensure!(present.ways == ways, "forwards something else");
            present.idle = idle;
            return Ok(open && present.gate.send_replace(Gate::Open) != Gate::Open);
        }
        let listeners: Vec<(SocketAddr, TcpListener)> = ways
            .iter()
            .map(|way| Ok(listen(way)?.into_iter().map(|listener| (way.to, listener))))
            .collect::<anyhow::Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .collect();
        let (gate, seen) = watch::channel(if open { Gate::Open } else { Gate::Waiting });
        let attended = listeners
            .into_iter()
            .map(|(to, listener)| tokio::spawn(attend(listener, to, seen.clone(), Arc::clone(&self.guests))))
            .collect();
        *doors = Some(Doors { ways: ways.to_vec(), idle, gate, attended, empty_since: Instant::now() });
        Ok(true)
    }

    /// Listens no longer; returns when that is so. Says whether it did before.
    pub async fn close(&self) -> bool {
        let Some(doors) = lock(&self.doors).take() else { return false };
        doors.gate.send_replace(Gate::Closed);
        for attended in doors.attended {
            let _ = attended.await;
        }
        true
    }

    /// Whether it listens.
    pub fn listens(&self) -> bool {
        lock(&self.doors).is_some()
    }

    /// For how long nobody may be in before it is of no use, if that was said.
    pub fn idle(&self) -> Option<Duration> {
        lock(&self.doors).as_ref().and_then(|doors| doors.idle).map(Duration::from_secs)
    }

    /// For how long nobody is in, as far as was looked; none where somebody is.
    pub fn empty_for(&self) -> Option<Duration> {
        let empty = lock(&self.guests.inside).is_empty();
        let mut doors = lock(&self.doors);
        match doors.as_mut() {
            Some(doors) if empty && *doors.gate.borrow() == Gate::Open => Some(doors.empty_since.elapsed()),
            Some(doors) => {
                doors.empty_since = Instant::now();
                None
            }
            None => empty.then_some(Duration::ZERO),
        }
    }

    /// Who is in.
    pub fn connections(&self) -> Vec<Connection> {
        let inside = lock(&self.guests.inside);
        let connections = inside.values().map(|(from, since, traffic)| Connection {
            address: from.to_string(),
            since: *since,
            idle: traffic.idle().as_secs_f64(),
            sent: traffic.sent(),
            received: traffic.received(),
        });
        connections.collect()
    }

    /// How it is, but for who is in.
    pub fn status(&self) -> Status {
        let doors = lock(&self.doors);
        Status {
            ways: doors.as_ref().map(|doors| doors.ways.clone()).unwrap_or_default(),
            open: doors.as_ref().is_some_and(|doors| *doors.gate.borrow() == Gate::Open),
            idle: doors.as_ref().and_then(|doors| doors.idle),
            most: self.guests.most,
            full: self.guests.room.available_permits() == 0,
            taken: self.guests.taken.load(Ordering::Relaxed),
            failed: self.guests.failed.load(Ordering::Relaxed),
            ..Status::default()
        }
    }
}
