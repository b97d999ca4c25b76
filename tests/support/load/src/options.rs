//! The command line.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use lexopt::{Arg, ValueExt};

const USAGE: &str = "usage: baton-load --port PORT [--host HOST] [--connections N] [--rate WRITES_PER_SECOND]
    [--sets-per-incr N] [--value-size BYTES] [--prefix TEXT] [--user NAME] [--password TEXT] [--seconds N]
    [--verify-host HOST] [--verify-port PORT]";

/// Where a server listens.
#[derive(Clone, Debug)]
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
    /// The longest the writing lasts.
    pub duration: Duration,
}

impl Options {
    /// Reads the options of this process.
    pub fn from_command_line() -> Result<Self, String> {
        Self::parse(lexopt::Parser::from_env()).map_err(|error| format!("{error}\n{USAGE}"))
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
