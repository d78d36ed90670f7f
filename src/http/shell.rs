//! What every request goes through: an id, a task of its own, a log line, and problems written out.
//!
//! What must stay true: once it has [begun](super::turnstile), a request runs to its end in a task counted by
//! [`App::tasks`], whatever its client does. A hung-up client drops the future that waits for the task, never the task; it only cancels
//! [`RequestContext::gone`], which a wait for a lock listens to. Nor does a caller wait for ever: past
//! [`App::answer_max`] it is told that the outcome is unknown, and the task goes on. It goes on for as long as a
//! transaction may take: what is still not over then waits for a Postgres that has fallen silent, and is given up.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::metrics::{InTrace, UnderWay};
use super::preference::{PREFERENCE_APPLIED, Patience};
use super::problem::{Code, Problem};
use crate::app::App;
use crate::db::{DbError, give_up_after};
use crate::ids;
use crate::telemetry::trace::{self, Span, TRACERESPONSE, Trace};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_MAX: usize = 128;

/// What the paths end with that read whole tables or hold a lock for as long as they are told to, and the time they
/// have.
const UNHURRIED: [&str; 2] = ["/inventory/audit", "/test/inventory/test-concurrent-access"];
/// What the paths of those begin with who only look at the service: they are none of its work.
const ONLOOKERS: [&str; 6] =
    ["/api/v1/status", "/api/v1/locks/status", "/api/v1/whoami", "/metrics", "/health/", "/console/"];
const UNHURRIED_MAX: Duration = Duration::from_secs(600);

/// What is known of a request before anyone knows who makes it.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// The id given by the caller, or a new one.
    pub request_id: Arc<str>,
    /// Cancelled when the caller hangs up.
    pub gone: CancellationToken,
    /// How long the caller is ready to wait.
    pub patience: Patience,
    /// Its place in a trace.
    pub trace: Trace,
}

impl Default for RequestContext {
    fn default() -> Self {
        Self {
            request_id: ids::fresh().to_string().into(),
            gone: CancellationToken::new(),
            patience: Patience::default(),
            trace: Trace::default(),
        }
    }
}

/// The outermost layer.
pub async fn run_to_completion(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let (patience, came) = (Patience::of(request.headers()), Instant::now());
    // Whoever hangs up here has begun nothing.
    let turn = app.turnstile.pass().await;
    let mut context = RequestContext { patience: patience.clone(), ..RequestContext::default() };
    if let Some(given) = request.headers().get(REQUEST_ID).and_then(usable_id) {
        context.request_id = given.into();
    }
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut under_way = app.http.begin(request.method(), route, came);
    let told =
        app.tracer.request(request.headers(), || format!("{} {}", under_way.method(), under_way.route()));
    context.trace = told.trace();
    let trace_id = context.trace.id();
    let traceresponse = trace::header_of(&context.trace);
    request.extensions_mut().insert(context.clone());
    // Dropped with this future, that is when the client is gone or has its answer.
    let _hung_up = context.gone.drop_guard();
    let request_id = context.request_id;
    let span = tracing::info_span!("request", id = %request_id, trace = trace_id.as_deref());
    under_way.trace = trace_id.map(|trace_id| InTrace { trace_id });
    let limit = limit(&app, &request);
    let answer = answer(app.clone(), request, next, request_id.clone(), (under_way, told));
    let task = app.tasks.spawn(turn.begin(answer).instrument(span));
    let mut response = match tokio::time::timeout(limit, task).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => {
            tracing::error!(request.id = %request_id, %panic, "a request panicked");
            Problem::new(Code::Internal, "The request was not carried out.").respond(&request_id)
        }
        // The task goes on: only the answer is late.
        Err(_) => {
            tracing::error!(request.id = %request_id, limit_s = limit.as_secs(), "a request had no answer in time");
            Problem::from(&DbError::Unavailable(sqlx::Error::PoolTimedOut)).respond(&request_id)
        }
    };
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    if let Some(traceresponse) = traceresponse {
        response.headers_mut().insert(TRACERESPONSE, traceresponse);
    }
    if let Some(applied) = patience.applied(app.locks.longest_wait()) {
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    response
}

