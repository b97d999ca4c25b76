//! `switchover`: the target is the master and clients arrive there.

use super::{Call, bring_back::bring_back, hand_over::hand_over};
use crate::{error::Result, server::Side};

pub use super::hand_over::{Options, Switchover};

/// Makes the target the master.
pub async fn switchover(call: &Call, options: &Options) -> Result<Switchover> {
    let mut pair = call.begin_alone("switchover").await?;
    let look = match pair.look().await {
        Ok(look) => look,
        Err(error) => return bring_back(call, &pair, Side::Target, error).await,
    };
    hand_over(call, &mut pair, &look, Side::Target, options).await
}
