//! From one model to the next, without a moment in between.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use starple::data::RawValue;
use starple::serve::{Predictor, PredictorCache};

use crate::model::Model;
use crate::state::State;

/// Loads a model, checks that it takes the requests that are served now, scores one request in every domain, and puts it in service.
///
/// # Errors
/// What is wrong with the new model; the old one stays in service. It is logged and counted too.
pub async fn reload(state: &Arc<State>) -> Result<Arc<Model>, String> {
    let _alone = state.reloading.lock().await;
    let loader = Arc::clone(&state.loader);
    let served = state.model.load_full();
    let prepared = tokio::task::spawn_blocking(move || {
        let model = loader().map_err(|error| error.to_string())?;
        if let Some(served) = served {
            check(&model.predictor, &served.predictor)?;
        }
        warm_up(&model.predictor)?;
        Ok::<_, String>(Arc::new(model))
    });
    // A loader that panics is one more bad model.
    match prepared.await.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(model) => {
            state.model.store(Some(Arc::clone(&model)));
            state.metrics.swapped(&model);
            eprintln!("model {} is in service", model.version);
            Ok(model)
        }
        Err(error) => {
            state.metrics.refused();
            eprintln!("the new model is refused: {error}");
            Err(error)
        }
    }
}

/// Whether every request that `served` answers is one that `new` answers, in the same form.
fn check(new: &Predictor, served: &Predictor) -> Result<(), String> {
    let (layout, old) = (new.frozen().layout(), served.frozen().layout());
    if new.encoder().schema() != served.encoder().schema() || !new.given().eq(served.given()) {
        return Err("it reads other columns than the model in service".into());
    }
    match old.domains.iter().find(|domain| !layout.domains.contains(domain)) {
        Some(domain) => Err(format!("it does not know domain {domain:?}, which is in service")),
        None => Ok(()),
    }
}

/// Scores a request in every domain, so that the first client does not wait for memory, and no model that cannot score gets that far.
fn warm_up(predictor: &Predictor) -> Result<(), String> {
    // A value that columns of any kind take.
    let value = RawValue::Text("0");
    let mut cache = PredictorCache::default();
    for domain in &predictor.frozen().layout().domains {
        let given = predictor.given().map(|column| (column, value));
        let candidate = predictor.own().map(|column| (column, value));
        let scores = predictor.score(domain, given, [candidate], &mut cache).map_err(|error| error.to_string())?;
        if !scores.iter().all(|p| (0.0..=1.0).contains(p)) {
            return Err(format!("in domain {domain:?} it gives {scores}, which are no probabilities"));
        }
    }
    Ok(())
}

/// Reloads whenever the file was written since it was last looked at; never ends.
///
/// A model should be written beside its place and renamed into it, so that no half of it is ever there.
pub fn watch(state: Arc<State>, file: PathBuf, every: Duration) -> impl Future<Output = ()> + Send {
    let stamp = move || std::fs::metadata(&file).and_then(|file| file.modified()).ok();
    // Before anything is awaited: what is written from now on is seen.
    let mut seen = stamp();
    async move {
        loop {
            tokio::time::sleep(every).await;
            let now = stamp();
            if now.is_some() && now != seen {
                seen = now;
                // Refusals are logged there; the next file may be better.
                let _ = reload(&state).await;
            }
        }
    }
}
