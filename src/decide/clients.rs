//! Who is connected: how they come to the server that serves, what they lose on the way, and whom a selection means.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{
    error::{Error, Result},
    server::client_list::{ClientKind, Connection},
};

/// What a server is to those who are connected to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It serves, and they are to leave it.
    Serving,
    /// It serves no more.
    Left,
    /// It serves, or will.
    Arrival,
}

/// By which way a connection comes to the server that serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Follows {
    /// It is there.
    #[default]
    Stays,
    /// It is cut once in the switchover, and comes back to where it is led.
    Reconnects,
    /// It goes by itself: it has announced that it takes the demoted server's word for where to go, which its next command
    /// is answered with.
    Redirected,
    /// It does not, unless it is cut: the switchover has left it, or it came after that.
    Cut,
    /// It is told whom to follow: a replica, and the link of one.
    Repointed,
    /// A sentinel finds out by itself.
    Sentinel,
    /// It is one of redis-baton.
    Ours,
}

impl Follows {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Follows::Stays => "stays",
            Follows::Reconnects => "reconnects",
            Follows::Redirected => "redirected",
            Follows::Cut => "cut",
            Follows::Repointed => "repointed",
            Follows::Sentinel => "sentinel",
            Follows::Ours => "ours",
        }
    }
}

/// How a connection follows.
pub fn follows(connection: &Connection, place: Place) -> Follows {
    match (connection.kind, place) {
        (ClientKind::Ours, _) => Follows::Ours,
        (ClientKind::Sentinel, _) => Follows::Sentinel,
        (ClientKind::Master, _) => Follows::Repointed,
        (_, Place::Arrival) => Follows::Stays,
        (ClientKind::Replica, _) => Follows::Repointed,
        // A subscriber sends no command that could be answered with where to go.
        (ClientKind::Normal | ClientKind::Blocked, _) if connection.redirects => Follows::Redirected,
        (_, Place::Serving) => Follows::Reconnects,
        // Who only watches the server has nothing to go elsewhere for.
        (ClientKind::Monitor, Place::Left) => Follows::Stays,
        (_, Place::Left) => Follows::Cut,
    }
}

/// Connections that are alike.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "python", pyo3::pyclass(frozen, get_all, eq, module = "redis_baton"))]
pub struct ClientGroup {
    /// `normal`, `blocked`, `pubsub`, `monitor`, `replica`, `master`, `sentinel` or `ours`.
    pub kind: String,
    /// By which way they come to the server that serves: `stays`, `reconnects`, `redirected`, `cut`, `repointed`,
    /// `sentinel` or `ours`.
    pub follows: String,
    /// The address they come from, without port.
    pub address: String,
    /// ACL user.
    pub user: String,
    /// The name they gave themselves.
    pub name: String,
    /// Client library and version, where the server knows (7.2).
    pub library: String,
    /// How many they are.
    pub connections: u64,
    /// Whole seconds since the last command of the busiest of them.
    pub idle: u64,
    /// How many of them watch keys. To be cut ends that, as all that follows.
    pub watching: u64,
    /// How many are within `MULTI`.
    pub in_transaction: u64,
    /// How many have the server keep track of their keys.
    pub tracking: u64,
    /// How many have subscribed to channels.
    pub subscribed: u64,
    /// How many wait in a blocking command.
    pub blocked: u64,
}

/// Puts connections that are alike together.
pub fn groups(connections: &[Connection], place: Place) -> Vec<ClientGroup> {
    let mut groups: BTreeMap<ClientGroup, ClientGroup> = BTreeMap::new();
    for connection in connections {
        let alike = ClientGroup {
            kind: connection.kind.as_str().to_owned(),
            follows: follows(connection, place).as_str().to_owned(),
            address: connection.host().to_owned(),
            user: connection.user.clone(),
            name: connection.name.clone(),
            library: connection.library.clone(),
            ..ClientGroup::default()
        };
        let group = groups.entry(alike.clone()).or_insert(ClientGroup { idle: u64::MAX, ..alike });
        group.connections += 1;
        group.idle = group.idle.min(connection.idle);
        group.watching += u64::from(connection.watching);
        group.in_transaction += u64::from(connection.in_transaction);
        group.tracking += u64::from(connection.tracking);
        group.subscribed += u64::from(connection.subscribed);
        group.blocked += u64::from(connection.blocked);
    }
    groups.into_values().collect()
}

/// A connection of an application to the server that is to be left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "python", pyo3::pyclass(frozen, get_all, eq, module = "redis_baton"))]
pub struct Straggler {
    /// Where it comes from, with its port.
    pub address: String,
    /// The name it gave itself.
    pub name: String,
    /// ACL user.
    pub user: String,
    /// Client library and version, where the server knows (7.2).
    pub library: String,
    /// `normal`, `blocked` or `pubsub`.
    pub kind: String,
    /// As in a group; `cut` and `redirected` are left once the switchover is done.
    pub follows: String,
    /// Its last command.
    pub command: String,
    /// Whole seconds since it connected.
    pub age: u64,
    /// Whole seconds since its last command.
    pub idle: u64,
}

