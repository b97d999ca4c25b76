//! One controller at a time: whoever is at work on a server says so in the name of its connection.
//!
//! The name is set and the others' are read in one `MULTI`, so of two that come at once one sees the other. The server
//! ends the lock with the connection: with the controller's process, or its host as soon as the server notices. And
//! to break a lock is to cut the connection, so that its holder can't send anything any more.

use std::time::Duration;

use super::{Command, Server, client_list::Connection, elements, text};
use crate::{
    error::{Code, Error, Result},
    run::{CLIENT_NAME, Deadline},
};

/// How long a lock is waited for: a controller that has just ended may not be known as gone yet.
const PATIENCE: Duration = Duration::from_secs(1);

/// A pause between two tries.
const BREATH: Duration = Duration::from_millis(20);

impl Server {
    /// Keeps other controllers out for as long as this connection lives, or says who is at work. With `break_lock` the
    /// others are cut off. Returns whether there was another one: then things may have changed meanwhile.
    pub async fn lock(&self, break_lock: bool) -> Result<bool> {
        let deadline = Deadline::after(PATIENCE);
        let mut waited = false;
        loop {
            let holders = self.name_myself().await?;
            let Some(holder) = holders.first() else { return Ok(waited) };
            waited = true;
            if break_lock {
                for holder in &holders {
                    let kill = Command::new(["CLIENT", "KILL", "ID", &holder.id.to_string()]);
                    // It may just have ended by itself.
                    let _ = self.ask(&kill).await?;
                    self.run.action(format!("{self}: {kill}"));
                    self.run.warn(format!("the lock of another controller at {} was broken", holder.addr));
                }
                return Ok(true);
            }
            // It is not to stand in the way of others while it waits.
            let _ = self.ask(&Command::new(["CLIENT", "SETNAME", CLIENT_NAME])).await?;
            if deadline.passed() {
                let found = format!(
                    "another controller is at work on it, from {} for {} seconds, idle for {}",
                    holder.addr, holder.age, holder.idle
                );
                return Err(Error::new(Code::Locked, found)
                    .at(self)
                    .remedy("wait until it has finished; if it is dead or hangs, break_lock cuts it off"));
            }
            self.run.sleep(BREATH).await?;
        }
    }

    /// Takes the name of a controller at work, and returns the others that have one.
    async fn name_myself(&self) -> Result<Vec<Connection>> {
        let name = format!("{CLIENT_NAME}:{}", self.run.token());
        let set_name = Command::new(["CLIENT", "SETNAME", &name]);
        let others = Command::new(["CLIENT", "LIST", "TYPE", "normal"]);
        let commands = [Command::new(["MULTI"]), set_name.clone(), others.clone(), Command::new(["EXEC"])];
        let mut replies = self.pipeline(&commands).await?;
        let executed = replies.pop().unwrap_or(Ok(redis::Value::Nil));
        if replies.iter().any(|reply| reply.as_ref().is_err_and(|said| said.word == "OOM")) {
            // A server over its maxmemory queues nothing. In this order one of two still sees the other, or both do.
            self.read(&set_name).await?;
            let list = text(&self.read(&others).await?)?;
            return Ok(holders(&list, &name));
        }
        if let Some((command, said)) = commands.iter().zip(replies).find_map(|(c, reply)| Some((c, reply.err()?))) {
            return Err(self.refused(command, &said));
        }
        let executed = elements(executed.map_err(|said| self.refused(&commands[3], &said))?);
        let list = executed.last().map(text).transpose()?.unwrap_or_default();
        Ok(holders(&list, &name))
    }
}

/// The controllers at work, but for the one of this name.
fn holders(list: &str, name: &str) -> Vec<Connection> {
    let all = list.lines().filter_map(Connection::parse);
    all.filter(|one| one.name.starts_with(&format!("{CLIENT_NAME}:")) && one.name != name).collect()
}
