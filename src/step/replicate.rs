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
    facts::{Facts, finish, step_result},
    journal::Record,
    pair::{Pair, log_in, see},
    redirect::Redirect,
    run::Deadline,
    server::{
        Command, Server, Side,
        acl::{Users, to_carry},
        config::PRIORITY,
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
        /// Those of them that the target had with other rules.
        pub users_overwritten: Vec<String>,
        /// ACL users that only the target has. They stay.
        pub users_only_on_target: Vec<String>,
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
        return Ok(finish(call, true, Differences::default(), before.clone(), before));
    };
    let users = compare_users(source, target).await?;
    if examined.stage == Some(Stage::Following) && is_linked(&pair).await? {
        // Made a replica by hand, it may lack the users; and whoever began this may have died or been interrupted.
        let pair = carry_users(call, pair, &users).await?;
        if pair.target()?.replication().await?.syncing {
            widen_output_buffer(&pair, pair.source()?).await?;
        }
        let after = pair.facts().await;
        return Ok(finish(call, true, users, before, after));
    }
    let ports = see(source).await?.ports;
    let route = route(source, ports)?;
    let login = find_login(&pair, target, source, ports, options.login.as_ref()).await?;
    set_login(&pair, target, login.as_ref(), route.tls).await?;
    let pair = carry_users(call, pair, &users).await?;
    let (source, target) = (pair.source()?, pair.target()?);
    prove_way_back(call, &pair, options.login.as_ref()).await?;
    // One that follows without a link was restarted with a login that does not let it in, such as a fuse. With the right
    // one it links by itself.
    let follow = match examined.stage {
        Some(Stage::Following) => None,
        _ => Some(Command::replicaof(&route.host, route.port)),
    };
    let begun = begin(&pair, source, target, options, follow).await;
    if call.run.dry {
        begun?;
        return Ok(finish(call, false, users, before.clone(), before));
    }
    let (follows, begun) = match begun {
        Ok(()) => (true, wait_begun(&pair, options.wait_timeout).await),
        Err(error) => (error.state == State::Interrupted, Err(error)),
    };
    // Also where it was the wish to stop that ended it.
    let _shield = call.run.shield();
    source.restore(&pair.journal, Some(&["repl-diskless-sync-delay"])).await?;
    if let Err(error) = begun {
        if !follows
            && let Err(unrestored) = target.restore(&pair.journal, Some(&["repl-diskless-load", PRIORITY])).await
        {
            call.run.warn(format!("what was raised for the sync could not be restored: {unrestored}"));
        }
        // Without a target nothing is to stay raised for it. One that goes on trying has its use of it.
        if !follows || ![Code::SyncTimedOut, Code::Cancelled].contains(&error.code) {
            source.restore(&pair.journal, Some(&["client-output-buffer-limit"])).await?;
        }
        return Err(error);
    }
    super::confirm_role(target, Role::Replica).await?;
    let after = pair.facts().await;
    Ok(finish(call, true, users, before, after))
}

/// Raises what the sync needs, and makes the target a replica with `follow`.
async fn begin(
    pair: &Pair,
    source: &Server,
    target: &Server,
    options: &Options,
    follow: Option<Command>,
) -> Result<()> {
    widen_output_buffer(pair, source).await?;
    // An empty target can load what it receives as it comes, instead of writing it to a file first (6.0).
    let empty = keyspace(&target.info("keyspace").await?).is_empty();
    if empty && target.config(&["repl-diskless-load"]).await?.get("repl-diskless-load").is_some_and(|v| v == "disabled")
    {
        target.raise(&pair.journal, "repl-diskless-load", "on-empty-db").await?;
    }
    // Sentinel is not to promote it half-synced, nor by itself later: the source could not follow it without being wiped.
    if matches!(options.preflight.redirect, Redirect::Sentinel(_)) {
        target.raise(&pair.journal, PRIORITY, "0").await?;
    }
    // The first sync would wait 5 seconds for other replicas that never come.
    source.raise(&pair.journal, "repl-diskless-sync-delay", "0").await?;
    match follow {
        Some(follow) => target.change(&follow).await,
        None => Ok(()),
    }
}

