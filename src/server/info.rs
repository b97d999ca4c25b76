//! What `INFO` says, typed.

use std::collections::BTreeMap;

use serde::Serialize;

/// The fields of `INFO`, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Info(BTreeMap<String, String>);

impl Info {
    /// Reads `name:value` lines; section heads and blank lines are passed over.
    pub fn parse(text: &str) -> Self {
        let fields = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(':'));
        Info(fields.map(|(name, value)| (name.to_owned(), value.trim_end().to_owned())).collect())
    }

    /// A field's text.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A field as a number.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.get(name)?.parse().ok()
    }

    /// Whether a field says `1`.
    pub fn flag(&self, name: &str) -> bool {
        self.get(name) == Some("1")
    }

    /// Fields whose name begins with `prefix`, in the order of the names.
    pub fn beginning<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0
            .range(prefix.to_owned()..)
            .take_while(move |(name, _)| name.starts_with(prefix))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// `a=1,b=2` as in the values of `INFO keyspace`, `commandstats` and the replica lines.
fn pairs(value: &str) -> impl Iterator<Item = (&str, &str)> {
    value.split(',').filter_map(|pair| pair.split_once('='))
}

fn pair<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    pairs(value).find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The product a server is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Product {
    /// Redis.
    #[default]
    Redis,
    /// Valkey, which also says `redis_version:7.2.4`.
    Valkey,
}

/// Who a server is: what stays the same for as long as the process lives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Random, new with every start.
    pub run_id: String,
    /// Redis or Valkey.
    pub product: Product,
    /// The product's own version.
    pub version: Version,
    /// `standalone`, `cluster` or `sentinel`.
    pub mode: String,
    /// The configuration file it was started with; empty without one.
    pub config_file: String,
    /// Process id on its host.
    pub process_id: u64,
}

impl Identity {
    /// Reads the `server` section; none if that is not what a Redis or Valkey says.
    pub fn from(info: &Info) -> Option<Self> {
        let valkey = info.get("valkey_version");
        Some(Identity {
            run_id: info.get("run_id")?.to_owned(),
            product: if valkey.is_some() { Product::Valkey } else { Product::Redis },
            version: Version::parse(valkey.or_else(|| info.get("redis_version"))?),
            mode: info.get("server_mode").or_else(|| info.get("redis_mode")).unwrap_or("standalone").to_owned(),
            config_file: info.get("config_file").unwrap_or_default().to_owned(),
            process_id: info.number("process_id").unwrap_or_default(),
        })
    }

    /// Such as `Redis 7.0.15`.
    pub fn title(&self) -> String {
        let product = match self.product {
            Product::Redis => "Redis",
            Product::Valkey => "Valkey",
        };
        let Version(major, minor, patch) = self.version;
        format!("{product} {major}.{minor}.{patch}")
    }

    /// Whether it has what Redis has from `version` on. Every Valkey has what Redis 7.2 had.
    pub fn has_redis(&self, version: Version) -> bool {
        match self.product {
            Product::Redis => self.version >= version,
            Product::Valkey => version <= Version(7, 2, 4),
        }
    }
}

/// Major, minor, patch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub u16, pub u16, pub u16);

impl Version {
    /// Reads `7.0.15`; what is not a number counts as 0.
    pub fn parse(text: &str) -> Self {
        let mut numbers = text.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Version(next(), next(), next())
    }
}

/// A server's role; Valkey's `primary` is read as master.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Takes writes.
    #[default]
    Master,
    /// Follows a master.
    Replica,
}

/// `INFO replication`, typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replication {
    /// Master or replica.
    pub role: Role,
    /// Whom a replica follows, as it was told.
    pub master: Option<(String, u16)>,
    /// Whether a replica's link to its master is up.
    pub link_up: bool,
    /// Whether a full sync is under way on a replica.
    pub syncing: bool,
    /// Bytes of the sync received, and in all where known (7.0).
    pub sync_read: u64,
    /// See `sync_read`.
    pub sync_total: u64,
    /// Whether a replica refuses writes.
    pub read_only: bool,
    /// Name of the replication history.
    pub replid: String,
    /// Name of the history it took part in before its promotion; zeros without one.
    pub replid2: String,
    /// Bytes of the replication stream: produced by a master, processed by a replica.
    pub offset: u64,
    /// The replicas of this server.
    pub replicas: Vec<Replica>,
}

/// A replica as its master sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replica {
    /// Its address, as the master sees or was told it.
    pub ip: String,
    /// Its port, as it announced it.
    pub port: u16,
    /// `wait_bgsave`, `send_bulk` or `online`.
    pub state: String,
    /// What it has acknowledged, at most once a second.
    pub offset: u64,
}

