//! Given keys, read by their types on both servers, until each is equal, different, or out of time.
//!
//! A key differs only where the replica has everything that made the master's content: the master is read, its offset
//! noted, the replica read once it has reached that, and the master read again. If nobody has written to the key
//! meanwhile (`WATCH` tells), what the replica lacks is a difference; else the key is looked at again later.

use std::{collections::BTreeMap, time::Duration};

use redis::Value;

use super::{Comparison, Key, content};
use crate::{
    error::Result,
    pair::Pair,
    run::Deadline,
    server::{Command, Server},
};

/// How many keys are looked at together at first. Those that do not rest for so long are then looked at in smaller
/// groups, down to one by one.
const TOGETHER: usize = 64;

/// How long the replica may take to have what the master had when a difference was seen.
const CATCH_UP_WITHIN: Duration = Duration::from_secs(3);

/// The longest rest between two looks.
const LONGEST_REST: Duration = Duration::from_millis(500);

/// What a look at one key shows.
enum Verdict {
    Equal,
    Gone,
    Differs(String),
    NotComparable(String),
    Moving,
}

/// Compares these keys, and counts each in `seen`.
pub(crate) async fn settle(
    pair: &Pair,
    master: &Server,
    replica: &Server,
    keys: Vec<Key>,
    within: Duration,
    seen: &mut Comparison,
) -> Result<()> {
    let mut databases: BTreeMap<u32, Vec<Key>> = BTreeMap::new();
    for key in keys {
        databases.entry(key.database).or_default().push(key);
    }
    // SELECT is a connection's own.
    let (master, replica) = (master.reconnect().await?, replica.reconnect().await?);
    let deadline = Deadline::after(within);
    for (database, mut left) in databases {
        let select = Command::new(["SELECT", &database.to_string()]);
        master.read(&select).await?;
        replica.read(&select).await?;
        let mut together = TOGETHER;
        let mut rest = Duration::from_millis(2);
        while !left.is_empty() {
            left = look(pair, &master, &replica, left, together, &deadline, seen).await?;
            if deadline.passed() || pair.run.dry {
                seen.unsettled += left.len() as u64;
                break;
            }
            if !left.is_empty() {
                pair.run.sleep(rest).await?;
                rest = (rest * 2).min(LONGEST_REST);
                together = (together / 4).max(1);
            }
        }
    }
    Ok(())
}

/// Looks at each once, and returns those that did not rest.
async fn look(
    pair: &Pair,
    master: &Server,
    replica: &Server,
    keys: Vec<Key>,
    together: usize,
    deadline: &Deadline,
    seen: &mut Comparison,
) -> Result<Vec<Key>> {
    let mut moving = Vec::new();
    for group in keys.chunks(together) {
        if deadline.passed() {
            moving.extend_from_slice(group);
            continue;
        }
        for (key, verdict) in group.iter().zip(judge(pair, master, replica, group).await?) {
            match verdict {
                Verdict::Equal => seen.compared += 1,
                Verdict::Gone => {}
                Verdict::Differs(what) => seen.differs(key, &what),
                Verdict::NotComparable(kind) => seen.can_not_compare(&format!("type {kind}"), 1),
                Verdict::Moving => moving.push(key.clone()),
            }
        }
    }
    Ok(moving)
}

/// One verdict for each of them, in their order.
async fn judge(pair: &Pair, master: &Server, replica: &Server, keys: &[Key]) -> Result<Vec<Verdict>> {
    let names: Vec<&[u8]> = keys.iter().map(|key| key.name.as_slice()).collect();
    let reader = content::Reader::of(master, replica);
    let here = reader.read(master, &names).await?;
    let there = reader.read(replica, &names).await?;
    let mut verdicts: Vec<Verdict> = here.iter().zip(&there).map(|(here, there)| at_once(here, there)).collect();
    let open: Vec<usize> = (0..names.len()).filter(|n| matches!(verdicts[*n], Verdict::Moving)).collect();
    if open.is_empty() || pair.run.dry {
        return Ok(verdicts);
    }
    let names: Vec<&[u8]> = open.iter().map(|n| names[*n]).collect();
    let watch = names.iter().fold(Command::new(["WATCH"]), |command, name| command.word(name));
    master.read(&watch).await?;
    let first = reader.read(master, &names).await?;
    // The stream may not have begun: after a diskless sync it waits for the replica's once-a-second cron.
    let arrived = reached(pair, replica, master.replication().await?.offset).await?;
    let there = reader.read(replica, &names).await?;
    // It tells of a key that has expired meanwhile, which WATCH before 6.2 does not.
    let second = reader.read(master, &names).await?;
    let rested = arrived && untouched(master).await?;
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
fn at_once(master: &content::Content, replica: &content::Content) -> Verdict {
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