fn finish(call: &Call, replicating: bool, users: Differences, before: Facts, after: Facts) -> Replicate {
    let Differences { carry, overwritten: users_overwritten, only_on_target: users_only_on_target } = users;
    let users_carried = carry.into_keys().collect();
    finish!(call.run, before, after, Replicate { replicating, users_carried, users_overwritten, users_only_on_target })
}

/// How the users of the two differ.
#[derive(Default)]
struct Differences {
    /// To be carried.
    carry: Users,
    /// Those of them that the target has otherwise.
    overwritten: Vec<String>,
    only_on_target: Vec<String>,
}

/// Compares the ACL users, and refuses those that the target could not have: none of them is carried then.
async fn compare_users(source: &Server, target: &Server) -> Result<Differences> {
    let (theirs, ours) = match (source.users().await, target.users().await) {
        (Ok(theirs), Ok(ours)) => (theirs, ours),
        (Err(error), _) | (_, Err(error)) if error.code == Code::PermissionDenied => {
            source.run.warn(format!("ACL users were not compared: {error}"));
            return Ok(Differences::default());
        }
        (Err(error), _) | (_, Err(error)) => return Err(error),
    };
    let channels = |server: &Server| server.identity.has_redis(Version(6, 2, 0));
    let carry = to_carry(&theirs, &ours, !channels(source) && channels(target));
    if !carry.is_empty()
        && !target.run.dry
        && let Some(refused) = target.refused_rule(&carry).await?
    {
        return Err(refused.error(&target.to_string()));
    }
    Ok(Differences {
        overwritten: carry.keys().filter(|name| ours.contains_key(*name)).cloned().collect(),
        only_on_target: ours.keys().filter(|name| !theirs.contains_key(*name)).cloned().collect(),
        carry,
    })
}

/// Carries ACL users over, with hashed passwords. Users that only the target has stay. Returns the pair with which to go on:
/// a user who is carried may have other rights from then on, or none.
async fn carry_users(call: &Call, pair: Pair, users: &Differences) -> Result<Pair> {
    let target = pair.target()?;
    let run_id = target.identity.run_id.clone();
    if users.carry.is_empty() && !pair.journal.carries_users(&run_id)? {
        return Ok(pair);
    }
    let has_file = target.config(&["aclfile"]).await?.get("aclfile").is_some_and(|file| !file.is_empty());
    if !call.run.dry {
        pair.journal.append(&Record::CarryingUsers { run_id: run_id.clone() })?;
    }
    let ourselves = target.endpoint.user.as_deref().unwrap_or("default");
    let (own, others): (Vec<_>, Vec<_>) = users.carry.iter().partition(|(name, _)| *name == ourselves);
    for (name, rules) in others.into_iter().chain(own) {
        target.set_user(name, rules).await?;
    }
    let pair = match call.run.dry {
        true => pair,
        false => call.find_alone().await?,
    };
    if has_file {
        pair.target()?.change(&Command::new(["ACL", "SAVE"])).await?;
    }
    if !call.run.dry {
        pair.journal.append(&Record::CarriedUsers { run_id })?;
    }
    Ok(pair)
}

/// Logs in to the target as the warm source will, while nothing depends on it yet. The users have just been carried, so the
/// connection that is open would tell nothing.
async fn prove_way_back(call: &Call, pair: &Pair, given: Option<&Login>) -> Result<()> {
    let source = pair.source()?;
    if call.run.dry || !source.identity.has_redis(findings::REVERSIBLE_FROM) {
        return Ok(());
    }
    let target = log_in(&call.run, Side::Target, &call.target, Some(&call.source)).await?;
    let ports = see(&target).await?.ports;
    find_login(pair, source, &target, ports, given).await.map(drop)
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