impl Straggler {
    /// The one that this connection is.
    pub fn of(connection: &Connection, place: Place) -> Self {
        Straggler {
            address: connection.addr.clone(),
            name: connection.name.clone(),
            user: connection.user.clone(),
            library: connection.library.clone(),
            kind: connection.kind.as_str().to_owned(),
            follows: follows(connection, place).as_str().to_owned(),
            command: connection.command.clone(),
            age: connection.age,
            idle: connection.idle,
        }
    }
}

/// Whom to disconnect: applications that fit each criterion given, by one of its values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Of these kinds; those of applications alone.
    pub kinds: Option<Vec<ClientKind>>,
    /// Logged in as one of these users.
    pub users: Option<Vec<String>>,
    /// With a name like one of these, where `*` stands for anything and `?` for one character.
    pub names: Option<Vec<String>>,
    /// From one of these addresses, with or without port.
    pub addresses: Option<Vec<String>>,
    /// With a library like one of these, as names.
    pub libraries: Option<Vec<String>>,
}

impl Selection {
    /// The criteria by name, in the order in which they are told.
    pub const CRITERIA: [&str; 5] = ["kinds", "users", "names", "addresses", "libraries"];

    /// Adds a criterion. One without a value is refused: a list that came out empty is not to mean everybody.
    pub fn criterion(&mut self, criterion: &str, values: Vec<String>) -> Result<()> {
        if values.is_empty() {
            return Err(wrong(format_args!("{criterion} has no value: leave it out, or say whom you mean")));
        }
        match criterion {
            "kinds" => self.kinds = Some(values.iter().map(|word| application_kind(word)).collect::<Result<_>>()?),
            "users" => self.users = Some(values),
            "names" => self.names = Some(values),
            "addresses" => self.addresses = Some(values),
            "libraries" => self.libraries = Some(values),
            other => {
                return Err(wrong(format_args!("{other:?} is none of {}", Self::CRITERIA.join(", "))));
            }
        }
        Ok(())
    }

    /// Refuses a selection of nobody in particular.
    pub fn check(self) -> Result<Self> {
        if self == Selection::default() {
            return Err(wrong("says nobody: all applications are kinds normal, blocked and pubsub"));
        }
        Ok(self)
    }

    /// Whether this connection is meant. Only applications ever are, and not one that goes by itself.
    pub fn means(&self, connection: &Connection) -> bool {
        fn any<T>(values: &Option<Vec<T>>, fits: impl Fn(&T) -> bool) -> bool {
            values.as_ref().is_none_or(|values| values.iter().any(fits))
        }
        follows(connection, Place::Left) == Follows::Cut
            && any(&self.kinds, |kind| *kind == connection.kind)
            && any(&self.users, |user| *user == connection.user)
            && any(&self.names, |name| is_like(&connection.name, name))
            && any(&self.addresses, |address| address == connection.host() || *address == connection.addr)
            && any(&self.libraries, |library| is_like(&connection.library, library))
    }
}

fn wrong(problem: impl fmt::Display) -> Error {
    Error::input("disconnect", problem)
}

fn application_kind(word: &str) -> Result<ClientKind> {
    [ClientKind::Normal, ClientKind::Blocked, ClientKind::Pubsub]
        .into_iter()
        .find(|kind| kind.as_str() == word)
        .ok_or_else(|| wrong(format_args!("{word:?} is none of the kinds normal, blocked, pubsub")))
}

