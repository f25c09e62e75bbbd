//! What clients may ask for and how long they may take, and whether these limits fit each other.

use std::time::Duration;

use starple::serve::Predictor;

/// What one client, and all together, may ask for. Every limit has a flag of the same name.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a body; beyond, 413. Default: what `candidates` candidates of the model in service take, at least 1 MiB.
    pub body_bytes: Option<usize>,
    /// Bytes of all bodies that are being read or scored; beyond, 429. Default 64 MiB.
    pub all_body_bytes: usize,
    /// Candidates of a request; beyond, 422. Default 1000.
    pub candidates: usize,
    /// Requests that are scored or wait for it; beyond, 429. Default 64.
    pub concurrent: usize,
    /// Connections of one listener. Beyond, the connection that has waited longest without a request makes room. Default: as many as the
    /// process may open files, less 64, at most 1000.
    pub connections: usize,
    /// From the end of a request's header to its answer, its body included; beyond, 408 while the body is read, then 503. Default 1 s.
    pub timeout: Duration,
    /// From the first byte of a header to its last, and from the opening of a connection to its first header; beyond, the connection is
    /// closed. Default 5 s.
    pub header: Duration,
    /// Without a byte between two requests; beyond, the connection is closed. Default 75 s.
    pub idle: Duration,
    /// From the signal to stop to the end of requests under way; beyond, they are cut. Default 10 s.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: None,
            all_body_bytes: 64 << 20,
            candidates: 1000,
            concurrent: 64,
            connections: open_files().map_or(1000, |files| files.saturating_sub(SPARE_FILES).clamp(1, 1000)),
            timeout: Duration::from_secs(1),
            header: Duration::from_secs(5),
            idle: Duration::from_secs(75),
            drain: Duration::from_secs(10),
        }
    }
}

/// Files for the other listener, model files, logs and the runtime.
pub const SPARE_FILES: usize = 64;

/// Bytes of a body that are taken whatever the model reads.
const LEAST_BODY: usize = 1 << 20;

/// What a value is supposed to take in JSON, with what surrounds it and its name: `"name": "a value of text", `.
const VALUE_BYTES: usize = 32;

impl Limits {
    /// Checks that every limit leaves something to do, and that they fit each other and the system.
    ///
    /// # Errors
    /// A text that names every pair that does not fit, by their flags.
    pub fn check(&self) -> Result<(), String> {
        let mut wrong = Vec::new();
        let mut require = |holds: bool, text: &dyn Fn() -> String| {
            if !holds {
                wrong.push(text());
            }
        };
        let ms = |time: Duration| time.as_millis();
        let seconds = |time: Duration| time.as_secs_f64();
        for (flag, found) in [
            ("--max-candidates", self.candidates),
            ("--max-concurrent", self.concurrent),
            ("--max-connections", self.connections),
            ("--max-bytes", self.body_bytes.unwrap_or(1)),
            ("--timeout-ms", ms(self.timeout) as usize),
            ("--header-ms", ms(self.header) as usize),
        ] {
            require(found > 0, &|| format!("{flag} 0: at least 1"));
        }
        let body = self.body_bytes.unwrap_or(LEAST_BODY);
        require(body <= self.all_body_bytes, &|| {
            format!(
                "--max-bytes {body} is more than all bodies may have together, --max-all-bytes {}",
                self.all_body_bytes
            )
        });
        require(self.concurrent <= self.connections, &|| {
            format!(
                "--max-concurrent {} is never reached with --max-connections {}, as a connection has one request at a time",
                self.concurrent, self.connections
            )
        });
        require(self.header <= self.idle, &|| {
            format!("--header-ms {} is longer than --idle-seconds {}", ms(self.header), seconds(self.idle))
        });
        require(self.timeout <= self.drain, &|| {
            format!(
                "--drain-seconds {} is shorter than --timeout-ms {}: requests that are in time would be cut",
                seconds(self.drain),
                ms(self.timeout)
            )
        });
        if let Some(files) = open_files() {
            let most = files.saturating_sub(SPARE_FILES);
            require(self.connections <= most, &|| {
                format!(
                    "--max-connections {} does not fit the {files} files that the process may open (ulimit -n), less {SPARE_FILES} \
                     for itself: at most {most}",
                    self.connections
                )
            });
        }
        if wrong.is_empty() { Ok(()) } else { Err(format!("limits that do not fit: {}", wrong.join("; "))) }
    }

    /// The most bytes of a body for this model.
    pub fn body_for(&self, model: &Predictor) -> usize {
        self.body_bytes.unwrap_or_else(|| self.needed(model).max(LEAST_BODY).min(self.all_body_bytes))
    }

    /// What is said when a model is loaded whose requests of the most candidates would be larger than a body may be.
    pub fn misfit(&self, model: &Predictor) -> Option<String> {
        let (needed, most) = (self.needed(model), self.body_for(model));
        (needed > most).then(|| {
            format!(
                "--max-candidates {} of this model's columns take about {needed} bytes, and a body may have {most}: raise --max-bytes \
                 and --max-all-bytes, or lower --max-candidates",
                self.candidates
            )
        })
    }

    /// About what a request of the most candidates takes.
    fn needed(&self, model: &Predictor) -> usize {
        let columns = |names: &mut dyn Iterator<Item = &str>| names.map(|name| name.len() + VALUE_BYTES).sum::<usize>();
        let candidate = columns(&mut model.own()).saturating_mul(self.candidates);
        candidate.saturating_add(columns(&mut model.given())).saturating_add(1024)
    }
}

/// How many files this process may have open; `None` if nothing bounds it or nothing is known.
pub fn open_files() -> Option<usize> {
    #[cfg(unix)]
    {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        limit.current.map(|files| usize::try_from(files).unwrap_or(usize::MAX))
    }
    #[cfg(not(unix))]
    None
}