/// How long whoever asks for this waits for an answer.
fn limit(app: &App, request: &Request) -> Duration {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    if UNHURRIED.iter().any(|end| path.ends_with(end)) { UNHURRIED_MAX } else { app.answer_max }
}

fn usable_id(value: &HeaderValue) -> Option<&str> {
    let id = value.to_str().ok()?;
    let usable = (1..=REQUEST_ID_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    usable.then_some(id)
}

/// Runs the request, writes its problem out if it had one, and logs it once.
async fn answer(
    app: Arc<App>,
    request: Request,
    next: Next,
    request_id: Arc<str>,
    (mut under_way, mut told): (UnderWay, Span),
) -> Response {
    let method = request.method().clone();
    told.note("http.request.method", under_way.method());
    told.note("http.route", under_way.route());
    told.note("holdfast.request_id", &*request_id);
    let limit = limit(&app, &request) + app.db.transaction_max;
    let run = give_up_after(limit, told.trace().within(next.run(request))).await;
    let response = run.unwrap_or_else(|silent| Problem::from(&silent).into_response());
    let (status, problem) = (response.status(), response.extensions().get::<Problem>().cloned());
    under_way.status = Some(status);
    told.note("http.response.status_code", i32::from(status.as_u16()));
    if status.is_server_error() {
        told.failed();
    }
    let (route, started) = (under_way.route(), under_way.started);
    if !ONLOOKERS.iter().any(|begin| route.starts_with(begin)) {
        app.pulse.answered(&method, status, started.elapsed());
    }
    log(&app, status, problem.as_ref(), method.as_str(), route, started);
    problem.map_or(response, |problem| problem.respond(&request_id))
}

/// Tells of an operation in its request's trace, by the id it has in the table of calls: whatever it does is part of that.
pub async fn tell_operation(State(id): State<&'static str>, mut request: Request, next: Next) -> Response {
    let mut told = Span::default();
    if let Some(context) = request.extensions_mut().get_mut::<RequestContext>() {
        told = context.trace.span(id);
        context.trace = told.trace();
    }
    let response = next.run(request).await;
    // Whoever waited in vain for a lock was not served either.
    if response.status().is_server_error() || response.status() == StatusCode::TOO_MANY_REQUESTS {
        told.failed();
    }
    response
}

fn log(
    app: &App,
    status: StatusCode,
    problem: Option<&Problem>,
    method: &str,
    route: &str,
    started: Instant,
) {
    let (status, duration_ms) = (status.as_u16(), started.elapsed().as_secs_f64() * 1_000.0);
    let code = problem.map(|problem| problem.code.as_str());
    let cause = problem.and_then(|problem| problem.cause.as_deref());
    let is_overload = problem.is_some_and(|problem| problem.code == Code::Overloaded);
    if is_overload && let Some(requests) = app.turned_away.tell() {
        tracing::warn!(
            http.requests = requests,
            http.route = route,
            cause,
            "turned away since this was told last"
        );
    }
    if status >= 500 && !is_overload {
        tracing::error!(
            http.method = method,
            http.route = route,
            http.status = status,
            duration_ms,
            code,
            cause,
            "failed"
        );
    } else {
        tracing::debug!(
            http.method = method,
            http.route = route,
            http.status = status,
            duration_ms,
            code,
            cause,
            "answered"
        );
    }
}

/// For paths that lead nowhere.
pub async fn not_found() -> Response {
    Problem::new(Code::NotFound, "Nothing is served at this path.").into_response()
}

/// For methods a path does not take.
pub async fn method_not_allowed() -> Response {
    Problem::new(Code::MethodNotAllowed, "This path is served, but not by that method.").into_response()
}
