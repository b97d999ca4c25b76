//! A connection as an application has one: no part of the call, and nothing is tried again.

use std::time::Duration;

use redis::{AsyncConnectionConfig, RedisError, Value, aio::MultiplexedConnection};
use tokio::time::timeout;

use super::{Command, said};
use crate::endpoint::Endpoint;

/// Why it did not get what it wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// In one word: `refused`, `closed`, `timeout`, `failed`, or the server's own, such as `READONLY`.
    pub word: String,
    /// All of it.
    pub text: String,
}

/// The connection.
pub struct Guest(MultiplexedConnection);

impl Guest {
    /// Connects, logs in and says its name.
    pub async fn open(endpoint: &Endpoint, name: &str, patience: Duration) -> Result<Self, Missed> {
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(Some(patience));
        let client = endpoint.client().map_err(|e| Missed { word: "failed".into(), text: e.to_string() })?;
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let connection = timeout(endpoint.connect_timeout, connecting).await.map_err(|_| late())?;
        let mut guest = Guest(connection.map_err(|e| missed(&e))?);
        let mut commands = Vec::from_iter(Command::login(endpoint));
        let login = commands.len();
        // Where the account may not set it, nothing depends on it.
        commands.push(Command::new(["CLIENT", "SETNAME", name]));
        let replies = guest.ask(&commands).await?;
        replies.into_iter().take(login).try_for_each(|reply| reply.map(drop))?;
        Ok(guest)
    }

    /// Sends commands in one go and returns each one's reply, or what the server said against it.
    pub async fn ask(&mut self, commands: &[Command]) -> Result<Vec<Result<Value, Missed>>, Missed> {
        let mut pipeline = redis::Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command.packed());
        }
        let replies = self.0.send_packed_commands(&pipeline, 0, commands.len()).await.map_err(|e| missed(&e))?;
        let refused = |reply| said(reply).map_err(|said| Missed { word: said.word, text: said.text });
        Ok(replies.into_iter().map(refused).collect())
    }
}

fn late() -> Missed {
    Missed { word: "timeout".into(), text: "no connection came about in time".into() }
}

fn missed(error: &RedisError) -> Missed {
    let word = match () {
        () if error.is_connection_refusal() => "refused",
        () if error.is_timeout() => "timeout",
        () if error.is_connection_dropped() => "closed",
        () => "failed",
    };
    Missed { word: word.into(), text: error.to_string() }
}
