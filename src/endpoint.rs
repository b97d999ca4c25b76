//! Where a server is and how to log in.

use std::{fmt, net::IpAddr, path::PathBuf, time::Duration};

use percent_encoding::percent_decode_str;
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, TlsCertificates,
    io::tcp::TcpSettings,
};
use serde::{Deserialize, Serialize};
use tokio::net::lookup_host;

use crate::error::{Code, Error, Result};

/// The port a URL without one means.
pub const DEFAULT_PORT: u16 = 6379;

/// The same of a sentinel's.
const SENTINEL_PORT: u16 = 26379;

/// An address, a login and, where wanted, TLS. `Debug` and `Display` never show the password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Name or address (IPv6 without brackets); for a unix socket the host that replication uses.
    pub host: String,
    /// TCP port; not used with a unix socket.
    pub port: u16,
    /// Path of a unix socket, in place of host and port.
    pub unix_socket: Option<PathBuf>,
    /// The address is that of a sentinel, which knows the server as the master of this name. Of a source alone.
    pub master_name: Option<String>,
    /// ACL user; without one the password is the default user's.
    pub user: Option<String>,
    /// Password of the user.
    pub password: Option<String>,
    /// TLS, if wanted.
    pub tls: Option<Tls>,
    /// How long a connection attempt may take, TLS handshake and login included.
    pub connect_timeout: Duration,
}

/// How to speak TLS to a server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// Whether the server's certificate must be valid for its name.
    pub validate_certs: bool,
    /// PEM file of the authorities to trust in place of the system's.
    pub ca_certs: Option<PathBuf>,
    /// PEM file of the client's certificate; goes with `client_key_file`.
    pub client_cert_file: Option<PathBuf>,
    /// PEM file of the client's key.
    pub client_key_file: Option<PathBuf>,
}

impl Default for Tls {
    fn default() -> Self {
        Tls { validate_certs: true, ca_certs: None, client_cert_file: None, client_key_file: None }
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Endpoint {
            host: "127.0.0.1".into(),
            port: DEFAULT_PORT,
            unix_socket: None,
            master_name: None,
            user: None,
            password: None,
            tls: None,
            connect_timeout: Duration::from_secs(5),
        }
    }
}

impl Endpoint {
    /// The addresses that its host has; none where that can't be told in time.
    pub async fn addresses(&self) -> Vec<IpAddr> {
        match tokio::time::timeout(self.connect_timeout, lookup_host((self.host.as_str(), 0))).await {
            Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
            _ => Vec::new(),
        }
    }

    /// Reads `redis://`, `rediss://`, `valkey://`, `valkeys://` (with user, password and port; the path must be
    /// empty or a database, which is ignored: an upgrade is about all of them), `unix:///path`, and
    /// `redis+sentinel://host:port/name` for the master that a sentinel knows by that name (`rediss+sentinel` with TLS to both;
    /// the login is the master's).
    pub fn from_url(text: &str) -> Result<Self> {
        let endpoint = Self::read_url(text)?;
        endpoint.check()?;
        Ok(endpoint)
    }

    /// The same, for a URL to which more is added before it must be whole: a user's password is rarely in it.
    pub(crate) fn read_url(text: &str) -> Result<Self> {
        // The URL may hold a password, so no message repeats it.
        let url = match url::Url::parse(text) {
            // A unix URL with a login has no host after it, which the standard for URLs does not know.
            Err(url::ParseError::EmptyHost) => url::Url::parse(&text.replacen("@/", "@localhost/", 1)),
            read => read,
        };
        let url = url.map_err(|e| match e {
            url::ParseError::RelativeUrlWithoutBase => Error::input("url", "has no scheme: write redis://HOST:PORT"),
            e => Error::input("url", e),
        })?;
        let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let query: Vec<_> = url.query_pairs().collect();
        let behind = [url.query(), url.fragment()].into_iter().flatten().collect::<String>();
        if url.fragment().is_some() {
            return Err(odd(&behind, "has a #, behind which there is nothing to say".to_owned()));
        }
        if let Some((name, _)) = query.first() {
            let problem = format!("the parameter {name:?} is not known; give options as arguments");
            return Err(odd(&behind, problem));
        }
        let mut endpoint = Endpoint {
            user: Some(decode(url.username())).filter(|u| !u.is_empty()),
            password: url.password().map(decode),
            ..Endpoint::default()
        };
        let name_in = |url: &url::Url| decode(url.path().trim_start_matches('/'));
        match url.scheme() {
            "redis" | "valkey" => {}
            "rediss" | "valkeys" => endpoint.tls = Some(Tls::default()),
            "redis+sentinel" | "valkey+sentinel" => endpoint.master_name = Some(name_in(&url)),
            "rediss+sentinel" | "valkeys+sentinel" => {
                endpoint.tls = Some(Tls::default());
                endpoint.master_name = Some(name_in(&url));
            }
            "unix" | "redis+unix" | "valkey+unix" => {
                if url.path().is_empty() || url.path() == "/" {
                    return Err(Error::input("url", "a unix URL needs the path of the socket"));
                }
                endpoint.unix_socket = Some(decode(url.path()).into());
                return Ok(endpoint);
            }
            other => {
                return Err(Error::input(
                    "url",
                    format!(
                        "the scheme {other:?} is none of redis, rediss, valkey, valkeys, unix, redis+sentinel: write redis://HOST:PORT"
                    ),
                ));
            }
        }
        let host = url.host_str().filter(|h| !h.is_empty());
        endpoint.host = decode(host.ok_or_else(|| Error::input("url", "the host is missing"))?)
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        endpoint.port = url.port().unwrap_or(if endpoint.master_name.is_some() { SENTINEL_PORT } else { DEFAULT_PORT });
        let database = url.path().trim_start_matches('/');
        if endpoint.master_name.is_none() && !database.is_empty() && database.parse::<u32>().is_err() {
            return Err(odd(database, format!("{database:?} is not a database number")));
        }
        Ok(endpoint)
    }

