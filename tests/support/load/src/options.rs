//! The command line.

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use lexopt::{Arg, ValueExt};

use crate::wire::{Connection, Reply};

const USAGE: &str = "usage: baton-load --port PORT [--host HOST] [--connections N] [--rate WRITES_PER_SECOND]
    [--sets-per-incr N] [--value-size BYTES] [--prefix TEXT] [--user NAME] [--password TEXT] [--seconds N]
    [--verify-host HOST] [--verify-port PORT] [--sentinel NAME_OF_MASTER]";

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an IP address.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
}

impl Address {
    /// The IP addresses the host stands for.
    pub fn resolve(&self) -> Result<Vec<SocketAddr>, String> {
        let resolved = (self.host.as_str(), self.port).to_socket_addrs();
        resolved.map(Iterator::collect).map_err(|error| format!("{self}: {error}"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What to do.
#[derive(Debug)]
pub struct Options {
    /// Where to write.
    pub address: Address,
    /// Where to look things up at the end, unless standard input names another place.
    pub verify_at: Address,
    /// How many connections write.
    pub connections: usize,
    /// Writes per second of all connections together; 0 for as many as the server takes.
    pub rate: f64,
    /// How many SETs come before each INCR.
    pub sets_per_incr: u64,
    /// The size of a value in bytes.
    pub value_size: usize,
    /// What all keys begin with; a run has its own, so that its counters begin at nothing.
    pub prefix: String,
    /// The ACL user.
    pub user: Option<String>,
    /// The password; without one there is no AUTH.
    pub password: Option<String>,
    /// The name of the master: then a sentinel listens at `address`, and is asked for it on each connect.
    pub sentinel: Option<String>,
    /// The longest the writing lasts.
    pub duration: Duration,
}

impl Options {
    /// Reads the options of this process.
    pub fn from_command_line() -> Result<Self, String> {
        Self::parse(lexopt::Parser::from_env()).map_err(|error| format!("{error}\n{USAGE}"))
    }

    /// Where a server is now: for the load's own address, where a sentinel listens there, the master that it names.
    pub fn locate(&self, address: &Address, give_up: &dyn Fn() -> bool) -> io::Result<Vec<SocketAddr>> {
        let found = address.resolve().map_err(io::Error::other)?;
        let Some(name) = self.sentinel.as_ref().filter(|_| *address == self.address) else { return Ok(found) };
        let mut sentinel = Connection::open(&found)?;
        let reply = sentinel.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name], give_up)?;
        let words = match reply {
            Reply::Array(replies) => replies,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        let text = |reply: &Reply| match reply {
            Reply::Bulk(Some(text)) => String::from_utf8(text.clone()).ok(),
            _ => None,
        };
        let [host, port] = words.as_slice() else { return Err(io::ErrorKind::InvalidData.into()) };
        match (text(host), text(port).and_then(|port| port.parse().ok())) {
            (Some(host), Some(port)) => Address { host, port }.resolve().map_err(io::Error::other),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn parse(mut parser: lexopt::Parser) -> Result<Self, lexopt::Error> {
        let mut address = Address { host: "127.0.0.1".to_owned(), port: 0 };
        let (mut verify_host, mut verify_port) = (None, None);
        let mut options = Self {
            address: address.clone(),
            verify_at: address.clone(),
            connections: 16,
            rate: 0.0,
            sets_per_incr: 4,
            value_size: 100,
            prefix: format!("load-{}", std::process::id()),
            user: None,
            password: None,
            sentinel: None,
            duration: Duration::from_secs(3600),
        };
        while let Some(argument) = parser.next()? {
            let Arg::Long(name) = argument else { return Err(argument.unexpected()) };
            match name {
                "host" => address.host = parser.value()?.string()?,
                "port" => address.port = parser.value()?.parse()?,
                "verify-host" => verify_host = Some(parser.value()?.string()?),
                "verify-port" => verify_port = Some(parser.value()?.parse()?),
                "connections" => options.connections = parser.value()?.parse()?,
                "rate" => options.rate = parser.value()?.parse()?,
                "sets-per-incr" => options.sets_per_incr = parser.value()?.parse()?,
                "value-size" => options.value_size = parser.value()?.parse()?,
                "prefix" => options.prefix = parser.value()?.string()?,
                "user" => options.user = Some(parser.value()?.string()?),
                "password" => options.password = Some(parser.value()?.string()?),
                "sentinel" => options.sentinel = Some(parser.value()?.string()?),
                "seconds" => {
                    let seconds: f64 = parser.value()?.parse()?;
                    options.duration = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
                }
                _ => return Err(argument.unexpected()),
            }
        }
        if address.port == 0 {
            return Err("--port is needed".into());
        }
        if options.connections == 0 || !(0.0..=1e9).contains(&options.rate) {
            return Err("--connections must be at least 1 and --rate between 0 and 1e9".into());
        }
        options.verify_at = Address {
            host: verify_host.unwrap_or_else(|| address.host.clone()),
            port: verify_port.unwrap_or(address.port),
        };
        options.address = address;
        Ok(options)
    }
}
