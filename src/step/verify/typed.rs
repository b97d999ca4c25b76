//! Given keys, read by their types on both servers, until each is equal, different, or out of time.
//!
//! A key differs only where the replica has everything that made the master's content: the master is read, its offset
//! noted, the replica read once it has reached that, and the master read again. If nobody has written to the key
//! meanwhile (`WATCH` tells), what the replica lacks is a difference; else the key is looked at again later.

use std::time::{Duration, Instant};

use redis::Value;

use super::{
    Comparison, Key,
    content::{self, Content, Reader},
    kept,
};
use crate::{
    error::Result,
    pair::Pair,
    run::Deadline,
    server::{
        Command, Server,
        raw::{IDLE, Raw},
    },
};

/// How many keys are looked at together at first. Those that do not rest for so long are then looked at in smaller
/// groups, down to one by one.
const TOGETHER: usize = 64;

/// How long the replica may take to have what the master had when a difference was seen.
pub(super) const CATCH_UP_WITHIN: Duration = Duration::from_secs(3);

/// The longest rest between two looks.
const LONGEST_REST: Duration = Duration::from_millis(500);

/// What a look at one key shows.
#[derive(Debug)]
pub(crate) enum Verdict {
    Equal,
    Gone,
    Differs(String),
    NotComparable(String),
    Moving,
}

/// Compares these keys, and counts each in `seen`. Those are left that did not rest, or after an error were not looked at.
pub(crate) async fn settle(
    pair: &Pair,
    master: &Server,
    replica: &Server,
    left: &mut Vec<Key>,
    within: Duration,
    seen: &mut Comparison,
) -> Result<()> {
    let mut eyes = Eyes::open(pair, master, replica).await?;
    let deadline = Deadline::after(within);
    let mut together = TOGETHER;
    let mut rest = Duration::from_millis(2);
    left.sort();
    left.dedup();
    loop {
        let mut at = 0;
        while at < left.len() && !deadline.passed() {
            let of_one = left[at..].iter().take_while(|key| key.database == left[at].database);
            let group = at..at + of_one.take(together).count();
            let verdicts = eyes.look(&left[group.clone()]).await?;
            let looked = left[group.clone()].iter().zip(verdicts);
            let moving: Vec<Key> = looked.filter_map(|(key, verdict)| seen.take(key, verdict)).collect();
            at += moving.len();
            left.splice(group, moving);
        }
        if left.is_empty() || deadline.passed() || pair.run.dry {
            seen.unsettled += left.len() as u64;
            return Ok(());
        }
        pair.run.sleep(rest).await?;
        rest = (rest * 2).min(LONGEST_REST);
        together = (together / 4).max(1);
    }
}

/// Looks at keys of both.
pub(crate) struct Eyes<'a> {
    pair: &'a Pair,
    /// By which it is told whether keys rest.
    master: Server,
    replica: Server,
    reader: Reader,
    /// By which keys are read.
    here: Raw,
    there: Raw,
    /// The database that all have selected.
    database: Option<u32>,
    used: Instant,
}

impl<'a> Eyes<'a> {
    pub async fn open(pair: &'a Pair, master: &Server, replica: &Server) -> Result<Self> {
        Ok(Eyes {
            pair,
            master: master.reconnect().await?,
            replica: replica.reconnect().await?,
            reader: Reader::of(master, replica),
            here: Raw::open(master).await?,
            there: Raw::open(replica).await?,
            database: None,
            used: Instant::now(),
        })
    }

    /// Looks at keys of one database: a verdict for each, in their order.
    pub async fn look(&mut self, keys: &[Key]) -> Result<Vec<Verdict>> {
        let Some(database) = keys.first().map(|key| key.database) else { return Ok(Vec::new()) };
        if self.used.elapsed() >= IDLE {
            *self = Eyes::open(self.pair, &self.master, &self.replica).await?;
        }
        if self.database.replace(database) != Some(database) {
            let select = Command::new(["SELECT", &database.to_string()]);
            self.master.read(&select).await?;
            self.here.select(database).await?;
            self.there.select(database).await?;
        }
        let verdicts = self.judge(keys).await;
        self.used = Instant::now();
        verdicts
    }

    async fn judge(&mut self, keys: &[Key]) -> Result<Vec<Verdict>> {
        let Eyes { pair, master, replica, reader, here: raw_master, there: raw_replica, .. } = self;
        let names: Vec<&[u8]> = keys.iter().map(|key| key.name.as_slice()).collect();
        let (here, there) = tokio::try_join!(reader.read(raw_master, &names), reader.read(raw_replica, &names))?;
        let mut verdicts: Vec<Verdict> = here.iter().zip(&there).map(|(here, there)| at_once(here, there)).collect();
        let open: Vec<usize> = (0..names.len()).filter(|n| matches!(verdicts[*n], Verdict::Moving)).collect();
        if open.is_empty() || pair.run.dry {
            return Ok(verdicts);
        }
        let names: Vec<&[u8]> = open.iter().map(|n| names[*n]).collect();
        let watch = names.iter().fold(Command::new(["WATCH"]), |command, name| command.word(name));
        master.read(&watch).await?;
        // Large keys take their time, and the WATCH is over if its connection is.
        let first = kept([master, replica], reader.read(raw_master, &names)).await?;
        // The stream may not have begun: after a diskless sync it waits for the replica's once-a-second cron.
        let offset = master.replication().await?.offset;
        let arrived = kept([master, replica], reached(pair, replica, offset)).await?;
        let there = kept([master, replica], reader.read(raw_replica, &names)).await?;
        // It tells of a key that has expired meanwhile, which WATCH before 6.2 does not.
        let second = kept([master, replica], reader.read(raw_master, &names)).await?;
        // Always, or the next group would be watched with this one.
        let untouched = untouched(master).await?;
        let rested = arrived && untouched;
        for (((n, first), there), second) in open.into_iter().zip(&first).zip(&there).zip(&second) {
            verdicts[n] = match at_once(second, there) {
                Verdict::Moving if rested && first.same(second) && !there.torn => {
                    Verdict::Differs(content::what_differs(second, there, [master.called, replica.called]))
                }
                verdict => verdict,
            };
        }
        Ok(verdicts)
    }
}

/// Ends a `WATCH`, and tells whether nobody has written to its keys meanwhile: not even something that was taken back.
async fn untouched(master: &Server) -> Result<bool> {
    let commands = ["MULTI", "PING", "EXEC"].map(|name| Command::new([name]));
    let mut executed = Value::Nil;
    for (command, reply) in commands.iter().zip(master.pipeline(&commands).await?) {
        executed = reply.map_err(|said| master.refused(command, &said))?;
    }
    Ok(executed != Value::Nil)
}

/// What can be told without knowing which of the two was read at what offset: that they are equal.
fn at_once(master: &Content, replica: &Content) -> Verdict {
    match (master.is_gone(), master.same(replica)) {
        (true, true) => Verdict::Gone,
        (_, false) => Verdict::Moving,
        _ => match &master.foreign {
            Some(kind) => Verdict::NotComparable(kind.clone()),
            None => Verdict::Equal,
        },
    }
}

/// Waits until a replica has processed the stream up to there.
async fn reached(pair: &Pair, replica: &Server, offset: u64) -> Result<bool> {
    let deadline = Deadline::after(CATCH_UP_WITHIN);
    while replica.replication().await?.offset < offset {
        if deadline.passed() || pair.run.dry {
            return Ok(false);
        }
        pair.run.sleep(Duration::from_millis(2)).await?;
    }
    Ok(true)
}
