//! `rollback`: the source serves again. The same handover backwards, for as long as the old one is warm.

use super::{
    Call,
    bring_back::bring_back,
    hand_over::{Options, Switchover, hand_over},
};
use crate::{
    decide::stage::Stage,
    error::{Code, Error, Result},
    server::Side,
};

/// Makes the source the master again. Where it is still the master, nothing is done; where a handover stopped half-way,
/// it is taken back, also when the target has died meanwhile.
pub async fn rollback(call: &Call, options: &Options) -> Result<Switchover> {
    let mut pair = call.begin("rollback").await?;
    let look = match pair.look().await {
        Ok(look) => look,
        Err(error) => return bring_back(call, &pair, Side::Source, error).await,
    };
    if look.stage == Stage::Switched && pair.has_arrived(&look.target) && !look.source()?.replication.link_up {
        return Err(Error::new(
            Code::NotWarm,
            "does not follow the new one any more (link down): going back would lose writes",
        )
        .at(pair.source()?)
        .remedy("look at both logs"));
    }
    hand_over(call, &mut pair, &look, Side::Source, options).await
}
