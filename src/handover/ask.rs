//! One round trip to a server in the cut.

use redis::Value;

use super::REPLY;
use crate::{
    decide::handover::{Changed, Outcome, Position},
    error::Result,
    server::{
        Command, Said, Server, elements,
        info::{Info, Replication, Role, keyspace},
        text,
    },
};

/// Sends commands and reads offset and key counts behind them, in one go.
pub(super) async fn position(server: &Server, commands: &[Command]) -> Outcome<Position> {
    let mut all = commands.to_vec();
    all.extend([Command::info("replication"), Command::info("keyspace")]);
    let Ok(Ok(replies)) = tokio::time::timeout(REPLY, server.pipeline(&all)).await else { return Outcome::Lost };
    match replies.into_iter().collect::<Result<Vec<_>, Said>>() {
        Ok(replies) => {
            let info: Vec<_> =
                replies.iter().rev().take(2).filter_map(|r| text(r).ok()).map(|t| Info::parse(&t)).collect();
            match info.as_slice() {
                [keys, replication] => {
                    Outcome::Done(Position { offset: Replication::from(replication).offset, keyspace: keyspace(keys) })
                }
                _ => Outcome::Lost,
            }
        }
        Err(said) => Outcome::Refused(said.text),
    }
}

/// Runs commands in one `MULTI`/`EXEC` that ends with a look at the server's role. No commands: just the look.
pub(super) async fn transaction(server: &Server, commands: &[Command]) -> Outcome<Changed> {
    let mut all = vec![Command::new(["MULTI"])];
    all.extend_from_slice(commands);
    all.extend([Command::info("replication"), Command::new(["EXEC"])]);
    let Ok(Ok(mut replies)) = tokio::time::timeout(REPLY, server.pipeline(&all)).await else { return Outcome::Lost };
    // Refused when it was queued: then EXEC says EXECABORT, and nothing was done.
    let queued = replies.iter().position(Result::is_err);
    let executed = match (queued, replies.pop()) {
        (Some(n), _) => {
            let said = replies.get(n).and_then(|r| r.as_ref().err()).map(|said| said.text.clone());
            let command = all.get(n).map(ToString::to_string).unwrap_or_default();
            return Outcome::Refused(format!("{command}: {}", said.unwrap_or_default()));
        }
        (None, Some(Ok(values))) => elements(values),
        (None, _) => return Outcome::Lost,
    };
    let Some(info) = executed.last().and_then(|value| text(value).ok()) else { return Outcome::Lost };
    let replication = Replication::from(&Info::parse(&info));
    let refused = commands.iter().zip(&executed).find_map(|(command, value)| match value {
        Value::ServerError(error) => Some(format!("{command}: {}", error.details().unwrap_or(error.code()))),
        _ => None,
    });
    Outcome::Done(Changed {
        master: replication.role == Role::Master,
        offset: replication.offset,
        port_refused: refused,
    })
}