    /// Refuses what can't work, with the name of the argument.
    pub fn check(&self) -> Result<()> {
        if self.unix_socket.is_none() {
            if self.host.trim().is_empty() {
                return Err(Error::input("host", "is empty"));
            }
            if self.host.contains(|c: char| c.is_whitespace() || c.is_control()) {
                return Err(Error::input("host", "a name has no blanks or control characters"));
            }
            if self.port == 0 {
                return Err(Error::input("port", "0 is not a port to connect to"));
            }
        }
        if let Some(name) = &self.master_name {
            if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == ',' || c == '/') {
                return Err(Error::input("master_name", "is empty, or has a blank, a comma or a slash"));
            }
            if self.unix_socket.is_some() {
                return Err(Error::input("master_name", "is known to a sentinel, which has no unix socket"));
            }
        }
        if self.connect_timeout.is_zero() {
            return Err(Error::input("connect_timeout", "must be more than 0 seconds"));
        }
        if self.user.is_some() && self.password.is_none() {
            // What stands there may be the password, so it is not shown.
            let problem = "a user was given without one (a password alone is redis://:PASSWORD@HOST)";
            return Err(Error::input("password", problem));
        }
        match &self.tls {
            Some(_) if self.unix_socket.is_some() => Err(Error::input("tls", "a unix socket does not speak TLS")),
            Some(tls) if tls.client_cert_file.is_some() != tls.client_key_file.is_some() => {
                Err(Error::input("client_cert_file", "and client_key_file go together"))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a sentinel and a name in place of an address, where the address is what counts.
    pub fn check_address(&self) -> Result<()> {
        self.check()?;
        match self.master_name {
            Some(_) => Err(Error::input("master_name", "only a source can be given by a sentinel and a name")),
            None => Ok(()),
        }
    }

    /// The same server's other port (same host, login and TLS).
    pub fn with_port(&self, port: u16) -> Self {
        Endpoint { port, unix_socket: None, ..self.clone() }
    }

    /// The same address with the login of another endpoint.
    pub fn with_login_of(&self, other: &Endpoint) -> Self {
        Endpoint { user: other.user.clone(), password: other.password.clone(), ..self.clone() }
    }

    /// The client of the redis crate for this endpoint. No login is in it: it is sent separately, because
    /// only then the server's own words about a refused login can be read.
    pub(crate) fn client(&self) -> Result<Client> {
        self.client_with(RedisConnectionInfo::default())
    }

    /// One that logs in by itself, for a login that was accepted before.
    pub(crate) fn client_logging_in(&self) -> Result<Client> {
        let mut login = RedisConnectionInfo::default();
        if let Some(user) = &self.user {
            login = login.set_username(user);
        }
        if let Some(password) = &self.password {
            login = login.set_password(password);
        }
        self.client_with(login)
    }

    fn client_with(&self, login: RedisConnectionInfo) -> Result<Client> {
        let bad = |e: redis::RedisError| Error::input("endpoint", e);
        let addr = match (&self.unix_socket, &self.tls) {
            (Some(path), _) => ConnectionAddr::Unix(path.clone()),
            (None, None) => ConnectionAddr::Tcp(self.host.clone(), self.port),
            (None, Some(tls)) => ConnectionAddr::TcpTls {
                host: self.host.clone(),
                port: self.port,
                insecure: !tls.validate_certs,
                tls_params: None,
            },
        };
        let info = addr
            .into_connection_info()
            .map_err(bad)?
            .set_tcp_settings(TcpSettings::default().set_nodelay(true))
            .set_redis_settings(login.set_skip_set_lib_name());
        let Some(tls) = &self.tls else {
            return Client::open(info).map_err(bad);
        };
        // Fails only where a provider is installed already, which is what we want.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let read = |field: &str, path: &Option<PathBuf>| {
            path.as_ref()
                .map(|p| std::fs::read(p).map_err(|e| Error::input(field, format!("{}: {e}", p.display()))))
                .transpose()
        };
        let client_cert = read("client_cert_file", &tls.client_cert_file)?;
        let client_key = read("client_key_file", &tls.client_key_file)?;
        let certificates = TlsCertificates {
            root_cert: read("ca_certs", &tls.ca_certs)?,
            client_tls: client_cert
                .zip(client_key)
                .map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key }),
        };
        Client::build_with_tls(info, certificates)
            .map_err(|e| Error::new(Code::TlsFailed, format!("the certificates given can't be used: {e}")).at(self))
    }
}

