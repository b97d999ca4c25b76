//! Waits for a good moment: [`crate::decide::moment`] says what that is.

use std::time::{Duration, Instant};

use crate::{
    decide::moment::{Glimpse, Obstacle, Wanted, obstacle},
    error::{Code, Error, Result, State},
    run::{Deadline, Run, Waiting},
    server::{
        Command, Server,
        info::{Info, Replication},
        text,
    },
};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);

/// Waits until nothing speaks against a pause.
pub(super) async fn good_moment(
    run: &Run,
    demoted: &Server,
    promoted: &Server,
    wanted: Wanted,
    patience: Duration,
) -> Result<()> {
    let deadline = Deadline::after(patience);
    let mut goal = None;
    let mut waiting = Waiting::default();
    loop {
        let began = Instant::now();
        let (ahead, behind) =
            tokio::join!(async { glimpse(demoted).await.map(|info| (info, began.elapsed())) }, glimpse(promoted));
        let ((ahead, latency), behind) = (ahead?, behind?);
        if let (None, Some(info)) = (goal, &ahead) {
            goal = Some(Replication::from(info).offset);
        }
        let seen = Glimpse { latency, ahead, behind };
        let Some(found) = obstacle(&seen, goal.unwrap_or_default(), wanted) else { return Ok(()) };
        if deadline.passed() {
            return Err(refusal(found, promoted, patience));
        }
        waiting.tell(run, "a good moment", || found.to_string());
        run.sleep(LOOK).await?;
    }
}

/// What a server says of itself; none while a script keeps it busy.
async fn glimpse(server: &Server) -> Result<Option<Info>> {
    let commands = [Command::info("replication"), Command::info("persistence")];
    let mut all = String::new();
    for (command, reply) in commands.iter().zip(server.pipeline(&commands).await?) {
        match reply {
            Ok(reply) => all.push_str(&text(&reply)?),
            Err(said) if said.word == "BUSY" => return Ok(None),
            Err(said) => return Err(server.refused(command, &said)),
        }
        all.push('\n');
    }
    Ok(Some(Info::parse(&all)))
}

fn refusal(found: Obstacle, promoted: &Server, patience: Duration) -> Error {
    let waited = format!("{found}, and it was no better for {} seconds", patience.as_secs_f64());
    let (code, remedy) = match found {
        _ if found.is_lag() => {
            (Code::LagTooHigh, "try at a quieter time, or allow more patience or a larger max_lag_bytes")
        }
        Obstacle::Slow(_) => (Code::NoGoodMoment, "try at a quieter time, or allow a longer max_latency"),
        Obstacle::SourceBusy | Obstacle::TargetBusy => {
            (Code::NoGoodMoment, "wait for it, or end it with SCRIPT KILL or FUNCTION KILL")
        }
        _ => (Code::NoGoodMoment, "wait until it has finished, or allow more patience"),
    };
    Error::new(code, waited).at(promoted).remedy(remedy).state(State::Undone)
}
