//! What became of deliveries, counted: by result, never by sender, event or order.
//!
//! What must stay true: each delivery counts once, as what its sender was told, for it is read off the answer itself.

use std::fmt::{self, Write};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use serde::Deserialize;

use super::model::State;
use crate::http::answer::Answer;
use crate::http::problem::{Code, Problem};

/// What became of one delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Became {
    /// It cancelled something, or found nothing left to cancel, or waits for its order.
    Done(State),
    /// It had come before.
    Duplicate,
    /// It tells of something else.
    Ignored,
    /// It is not signed by whoever knows a secret.
    BadSignature,
    /// It was signed too long ago.
    StaleWebhook,
    /// It is signed, and can't be read.
    Malformed,
    /// Its id was another event's.
    IdReused,
    /// There is no such order.
    OrderNotFound,
    /// It could not be carried out now: the item was busy, or something was away.
    Failed,
}

impl Became {
    const ALL: [Self; 12] = [
        Self::Done(State::Cancelled),
        Self::Done(State::AlreadyCancelled),
        Self::Done(State::WaitingForOrder),
        Self::Done(State::Refused),
        Self::Duplicate,
        Self::Ignored,
        Self::BadSignature,
        Self::StaleWebhook,
        Self::Malformed,
        Self::IdReused,
        Self::OrderNotFound,
        Self::Failed,
    ];

    /// As its sender was told. `None` where nobody could have signed it, for no secret is set.
    fn told(outcome: &Result<Answer, Problem>) -> Option<Self> {
        let problem = match outcome {
            Ok(answer) => return Some(Self::answered(answer)),
            Err(problem) => problem,
        };
        Some(match problem.code {
            Code::NotFound => return None,
            Code::BadSignature => Self::BadSignature,
            Code::StaleWebhook => Self::StaleWebhook,
            Code::WebhookIdReused => Self::IdReused,
            Code::OrderNotFound => Self::OrderNotFound,
            Code::MalformedJson
            | Code::ValidationFailed
            | Code::BodyTooLarge
            | Code::UnsupportedMediaType => Self::Malformed,
            _ => Self::Failed,
        })
    }

    fn answered(answer: &Answer) -> Self {
        #[derive(Deserialize)]
        struct Told {
            result: String,
            #[serde(default)]
            duplicate: bool,
        }
        if !answer.status().is_success() {
            return Self::Done(State::Refused);
        }
        match serde_json::from_slice::<Told>(answer.body()) {
            Ok(Told { duplicate: true, .. }) => Self::Duplicate,
            Ok(told) => State::named(&told.result).map_or(Self::Ignored, Self::Done),
            Err(_) => Self::Failed,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Done(state) => state.as_str(),
            Self::Duplicate => "duplicate",
            Self::Ignored => "ignored",
            Self::BadSignature => "bad_signature",
            Self::StaleWebhook => "stale_webhook",
            Self::Malformed => "malformed",
            Self::IdReused => "id_reused",
            Self::OrderNotFound => "order_not_found",
            Self::Failed => "failed",
        }
    }
}

impl EncodeLabelValue for Became {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    result: Became,
}

/// The webhooks' metrics. Clones are the same metrics.
#[derive(Debug, Clone)]
pub struct WebhookMetrics {
    deliveries: Family<ByResult, Counter>,
}

impl Default for WebhookMetrics {
    /// Whatever can be counted is told from the start.
    fn default() -> Self {
        let deliveries = Family::<ByResult, Counter>::default();
        Became::ALL.into_iter().for_each(|result| drop(deliveries.get_or_create(&ByResult { result })));
        Self { deliveries }
    }
}

impl WebhookMetrics {
    /// Counts a delivery by what it is answered with.
    pub fn count(&self, outcome: &Result<Answer, Problem>) {
        if let Some(result) = Became::told(outcome) {
            self.deliveries.get_or_create(&ByResult { result }).inc();
        }
    }

    /// Adds them to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        let webhooks = registry.sub_registry_with_prefix("webhook");
        webhooks.register("deliveries", "Deliveries, by what became of them", self.deliveries.clone());
    }
}
