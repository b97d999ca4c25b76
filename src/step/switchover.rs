//! `switchover`: the target is the master and clients arrive there.

use super::{
    Call,
    bring_back::bring_back,
    hand_over::{beside_probe, hand_over},
    warm::follow_again,
};
use crate::{decide::stage::Stage, error::Result, server::Side};

pub use super::hand_over::{Options, Switchover};

/// Makes the target the master.
pub async fn switchover(call: &Call, options: &Options) -> Result<Switchover> {
    options.hooks.check()?;
    beside_probe(call, Side::Target, options, hand_forward(call, options)).await
}

async fn hand_forward(call: &Call, options: &Options) -> Result<Switchover> {
    let mut pair = call.begin_alone("switchover").await?;
    let look = match pair.look().await {
        Ok(look) => look,
        Err(error) => return bring_back(call, &pair, Side::Target, options, error).await,
    };
    let long_done = look.stage == Stage::Switched && pair.journal.is_settled()?;
    let warm = if long_done { Some(follow_again(&pair, options.login.as_ref()).await?) } else { None };
    let done = hand_over(call, &mut pair, &look, Side::Target, options).await?;
    Ok(Switchover { warm: warm.unwrap_or(done.warm), ..done })
}