impl From<&Info> for Replication {
    fn from(info: &Info) -> Self {
        let role = match info.get("role") {
            Some("slave" | "replica") => Role::Replica,
            _ => Role::Master,
        };
        let number = |name| info.number(name).unwrap_or_default();
        let master = info.get("master_host").map(|host| (host.to_owned(), number("master_port") as u16));
        let replicas =
            info.beginning("slave").filter(|(name, _)| name[5..].parse::<u32>().is_ok()).map(|(_, line)| Replica {
                ip: pair(line, "ip").unwrap_or_default().to_owned(),
                port: pair(line, "port").and_then(|p| p.parse().ok()).unwrap_or_default(),
                state: pair(line, "state").unwrap_or_default().to_owned(),
                offset: pair(line, "offset").and_then(|o| o.parse().ok()).unwrap_or_default(),
            });
        let replicas = replicas.collect();
        Replication {
            role,
            master: master.filter(|_| role == Role::Replica),
            link_up: info.get("master_link_status") == Some("up"),
            syncing: info.flag("master_sync_in_progress"),
            sync_read: number("master_sync_read_bytes"),
            sync_total: number("master_sync_total_bytes"),
            read_only: info.get("slave_read_only") != Some("0"),
            replid: info.get("master_replid").unwrap_or_default().to_owned(),
            replid2: info.get("master_replid2").unwrap_or_default().to_owned(),
            // A replica's own view is `slave_repl_offset`; while it syncs it is 0.
            offset: match role {
                Role::Master => number("master_repl_offset"),
                Role::Replica => number("slave_repl_offset"),
            },
            replicas,
        }
    }
}

/// Keys of one database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Counts {
    /// All keys.
    pub keys: u64,
    /// Keys that expire.
    pub expires: u64,
}

/// `INFO keyspace`: keys by database. Empty databases are not in it.
pub type Keyspace = BTreeMap<u32, Counts>;

/// Reads the `keyspace` section.
pub fn keyspace(info: &Info) -> Keyspace {
    info.beginning("db")
        .filter_map(|(name, line)| {
            let number = |key| pair(line, key).and_then(|n| n.parse().ok());
            Some((name[2..].parse().ok()?, Counts { keys: number("keys")?, expires: number("expires")? }))
        })
        .collect()
}

/// Hashes with fields that expire on their own, in all databases.
pub fn hashes_with_field_ttls(info: &Info) -> u64 {
    field_ttls(info).map(|(_, hashes)| hashes).sum()
}

/// The databases that have such hashes.
pub fn with_field_ttls(info: &Info) -> Vec<u32> {
    field_ttls(info).filter(|(_, hashes)| *hashes > 0).map(|(number, _)| number).collect()
}

/// Hashes with fields that expire, by database (`subexpiry` in Redis 7.4, `keys_with_volatile_items` in Valkey 9).
fn field_ttls(info: &Info) -> impl Iterator<Item = (u32, u64)> {
    let fields = ["subexpiry", "keys_with_volatile_items"];
    let in_line = move |line| fields.iter().find_map(|f| pair(line, f)).and_then(|n| n.parse::<u64>().ok());
    info.beginning("db").filter_map(move |(name, line)| Some((name[2..].parse().ok()?, in_line(line)?)))
}

/// How often a command was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    /// How often it was carried out, also for scripts and for the stream of a master.
    pub done: u64,
    /// How often it was refused before that, such as a write to a replica (6.2): clients alone are.
    pub rejected: u64,
}

/// `INFO commandstats`: calls by command, `config|get` style from 7.0.
pub fn calls(info: &Info) -> BTreeMap<String, Calls> {
    info.beginning("cmdstat_")
        .filter_map(|(name, line)| {
            let number = |key| pair(line, key).and_then(|n| n.parse().ok());
            let calls = Calls { done: number("calls")?, rejected: number("rejected_calls").unwrap_or_default() };
            Some((name[8..].to_owned(), calls))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masters_replication_is_read() {
        let info = Info::parse(
            "# Replication\r\nrole:master\r\nconnected_slaves:1\r\n\
             slave0:ip=::1,port=7001,state=online,offset=42,lag=0\r\nslave_read_only:1\r\n\
             master_replid:abc\r\nmaster_repl_offset:56\r\n",
        );
        let replication = Replication::from(&info);
        assert_eq!((replication.role, replication.offset), (Role::Master, 56));
        assert_eq!(replication.replicas.len(), 1);
        assert_eq!((replication.replicas[0].ip.as_str(), replication.replicas[0].port), ("::1", 7001));
    }

    #[test]
    fn a_replicas_offset_is_its_own() {
        let info = Info::parse("role:slave\nmaster_host:h\nmaster_port:1\nslave_repl_offset:7\nmaster_repl_offset:9\n");
        let replication = Replication::from(&info);
        assert_eq!((replication.offset, replication.master), (7, Some(("h".into(), 1))));
    }

    #[test]
    fn keyspace_and_field_ttls_are_read_in_both_dialects() {
        let info = Info::parse("db0:keys=3,expires=1,avg_ttl=0,subexpiry=2\ndb11:keys=1,expires=0,avg_ttl=0\n");
        assert_eq!(keyspace(&info)[&0], Counts { keys: 3, expires: 1 });
        assert_eq!(keyspace(&info)[&11].keys, 1);
        assert_eq!((hashes_with_field_ttls(&info), with_field_ttls(&info)), (2, vec![0]));
    }

    #[test]
    fn valkey_is_not_redis_seven_two() {
        let info = Info::parse("redis_version:7.2.4\nserver_name:valkey\nvalkey_version:9.1.2\nrun_id:x\n");
        let identity = Identity::from(&info).unwrap();
        assert_eq!((identity.product, identity.version), (Product::Valkey, Version(9, 1, 2)));
        assert!(identity.has_redis(Version(7, 2, 0)) && !identity.has_redis(Version(7, 4, 0)));
    }
}