/// What is wrong with a part of a URL behind its host. One with an `@` is the rest of a login that ended too early, and is
/// not shown.
fn odd(part: &str, problem: String) -> Error {
    match part.contains('@') {
        true => Error::input("url", "has an @ behind its host: in a login write / ? # @ as %2F %3F %23 %40"),
        false => Error::input("url", problem),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.master_name {
            write!(f, "{name}@")?;
        }
        match &self.unix_socket {
            Some(path) => write!(f, "{}", path.display()),
            None if self.host.contains(':') => write!(f, "[{}]:{}", self.host, self.port),
            None => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self}")?;
        if let Some(user) = &self.user {
            write!(f, ", user={user:?}")?;
        }
        if self.password.is_some() {
            write!(f, ", password=***")?;
        }
        if let Some(tls) = &self.tls {
            write!(f, ", tls{}", if tls.validate_certs { "" } else { " without verification" })?;
        }
        write!(f, ")")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_every_scheme_are_read() {
        let e = Endpoint::from_url("rediss://ops:p%40ss@redis.example:7000/0").unwrap();
        assert_eq!((e.host.as_str(), e.port, e.user.as_deref()), ("redis.example", 7000, Some("ops")));
        assert_eq!(e.password.as_deref(), Some("p@ss"));
        assert!(e.tls.is_some());
        let e = Endpoint::from_url("valkey://:secret@[::1]").unwrap();
        assert_eq!((e.host.as_str(), e.port, e.user), ("::1", 6379, None));
        let e = Endpoint::from_url("valkeys+sentinel://:secret@s1.example/mymaster").unwrap();
        assert_eq!((e.port, e.master_name.as_deref(), e.tls.is_some()), (26379, Some("mymaster"), true));
        assert_eq!(e.to_string(), "mymaster@s1.example:26379");
        assert!(Endpoint::from_url("redis+sentinel://s1.example/mymaster").unwrap().tls.is_none());
        assert!(e.check_address().is_err() && Endpoint::from_url("redis+sentinel://s1.example").is_err());
        assert_eq!(Endpoint::from_url("unix:///run/redis.sock").unwrap().to_string(), "/run/redis.sock");
    }

    #[test]
    fn an_address_that_is_no_url_is_told_how_to_be_one() {
        for address in ["127.0.0.1:6379", "redis.example", "localhost:6379"] {
            let error = Endpoint::from_url(address).unwrap_err();
            assert!(error.to_string().contains("write redis://HOST:PORT"), "{error}");
        }
    }

    #[test]
    fn a_password_may_come_later_than_its_user() {
        let mut e = Endpoint::read_url("redis://ops@h").unwrap();
        assert!(e.check().unwrap_err().to_string().contains("without one"));
        assert!(Endpoint::from_url("redis://ops@h").is_err());
        e.password = Some("secret".into());
        e.check().unwrap();
    }

    #[test]
    fn a_bad_url_is_named_and_its_password_is_not() {
        let whole = ["http://h:1", "redis://", "redis://u:hunter2@h:99999", "unix://", "redis://h/x", "redis://h?a=b"];
        // As is written by mistake: without the colon before it, and with what has to be encoded.
        let mistaken =
            ["redis://hunter2@h", "unix://hunter2@/run/redis.sock", "redis://u/hunter2@h", "redis://u?hunter2@h"];
        let more = ["redis://u:1?hunter2=b@h", "redis://u#hunter2@h", "redis://u#hunter2", "redis://u?a=b#hunter2@h"];
        for url in whole.into_iter().chain(mistaken).chain(more) {
            let error = Endpoint::from_url(url).unwrap_err();
            assert_eq!(error.code, Code::InvalidInput, "{url}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn neither_debug_nor_display_shows_the_password() {
        let e = Endpoint::from_url("redis://ops:hunter2@h").unwrap();
        assert!(!format!("{e:?} {e}").contains("hunter2"));
    }
}
