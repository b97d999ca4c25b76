//! `rollback`: the source serves again. The same handover backwards, for as long as the old one is warm.

use super::{
    Call,
    bring_back::bring_back,
    hand_over::{Options, Switchover, beside_probe, hand_over},
    warm::{link, watch},
};
use crate::{
    decide::{stage::Stage, warmth::Warmth},
    error::{Code, Error, Result},
    pair::Pair,
    server::Side,
};

/// Makes the source the master again. Where it is still the master, nothing is done; where a handover stopped half-way,
/// it is taken back, also when the target has died meanwhile.
pub async fn rollback(call: &Call, options: &Options) -> Result<Switchover> {
    options.hooks.check()?;
    beside_probe(call, Side::Source, options, hand_back(call, options)).await
}

async fn hand_back(call: &Call, options: &Options) -> Result<Switchover> {
    let mut pair = call.begin_alone("rollback").await?;
    let look = match pair.look().await {
        Ok(look) => look,
        Err(error) => return bring_back(call, &pair, Side::Source, options, error).await,
    };
    if look.stage == Stage::Switched && pair.has_arrived(&look) {
        require_warm(&pair, options).await?;
    }
    hand_over(call, &mut pair, &look, Side::Source, options).await
}

/// Refuses where the source lacks anything. One that has lost its link for a while, and can still follow, follows again.
async fn require_warm(pair: &Pair, options: &Options) -> Result<()> {
    let (source, target) = (pair.source()?, pair.target()?);
    let watched = watch(pair, source, target).await?;
    let why = match watched.warmth {
        Warmth::Warm => return Ok(()),
        Warmth::Resumable if pair.run.dry => return Ok(()),
        Warmth::Resumable if link(pair, source, target, options.login.as_ref()).await? => return Ok(()),
        Warmth::Resumable => "it does not follow the new one".to_owned(),
        Warmth::Lossy(why) => why,
    };
    Err(Error::new(Code::NotWarm, format!("is not warm, so going back would lose writes: {why}"))
        .at(source)
        .remedy("look at both logs; status says since when"))
}
