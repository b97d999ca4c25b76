//! How a replica logs in to its master.

use super::at;
use crate::{
    endpoint::Endpoint,
    error::{Code, Error, Result},
    journal::Ports,
    pair::Pair,
    server::{Command, Server, config::FUSE},
};

/// A login for replication.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// ACL user; none for the default user.
    pub user: Option<String>,
    /// Its password.
    pub password: String,
}

/// Keeps a replica from linking again by itself. Of a link that broke Redis makes a full resync where a partial one is
/// not possible, and an old server flushes all it has before it finds that it can't read the newer one's data: so a warm
/// source links again only when it is known to succeed. Both parameters take effect at the next link.
pub(super) async fn fuse(pair: &Pair, replica: &Server) -> Result<()> {
    let config = replica.config(&["masterauth"]).await?;
    if config.get("masterauth").is_none_or(String::is_empty) {
        replica.raise(&pair.journal, "masterauth", FUSE).await?;
    }
    replica.raise(&pair.journal, "masteruser", FUSE).await
}

/// Finds the login that `replica` uses at `master` and tries it: a replica that is not let in says so in its log alone.
/// What the operator has set on the replica is taken, unless another one is given. `listens` are the master's present
/// ports.
pub(super) async fn find_login(
    pair: &Pair,
    replica: &Server,
    master: &Server,
    listens: Ports,
    given: Option<&Login>,
) -> Result<Option<Login>> {
    let own = master.endpoint.password.clone();
    let own = own.map(|password| Login { user: master.endpoint.user.clone(), password });
    let wanted = match given.cloned() {
        Some(login) => Some(login),
        None => present(pair, replica).await?.or(own),
    };
    let tried = Endpoint {
        user: wanted.as_ref().and_then(|login| login.user.clone()),
        password: wanted.as_ref().map(|login| login.password.clone()),
        ..at(master, listens)
    };
    match Server::visit(&pair.run, master.side, &tried, &Command::new(["PING"])).await {
        Err(error) if error.code == Code::AuthFailed => {
            let found = format!("does not let {} in with the login it has for replication", replica.side.as_str());
            let remedy = "give replication_user and replication_password, or set masteruser and masterauth on it";
            Err(Error { found, ..error }.remedy(remedy))
        }
        // An account for replication alone may not be allowed to PING from here.
        Err(error) if error.code != Code::PermissionDenied => Err(error),
        _ => Ok(wanted),
    }
}

/// The login that is set on a replica, behind a fuse or not.
async fn present(pair: &Pair, replica: &Server) -> Result<Option<Login>> {
    let mut config = replica.config(&["masteruser", "masterauth"]).await?;
    let mut take = |name: &str| config.remove(name).filter(|value| !value.is_empty());
    let (user, password) = (take("masteruser"), take("masterauth").filter(|password| password != FUSE));
    let user = match user.as_deref() {
        Some(FUSE) => original(pair, replica, "masteruser")?,
        _ => user,
    };
    Ok(password.map(|password| Login { user, password }))
}

fn original(pair: &Pair, server: &Server, parameter: &str) -> Result<Option<String>> {
    let raised = server.raised(&pair.journal)?.into_iter().find(|known| known.parameter == parameter);
    Ok(raised.and_then(|known| known.original).filter(|value| !value.is_empty()))
}

/// Lets `replica` log in with that, over TLS or not.
pub(super) async fn set_login(pair: &Pair, replica: &Server, login: Option<&Login>, tls: bool) -> Result<()> {
    let config = replica.config(&["masteruser", "masterauth", "tls-replication"]).await?;
    let wanted = [
        ("masteruser", login.and_then(|login| login.user.clone()).unwrap_or_default()),
        ("masterauth", login.map(|login| login.password.clone()).unwrap_or_default()),
        ("tls-replication", (if tls { "yes" } else { "no" }).to_owned()),
    ];
    for (parameter, value) in wanted {
        // A server built without TLS does not know the last one.
        if config.get(parameter).is_some_and(|present| *present != value) {
            replica.raise(&pair.journal, parameter, &value).await?;
        }
    }
    Ok(())
}
