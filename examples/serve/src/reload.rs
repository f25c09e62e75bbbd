//! From one model to the next, without a moment in between.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use starple::data::RawValue;
use starple::serve::{Predictor, PredictorCache};
use tokio::sync::{Mutex as Turn, watch as channel};
use tracing::{error, info, warn};

use crate::model::Model;
use crate::state::{Refused, State};
use crate::text::shown;

/// What came of a reload: the model that is in service now, or why the new one is not.
pub type Outcome = Result<Arc<Model>, String>;

/// Those who asked for a reload: one is under way, and one waits at most, whose answer all share that ask meanwhile.
#[derive(Debug, Default)]
pub struct Reloads {
    /// The answer of the reload that has not begun.
    waiting: Mutex<Option<channel::Receiver<Option<Outcome>>>>,
    under_way: Turn<()>,
}

/// Loads a model, checks that it takes the requests that are served now, scores one request in every domain, and puts it in service.
///
/// The file is read after this call began. While one reload is under way and another waits, further calls get the answer of the one
/// that waits.
///
/// # Errors
/// What is wrong with the new model; the old one stays in service. It is logged and counted too, and kept for `/health`.
pub async fn reload(state: &Arc<State>) -> Outcome {
    let mut answer = {
        let mut waiting = state.reloads.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.get_or_insert_with(|| start(state)).clone()
    };
    let answered = answer.wait_for(Option::is_some).await.map(|answer| answer.clone());
    answered.ok().flatten().unwrap_or_else(|| Err("the service ends".into()))
}

/// Starts a reload, which goes on even if its clients go.
fn start(state: &Arc<State>) -> channel::Receiver<Option<Outcome>> {
    let (answer, receiver) = channel::channel(None);
    let state = Arc::clone(state);
    tokio::spawn(async move {
        let _alone = state.reloads.under_way.lock().await;
        // Who asks from now on wants what is in the file from now on.
        state.reloads.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        answer.send_replace(Some(replace(&state).await));
    });
    receiver
}

async fn replace(state: &Arc<State>) -> Outcome {
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
            state.body_bytes.store(state.limits.body_for(&model.predictor), Ordering::Relaxed);
            if let Some(misfit) = state.limits.misfit(&model.predictor) {
                warn!("{misfit}");
            }
            state.metrics.swapped(&model);
            state.model.store(Some(Arc::clone(&model)));
            state.refused.store(None);
            info!(version = model.version, "the model is in service");
            Ok(model)
        }
        Err(error) => {
            let error = shown(&error);
            state.metrics.refused();
            state.refused.store(Some(Arc::new(Refused { error: error.clone(), at: SystemTime::now() })));
            match state.model.load_full() {
                Some(served) => error!(served = served.version, "the new model is refused, the old one stays: {error}"),
                None => error!("the model is refused, and none is in service: {error}"),
            }
            Err(error)
        }
    }
}

/// Whether every request that `served` answers is one that `new` answers, in the same form.
fn check(new: &Predictor, served: &Predictor) -> Result<(), String> {
    let (layout, old) = (new.scorer().layout(), served.scorer().layout());
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
    for domain in &predictor.scorer().layout().domains {
        let given = predictor.given().map(|column| (column, value));
        let candidate = predictor.own().map(|column| (column, value));
        let scores = predictor.score(domain, given, [candidate], &mut cache);
        scores.map_err(|error| format!("in domain {domain:?} it cannot score: {error}"))?;
    }
    Ok(())
}

/// Reloads whenever the file was written since it was last looked at; never ends.
///
/// A model should be written beside its place and renamed into it, so that no half of it is ever there.
pub fn watch(state: Arc<State>, file: PathBuf, every: Duration) -> impl Future<Output = ()> + Send {
    let stamp = move || std::fs::metadata(&file).and_then(|file| Ok((file.modified()?, file.len()))).ok();
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
