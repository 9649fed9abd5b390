//! What a dispatcher that runs is asked to do to itself.

use std::sync::Arc;

use crate::{
    Answer, Asker, Done, NotReloaded,
    operations::{Operations, Steering, Stop},
};

pub(crate) fn reload(operations: &Operations, asker: &mut dyn Asker) -> Result<Done, Stop> {
    match steering(operations)?.reload() {
        Ok(reloaded) => asker.tell(Answer::Reloaded(Box::new(reloaded)))?,
        Err(NotReloaded::Invalid(findings)) => {
            asker.tell(Answer::Invalid(findings))?;
            return Err(Stop::Failed(NotReloaded::INVALID.to_owned()));
        }
        Err(NotReloaded::Failed(why)) => return Err(Stop::Failed(why)),
    }
    Ok(Done { n: 1, ..Done::default() })
}

pub(crate) fn log_level(operations: &Operations, level: &str) -> Result<Done, Stop> {
    steering(operations)?.set_log_level(level).map_err(Stop::Failed)?;
    Ok(Done { n: 1, ..Done::default() })
}

fn steering(operations: &Operations) -> Result<&Arc<dyn Steering>, Stop> {
    let running = operations.setup.running.as_ref();
    running.map(|running| &running.steering).ok_or_else(|| {
        Stop::Failed("no dispatcher runs: the next start reads the configuration, and [log] level in it".to_owned())
    })
}
