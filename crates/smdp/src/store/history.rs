use ::store::{ReadTx, SqlError, Tx, params};
use jiff::Timestamp;
use rsp::ids::Iccid;

use super::timestamp;
use crate::domain::{ProfileEvent, ProfileState, Step};

/// Notes a change of state.
pub(crate) fn note(
    tx: &Tx<'_>,
    iccid: &Iccid,
    event: ProfileEvent,
    states: (ProfileState, ProfileState),
    order_id: Option<i64>,
    actor: &str,
    at: Timestamp,
) -> Result<(), SqlError> {
    tx.execute(
        "INSERT INTO history (iccid, at, event, state_before, state_after, order_id, actor)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        params![
            iccid.to_string(),
            at.as_second(),
            event.name(),
            states.0.name(),
            states.1.name(),
            order_id,
            actor
        ],
    )?;
    Ok(())
}

/// The last changes of a profile, oldest first.
pub(crate) fn of_profile(
    tx: &ReadTx<'_>,
    iccid: &Iccid,
    count_max: u32,
) -> Result<Vec<Step>, SqlError> {
    let mut steps = tx.query_all(
        "SELECT at, event, state_before, state_after, actor
         FROM history WHERE iccid = $1 ORDER BY number DESC LIMIT $2",
        params![iccid.to_string(), count_max],
        |row| {
            Ok(Step {
                at: timestamp(row, 0)?,
                event: row.get(1)?,
                before: row.get(2)?,
                after: row.get(3)?,
                actor: row.get(4)?,
            })
        },
    )?;
    steps.reverse();
    Ok(steps)
}
