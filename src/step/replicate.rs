//! `replicate`: the target replicates from the source, with the source's ACL users.

use std::time::Duration;

use super::{
    Call,
    login::{Login, find_login, set_login},
    preflight, route,
};
use crate::{
    decide::{findings, stage::Stage},
    error::{Code, Error, Result, State},
    facts::{finish, step_result},
    pair::Pair,
    run::Deadline,
    server::{
        Command, Server,
        acl::to_carry,
        info::{Role, Version, keyspace},
    },
};

/// The least a replica's output buffer may hold during the initial sync, in bytes. Redis's default (256 MB, or 64 MB
/// for a minute) ends a long sync under load, which then starts again, for ever.
const OUTPUT_BUFFER: u64 = 1 << 30;

/// What is wished.
#[derive(Clone)]
pub struct Options {
    /// The checks of the preflight that guard this step.
    pub preflight: preflight::Options,
    /// The login the target uses at the source; none for the source endpoint's own.
    pub login: Option<Login>,
    /// How long the sync may take to begin.
    pub wait_timeout: Duration,
}

step_result! {
    /// What `replicate` returns.
    pub struct Replicate {
        /// Whether the target replicates from the source, or has done so and serves now.
        pub replicating: bool,
        /// The ACL users carried over by this call.
        pub users_carried: Vec<String>,
    }
}

/// Makes the target a replica of the source.
pub async fn replicate(call: &Call, options: &Options) -> Result<Replicate> {
    let pair = call.begin_alone("replicate").await?;
    let before = pair.facts().await;
    let examined = preflight::examine(&pair, &options.preflight).await?;
    if let Some(refusal) = findings::refusal(&examined.findings) {
        return Err(refusal);
    }
    let (Some(Stage::Apart | Stage::Following), Ok(source), Ok(target)) =
        (examined.stage, pair.source(), pair.target())
    else {
        return Ok(finish!(
            call.run,
            before.clone(),
            before,
            Replicate { replicating: true, users_carried: Vec::new() }
        ));
    };
    if examined.stage == Some(Stage::Following) && is_linked(&pair).await? {
        // Made a replica by hand, it may lack the users.
        let users_carried = carry_users(source, target).await?;
        let after = pair.facts().await;
        return Ok(finish!(call.run, before, after, Replicate { replicating: true, users_carried }));
    }
    let ports = crate::pair::see(source).await?.ports;
    let route = route(source, ports)?;
    let login = find_login(&pair, target, source, ports, options.login.as_ref()).await?;
    set_login(&pair, target, login.as_ref(), route.tls).await?;
    let users_carried = carry_users(source, target).await?;
    widen_output_buffer(&pair, source).await?;
    // An empty target can load what it receives as it comes, instead of writing it to a file first (6.0).
    let empty = keyspace(&target.info("keyspace").await?).is_empty();
    if empty && target.config(&["repl-diskless-load"]).await?.get("repl-diskless-load").is_some_and(|v| v == "disabled")
    {
        target.raise(&pair.journal, "repl-diskless-load", "on-empty-db").await?;
    }
    // The first sync would wait 5 seconds for other replicas that never come.
    source.raise(&pair.journal, "repl-diskless-sync-delay", "0").await?;
    // One that follows without a link was restarted with a login that does not let it in, such as a fuse. With the right
    // one it links by itself.
    let begun = match examined.stage {
        Some(Stage::Following) => Ok(()),
        _ => target.change(&Command::replicaof(&route.host, route.port)).await,
    };
    if call.run.dry {
        return Ok(finish!(call.run, before.clone(), before, Replicate { replicating: false, users_carried }));
    }
    let begun = match begun {
        Ok(()) => wait_begun(&pair, options.wait_timeout).await,
        failed => failed,
    };
    source.restore(&pair.journal, Some(&["repl-diskless-sync-delay"])).await?;
    if let Err(error) = begun {
        // Without a target nothing is to stay raised for it.
        if error.code != Code::SyncTimedOut {
            source.restore(&pair.journal, Some(&["client-output-buffer-limit"])).await?;
        }
        return Err(error);
    }
    super::confirm_role(target, Role::Replica).await?;
    let after = pair.facts().await;
    Ok(finish!(call.run, before, after, Replicate { replicating: true, users_carried }))
}

/// Carries the source's ACL users over, with hashed passwords. Users that only the target has stay.
async fn carry_users(source: &Server, target: &Server) -> Result<Vec<String>> {
    let (theirs, ours) = match (source.users().await, target.users().await) {
        (Ok(theirs), Ok(ours)) => (theirs, ours),
        (Err(error), _) | (_, Err(error)) if error.code == Code::PermissionDenied => {
            source.run.warn(format!("ACL users were not compared: {error}"));
            return Ok(Vec::new());
        }
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    let users = to_carry(&theirs, &ours, source.identity.has_redis(Version(6, 2, 0)));
    for (name, rules) in &users {
        target.set_user(name, rules).await?;
    }
    if !users.is_empty() && target.config(&["aclfile"]).await?.get("aclfile").is_some_and(|file| !file.is_empty()) {
        target.change(&Command::new(["ACL", "SAVE"])).await?;
    }
    Ok(users.into_keys().collect())
}

async fn widen_output_buffer(pair: &Pair, source: &Server) -> Result<()> {
    let limits = source.config(&["client-output-buffer-limit"]).await?;
    let words: Vec<&str> = limits.get("client-output-buffer-limit").map(|l| l.split(' ').collect()).unwrap_or_default();
    let hard =
        words.chunks_exact(4).find(|class| ["slave", "replica"].contains(&class[0])).and_then(|c| c[1].parse().ok());
    // 0 is no limit.
    if hard.is_some_and(|hard: u64| hard != 0 && hard < OUTPUT_BUFFER) {
        source.raise(&pair.journal, "client-output-buffer-limit", &format!("replica {OUTPUT_BUFFER} 0 0")).await?;
    }
    Ok(())
}

/// Whether the target is linked to the source, or receives the initial sync.
async fn is_linked(pair: &Pair) -> Result<bool> {
    let (at_source, at_target) = tokio::join!(pair.source()?.replication(), pair.target()?.replication());
    let (at_source, at_target) = (at_source?, at_target?);
    // A target that is not let in counts itself as syncing for a moment; then the source knows no replica.
    Ok(at_target.link_up || at_target.syncing && !at_source.replicas.is_empty())
}

/// Waits until the initial sync has begun, so that what was raised for its beginning can be restored.
async fn wait_begun(pair: &Pair, timeout: Duration) -> Result<()> {
    let deadline = Deadline::after(timeout);
    loop {
        if is_linked(pair).await? {
            return Ok(());
        }
        if deadline.passed() {
            let found = format!("the sync from the source has not begun within {} seconds", timeout.as_secs_f64());
            let remedy = "look at its log: it can't reach the source, is not let in, or waits for a running save; it keeps trying";
            return Err(Error::new(Code::SyncTimedOut, found)
                .at(pair.target()?)
                .remedy(remedy)
                .state(State::Interrupted));
        }
        pair.run.sleep(Duration::from_millis(10)).await?;
    }
}
