//! What a server still needs before it can be read, as statements. They follow from what the preflight found, so that
//! both always speak of the same things.

mod statements;

use crate::config::Settings;
use crate::control::Control;
use crate::preflight;
use tidewire_core::Result;
use tidewire_core::source::SetupStep;

/// The statements that are still needed, in the order to run them. With `apply` each is run, except those that a person
/// must weigh first; one that fails does not keep the others from being tried. For a login that the server does not let
/// in, all that it will need.
pub(crate) async fn run(settings: &Settings, apply: bool) -> Result<Vec<SetupStep>> {
    let mut control = match Control::open_any(settings).await {
        Ok(control) => control,
        Err(error) if error.code() == "authentication_refused" && !apply => {
            return Ok(statements::from_scratch(settings));
        }
        Err(error) => return Err(error),
    };
    let facts = preflight::read(&mut control, settings).await?;
    let mut steps = statements::needed(&facts, settings);
    for step in steps.iter_mut().filter(|step| apply && step.left.is_none()) {
        let done = control.query("run a statement", step.sql.trim_end_matches(';')).await;
        step.applied = Some(done.map(|_| ()).map_err(|error| error.to_string()));
    }
    control.close().await;
    Ok(steps)
}

/// Says what is left on the server: nothing but the login. A replica holds nothing on its server, whose log is kept by
/// time alone.
pub(crate) async fn remove(settings: &Settings) -> Result<Vec<String>> {
    Ok(vec![format!(
        "the server holds nothing for source `{}`: its log is kept by time alone, whoever reads it; when nothing else \
         uses the login, drop it with DROP USER",
        settings.name
    )])
}
