//! The handover from a source before 6.2, which can't be demoted without cutting its replica off from the rest, and can't
//! leave its port: it is shut down, in a pause that holds everybody but us, by a command that it refuses itself once
//! the pause may be over. Until then nothing was changed; from then on there is no way back.
//!
//! The pause begins in one transaction that also sets a key which expires a little before the pause ends. The shutdown
//! is a transaction that watches that key. So the server's own clock decides, however late the command arrives.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use redis::Value;

use crate::{
    decide::handover::{Outcome, Position},
    journal::{Ports, unix_time},
    mutex::lock,
    server::{
        Command, Server, Wire, elements,
        info::{Info, Replication, keyspace},
        text,
    },
};

/// Expires a little before the pause ends.
pub const KEY: &str = "redis-baton:deadline";

/// How long one command may take.
const REPLY: Duration = Duration::from_secs(1);

/// Between two looks at the port.
const LOOK: Duration = Duration::from_micros(200);

/// The source in its pause.
pub struct Fence<'a> {
    source: &'a Server,
    public: Ports,
    wire: Mutex<Option<Wire>>,
    /// When the pause began, at the earliest, and how long it is.
    paused: Mutex<Option<(Instant, Duration)>>,
    /// Where clients reach it: looked up before the pause.
    address: Mutex<Option<SocketAddr>>,
}

impl<'a> Fence<'a> {
    /// A source that is to be shut down. It listens there.
    pub fn new(source: &'a Server, public: Ports) -> Self {
        Fence { source, public, wire: Mutex::default(), paused: Mutex::default(), address: Mutex::default() }
    }

    /// What is sent to pause.
    pub fn pause_commands(budget: Duration) -> Vec<Command> {
        let deadline = budget - budget / 8;
        vec![
            Command::new(["SET", KEY, "1", "PX", &deadline.as_millis().to_string()]),
            Command::info("keyspace"),
            Command::info("replication"),
            // Last but one: what comes after it and is no admin command would be shown in the middle of the reply.
            Command::new(["MONITOR"]),
            Command::new(["CLIENT", "PAUSE", &budget.as_millis().to_string()]),
        ]
    }

    /// Pauses the source, and reads where it stands.
    pub fn pause(&self, budget: Duration) -> Outcome<Position> {
        let mut commands = vec![Command::new(["MULTI"])];
        commands.extend(Fence::pause_commands(budget));
        commands.push(Command::new(["EXEC"]));
        let port = if self.public.plain != 0 { self.public.plain } else { self.public.tls };
        let address = (self.source.endpoint.host.as_str(), port).to_socket_addrs();
        *lock(&self.address) = address.ok().and_then(|mut found| found.next());
        *lock(&self.paused) = Some((Instant::now(), budget));
        let asked = Wire::open(&self.source.endpoint, REPLY).and_then(|mut wire| Ok((wire.ask(&commands)?, wire)));
        let Ok((replies, wire)) = asked else { return Outcome::Lost };
        let refused =
            commands.iter().zip(&replies).find_map(|(command, reply)| Some(format!("{command}: {}", refusal(reply)?)));
        if let Some(refused) = refused {
            return Outcome::Refused(refused);
        }
        let executed = elements(replies.into_iter().next_back().unwrap_or(Value::Nil));
        if let Some(said) = executed.iter().find_map(refusal) {
            return Outcome::Refused(said);
        }
        let info = |n: usize| executed.get(n).and_then(|reply| text(reply).ok()).map(|text| Info::parse(&text));
        let (Some(keys), Some(replication)) = (info(1), info(2)) else { return Outcome::Lost };
        *lock(&self.wire) = Some(wire);
        Outcome::Done(Position { offset: Replication::from(&replication).offset, keyspace: keyspace(&keys) })
    }

    /// Sees that the pause holds, and reads where the source stands in it: a write that was read together with the pause
    /// may have been carried out after it.
    pub fn close(&self) -> Outcome<Position> {
        let commands = [Command::new(["WATCH", KEY]), Command::new(["PTTL", KEY]), Command::info("replication")];
        let Some(Ok(replies)) = lock(&self.wire).as_mut().map(|wire| wire.ask(&commands)) else { return Outcome::Lost };
        match replies.as_slice() {
            [Value::Okay, Value::Int(left), info] if *left > 0 => match text(info) {
                Ok(info) => {
                    let offset = Replication::from(&Info::parse(&info)).offset;
                    Outcome::Done(Position { offset, keyspace: Default::default() })
                }
                Err(_) => Outcome::Lost,
            },
            [Value::Okay, Value::Int(_), _] => Outcome::Refused("to go on: the pause is over".into()),
            other => match other.iter().find_map(refusal) {
                Some(said) => Outcome::Refused(said),
                None => Outcome::Lost,
            },
        }
    }

    /// What is sent to shut it down.
    pub fn shutdown_commands() -> Vec<Command> {
        vec![Command::new(["SHUTDOWN", "NOSAVE"])]
    }

    /// Shuts the source down, if the pause still holds, and waits until nothing listens at its port.
    pub fn shut_down(&self) -> Outcome<()> {
        let mut commands = vec![Command::new(["MULTI"])];
        commands.extend(Fence::shutdown_commands());
        commands.push(Command::new(["EXEC"]));
        // One connection, one try: without it, what was sent is found out by looking.
        if let Some(mut wire) = lock(&self.wire).take()
            && let Ok(replies) = wire.ask(&commands)
        {
            return match replies.last() {
                Some(Value::Nil) => Outcome::Refused("to shut down: the pause was over".into()),
                Some(Value::Array(said)) => Outcome::Refused(said.iter().find_map(refusal).unwrap_or_default()),
                Some(other) => Outcome::Refused(refusal(other).unwrap_or_default()),
                None => Outcome::Lost,
            };
        }
        // Gone within the pause it has taken nothing since. Later it may have served on, and then died.
        while self.left() > Duration::ZERO {
            if self.listens() == Some(false) {
                return Outcome::Done(());
            }
            thread::sleep(LOOK);
        }
        match self.listens() {
            Some(true) => Outcome::Refused("to shut down in time: it still listens".into()),
            // Gone, or not to be reached.
            _ => Outcome::Lost,
        }
    }

    /// Until when the pause lasts, in seconds since 1970.
    pub fn until(&self) -> f64 {
        unix_time() + self.left().as_secs_f64()
    }

    /// How much of the pause is left.
    fn left(&self) -> Duration {
        let paused = *lock(&self.paused);
        paused.map_or(Duration::ZERO, |(began, budget)| budget.saturating_sub(began.elapsed()))
    }

    /// Whether somebody listens at its port; none where nobody says.
    fn listens(&self) -> Option<bool> {
        let address = (*lock(&self.address))?;
        match TcpStream::connect_timeout(&address, REPLY) {
            Ok(_) => Some(true),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Some(false),
            Err(_) => None,
        }
    }
}

fn refusal(reply: &Value) -> Option<String> {
    match reply {
        Value::ServerError(error) => Some(error.details().unwrap_or(error.code()).to_owned()),
        _ => None,
    }
}