/// Whether a text is like a pattern, in which `*` stands for anything and `?` for one character.
fn is_like(text: &str, pattern: &str) -> bool {
    let (text, pattern): (Vec<char>, Vec<char>) = (text.chars().collect(), pattern.chars().collect());
    let (mut at, mut next) = (0, 0);
    // Where the last `*` is, and up to where it stands for the text so far.
    let mut star = None;
    while at < text.len() {
        match pattern.get(next) {
            Some('*') => {
                star = Some((next, at));
                next += 1;
            }
            Some(character) if *character == '?' || *character == text[at] => {
                at += 1;
                next += 1;
            }
            _ => match star {
                Some((place, upto)) => {
                    star = Some((place, upto + 1));
                    (at, next) = (upto + 1, place + 1);
                }
                None => return false,
            },
        }
    }
    pattern[next..].iter().all(|character| *character == '*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn connection(line: &str) -> Connection {
        Connection::parse(&format!("id=1 addr=10.0.0.7:4711 {line}")).unwrap()
    }

    fn selection(criteria: &[(&str, &[&str])]) -> Result<Selection> {
        let mut selection = Selection::default();
        for (criterion, values) in criteria {
            selection.criterion(criterion, values.iter().map(ToString::to_string).collect())?;
        }
        selection.check()
    }

    #[test]
    fn everybody_has_a_way() {
        use Follows::{Cut, Ours, Reconnects, Redirected, Repointed, Sentinel, Stays};
        let table = [
            ("flags=N", Reconnects, Cut, Stays),
            ("flags=b", Reconnects, Cut, Stays),
            ("flags=P", Reconnects, Cut, Stays),
            ("flags=N capa=r", Redirected, Redirected, Stays),
            ("flags=b capa=r", Redirected, Redirected, Stays),
            ("flags=P capa=r", Reconnects, Cut, Stays),
            ("flags=O", Reconnects, Stays, Stays),
            ("flags=S", Repointed, Repointed, Stays),
            ("flags=M", Repointed, Repointed, Repointed),
            ("flags=N name=sentinel-1-cmd", Sentinel, Sentinel, Sentinel),
            ("flags=N name=redis-baton:1", Ours, Ours, Ours),
        ];
        for (line, serving, left, arrival) in table {
            let one = connection(line);
            let seen = [Place::Serving, Place::Left, Place::Arrival].map(|place| follows(&one, place));
            assert_eq!(seen, [serving, left, arrival], "{line}");
        }
    }

    #[test]
    fn those_alike_are_counted_with_what_they_lose() {
        let lines =
            ["flags=t idle=9 name=a", "flags=x watch=1 idle=3 name=a", "flags=b name=a", "flags=P sub=2 name=b"];
        let found = groups(&lines.map(connection), Place::Serving);
        let [blocked, normal, pubsub] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((blocked.kind.as_str(), blocked.connections, blocked.blocked), ("blocked", 1, 1));
        assert_eq!((normal.address.as_str(), normal.connections, normal.idle), ("10.0.0.7", 2, 3));
        assert_eq!((normal.tracking, normal.in_transaction, normal.watching, normal.subscribed), (1, 1, 1, 0));
        assert_eq!((pubsub.kind.as_str(), pubsub.subscribed), ("pubsub", 1));
    }

    #[test]
    fn a_selection_is_of_applications_that_fit_each_criterion() {
        let app = connection("flags=N user=shop name=shop-3 lib-name=redis-py lib-ver=6.2.0");
        let fits: [&[(&str, &[&str])]; 6] = [
            &[("kinds", &["pubsub", "normal"])],
            &[("users", &["shop"]), ("names", &["shop-*"])],
            &[("addresses", &["10.0.0.7"])],
            &[("addresses", &["10.0.0.7:4711"])],
            &[("libraries", &["redis-py *"])],
            &[("names", &["other", "shop-?"])],
        ];
        for criteria in fits {
            assert!(selection(criteria).unwrap().means(&app), "{criteria:?}");
        }
        let differs: [&[(&str, &[&str])]; 5] = [
            &[("kinds", &["pubsub"])],
            &[("users", &["sho", "Shop"])],
            &[("addresses", &["10.0.0.7:47", "10.0.0"])],
            &[("users", &["shop"]), ("names", &["other"])],
            &[("libraries", &["redis-py"])],
        ];
        for criteria in differs {
            assert!(!selection(criteria).unwrap().means(&app), "{criteria:?}");
        }
        let anybody = selection(&[("names", &["*"])]).unwrap();
        for line in
            ["flags=S", "flags=M", "flags=O", "flags=N name=sentinel-1-cmd", "flags=N name=redis-baton", "capa=r"]
        {
            assert!(!anybody.means(&connection(line)), "{line}");
        }
    }

    #[test]
    fn a_selection_of_nobody_is_refused() {
        let wrong: [&[(&str, &[&str])]; 4] = [&[], &[("users", &[])], &[("kinds", &["replica"])], &[("name", &["x"])]];
        for criteria in wrong {
            let error = selection(criteria).unwrap_err();
            assert_eq!(error.code, crate::Code::InvalidInput, "{criteria:?}");
        }
    }

    proptest! {
        #[test]
        fn a_pattern_is_like_what_it_was_made_of(
            parts in prop::collection::vec("[ab]{0,3}", 1..4),
            fillings in prop::collection::vec("[ab]{0,3}", 3),
        ) {
            let text: String = parts.iter().zip(fillings.iter().chain([&String::new()]))
                .enumerate()
                .map(|(n, (part, filling))| if n + 1 < parts.len() { format!("{part}{filling}") } else { part.clone() })
                .collect();
            prop_assert!(is_like(&text, &parts.join("*")));
            prop_assert!(is_like(&text, &"?".repeat(text.len())));
            prop_assert!(!is_like(&text, &"?".repeat(text.len() + 1)));
            prop_assert!(!is_like(&(text.clone() + "c"), &text));
        }

        #[test]
        fn a_pattern_without_wildcards_is_like_itself_alone(text in "[a-c]{0,4}", other in "[a-c]{0,4}") {
            prop_assert_eq!(is_like(&text, &other), text == other);
        }

        #[test]
        fn groups_lose_nobody(flags in prop::collection::vec("[NbPSMOxtd]", 0..20)) {
            let all: Vec<_> = flags.iter().map(|flags| connection(&format!("flags={flags}"))).collect();
            for place in [Place::Serving, Place::Left, Place::Arrival] {
                let total: u64 = groups(&all, place).iter().map(|group| group.connections).sum();
                prop_assert_eq!(total, all.len() as u64);
            }
        }
    }
}
