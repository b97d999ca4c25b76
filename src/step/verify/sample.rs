//! Random keys of every database, read in full on both.

use std::collections::BTreeSet;

use redis::Value;

use super::{Comparison, Key, Options, typed};
use crate::{
    error::Result,
    pair::Pair,
    server::{Command, Server},
};

/// With 3/p keys a share p of differing keys is found with a probability of 95 %: (1 - p)^(3/p) is about e^-3.
const SAMPLE_FOR_A_SHARE: f64 = 3.0;

/// How many names are asked for at once.
const PAGE: usize = 1000;

/// Compares them. A database that has no more keys than that is compared as a whole.
pub async fn compare(
    pair: &Pair,
    master: &Server,
    replica: &Server,
    options: &Options,
    seen: &mut Comparison,
) -> Result<()> {
    let wished = options.sample_keys as usize;
    let own = master.reconnect().await?; // the database that is selected is the connection's
    let mut keys = Vec::new();
    let mut share: f64 = 0.0;
    for database in seen.databases.iter().filter(|d| d.source_keys > 0) {
        own.read(&Command::new(["SELECT", &database.number.to_string()])).await?;
        let names = if database.source_keys <= wished as u64 {
            all_keys(&own).await?
        } else {
            let names = random_keys(&own, wished).await?;
            share = share.max((SAMPLE_FOR_A_SHARE / names.len() as f64).min(1.0));
            names
        };
        keys.extend(names.into_iter().map(|name| Key { database: database.number, name }));
    }
    typed::settle(pair, master, replica, &mut keys, options.wait_timeout, seen).await?;
    seen.detectable_share = (seen.compared > 0).then_some(share);
    Ok(())
}

async fn all_keys(server: &Server) -> Result<BTreeSet<Vec<u8>>> {
    let mut keys = BTreeSet::new();
    let mut cursor = Some("0".to_owned());
    while let Some(at) = cursor {
        let (next, names) = server.scan(&at, PAGE).await?;
        keys.extend(names);
        cursor = next;
    }
    Ok(keys)
}

/// Random keys of the selected database, each once: as many as wished, or a few less.
async fn random_keys(server: &Server, wished: usize) -> Result<BTreeSet<Vec<u8>>> {
    let random = Command::new(["RANDOMKEY"]);
    let mut keys = BTreeSet::new();
    let mut draws = 4 * wished;
    while keys.len() < wished && draws > 0 {
        let now = (wished - keys.len()).min(PAGE).min(draws);
        draws -= now;
        for reply in server.pipeline(&vec![random.clone(); now]).await? {
            keys.extend(name(reply.map_err(|said| server.refused(&random, &said))?));
        }
    }
    Ok(keys)
}

fn name(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(name) => Some(name),
        _ => None,
    }
}
