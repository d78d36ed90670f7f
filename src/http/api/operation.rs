//! One call: its route, and what is told of it.

use std::sync::Arc;

use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{self, MethodRouter};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::Value;

use super::takes::{Arguments, SchemaOf, Takes};
use crate::app::App;
use crate::http::auth::Scope;
use crate::http::problem::Code;

/// Whom a call lets in.
#[derive(Debug, Clone, Copy)]
enum Access {
    /// Those of its group.
    AsItsGroup,
    /// Holders of a key with one of these scopes, and operators.
    Scopes(&'static [Scope]),
    /// Anybody, or whoever signs.
    Open,
}

/// What becomes of an `Idempotency-Key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// There must be one.
    Required,
    /// It is heeded.
    Honoured,
    /// It changes nothing.
    Ignored,
}

/// A way to answer that is no error.
#[derive(Debug, Clone)]
pub struct Success {
    /// Its status.
    pub status: u16,
    /// What it means.
    pub about: &'static str,
    /// Its media type and shape; nothing for an empty one.
    pub content: Option<(&'static str, SchemaOf)>,
}

/// One call.
#[derive(Debug, Clone)]
pub struct Operation {
    /// What it is called: its domain and its verb.
    pub id: &'static str,
    /// Its method.
    pub method: Method,
    /// Its path, under its group's root.
    pub path: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// What else is to be known.
    pub about: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// What becomes of an idempotency key.
    pub key: Key,
    /// Whether it waits for locks as long as `Prefer: wait` allows.
    pub is_patient: bool,
    /// Whether it tells of the lock it was done under, in the headers.
    pub is_guarded: bool,
    /// Whether it only shows what goes on, and does so whatever is away.
    pub looks_on: bool,
    /// Other headers that it looks at: name, meaning.
    pub headers: Vec<(&'static str, &'static str)>,
    /// How it answers if all goes well.
    pub successes: Vec<Success>,
    /// The shape of its failures, where that is its own.
    pub failure: Option<SchemaOf>,
    /// A body that it takes, or else its query as an object; the ids in it are [examples](super::document::example_of).
    pub example: Option<Value>,
    /// What its path's parameter may be, where that is not what such parameters are elsewhere.
    pub in_path: Option<&'static str>,
    refusals: Vec<Code>,
    access: Access,
    handler: MethodRouter<Arc<App>>,
}

fn operation<T: Arguments>(
    method: Method,
    path: &'static str,
    id: &'static str,
    handler: MethodRouter<Arc<App>>,
) -> Operation {
    let takes = T::takes();
    let is_keyed = method == Method::POST && takes.body.is_some() && !takes.is_signed;
    Operation {
        id,
        method,
        path,
        summary: "",
        about: "",
        key: if is_keyed { Key::Honoured } else { Key::Ignored },
        takes,
        is_patient: false,
        is_guarded: false,
        looks_on: false,
        headers: Vec::new(),
        successes: Vec::new(),
        failure: None,
        example: None,
        in_path: None,
        refusals: Vec::new(),
        access: Access::AsItsGroup,
        handler,
    }
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident = $method:ident;)*) => {$(
        $(#[$doc])*
        pub fn $name<H, T>(path: &'static str, id: &'static str, handler: H) -> Operation
        where
            H: Handler<T, Arc<App>>,
            T: Arguments + 'static,
        {
            operation::<T>(Method::$method, path, id, routing::$name(handler))
        }
    )*};
}

methods! {
    /// A call that reads.
    get = GET;
    /// A call that does something.
    post = POST;
    /// A call that sets something.
    put = PUT;
    /// A call that takes something away.
    delete = DELETE;
}

impl Operation {
    /// What it does, and what else is to be known of it.
    #[must_use]
    pub fn says(mut self, summary: &'static str, about: &'static str) -> Self {
        (self.summary, self.about) = (summary, about);
        self
    }

    /// It is open to these, not to those of its group.
    #[must_use]
    pub fn open_to(self, scopes: &'static [Scope]) -> Self {
        Self { access: Access::Scopes(scopes), ..self }
    }

    /// It is open to anybody, or to whoever signs.
    #[must_use]
    pub fn open(self) -> Self {
        Self { access: Access::Open, ..self }
    }

    pub(super) fn open_to_unless_said(self, scopes: &'static [Scope]) -> Self {
        match self.access {
            Access::AsItsGroup => self.open_to(scopes),
            _ => self,
        }
    }

    /// It can't be made without an idempotency key.
    #[must_use]
    pub fn needs_key(self) -> Self {
        Self { key: Key::Required, ..self }
    }

    /// An idempotency key changes nothing about it: to do it twice is to do it once.
    #[must_use]
    pub fn ignores_key(self) -> Self {
        Self { key: Key::Ignored, ..self }
    }

    /// It changes stock, or something else that many want, under a lock.
    #[must_use]
    pub fn guarded(self) -> Self {
        Self { is_patient: true, is_guarded: true, ..self }
    }

    /// It may have to wait for others, as long as its caller likes.
    #[must_use]
    pub fn patient(self) -> Self {
        Self { is_patient: true, ..self }
    }

    /// It only shows what goes on, and does so whatever is away: it needs nothing of the shop's, and its callers' keys are
    /// [looked up](crate::http::auth::Keyring) aside.
    #[must_use]
    pub fn looks_on(self) -> Self {
        Self { looks_on: true, ..self }
    }

    /// It looks at a header.
    #[must_use]
    pub fn reads_header(mut self, name: &'static str, about: &'static str) -> Self {
        self.headers.push((name, about));
        self
    }

    /// It can answer with a `T`.
    #[must_use]
    pub fn answers<T: JsonSchema>(self, status: u16, about: &'static str) -> Self {
        self.answers_as::<T>(status, about, "application/json")
    }

    /// It can answer with a `T` of another media type.
    #[must_use]
    pub fn answers_as<T: JsonSchema>(
        mut self,
        status: u16,
        about: &'static str,
        media_type: &'static str,
    ) -> Self {
        let content = Some((media_type, SchemaGenerator::subschema_for::<T> as SchemaOf));
        self.successes.push(Success { status, about, content });
        self
    }

    /// It can answer with nothing.
    #[must_use]
    pub fn answers_nothing(mut self, status: u16, about: &'static str) -> Self {
        self.successes.push(Success { status, about, content: None });
        self
    }

    /// Its failures have the shape of a `T`, but for those of keys.
    #[must_use]
    pub fn fails_as<T: JsonSchema>(self) -> Self {
        Self { failure: Some(SchemaGenerator::subschema_for::<T>), ..self }
    }

    /// It can answer with these codes, besides those that follow from what it takes.
    #[must_use]
    pub fn refuses(mut self, codes: &[Code]) -> Self {
        self.refusals.extend(codes);
        self
    }

    /// A body that it takes. Where it takes none, its query as an object.
    #[must_use]
    pub fn example(self, example: Value) -> Self {
        Self { example: Some(example), ..self }
    }

    /// What its path's parameter may be.
    #[must_use]
    pub fn at(self, in_path: &'static str) -> Self {
        Self { in_path: Some(in_path), ..self }
    }

    /// The scopes that it is open to, besides that of operators. None if it needs no key.
    #[must_use]
    pub fn scopes(&self) -> Option<&'static [Scope]> {
        match self.access {
            Access::Scopes(scopes) => Some(scopes),
            Access::AsItsGroup => Some(&[]),
            Access::Open => None,
        }
    }

    pub(super) fn route(&self) -> MethodRouter<Arc<App>> {
        self.handler.clone()
    }

    /// All codes that it can answer with, each once, by status and name.
    #[must_use]
    pub fn codes(&self) -> Vec<Code> {
        use Code::*;
        let takes = &self.takes;
        let takes_something = takes.body.is_some() || takes.query.is_some() || takes.in_path.is_some();
        let implied: [(bool, &[Code]); 9] = [
            (self.scopes().is_some(), &[Unauthenticated, Forbidden]),
            (takes.is_signed, &[BadSignature, StaleWebhook]),
            (takes.body.is_some(), &[MalformedJson, RequestTimeout, BodyTooLarge, UnsupportedMediaType]),
            (takes.body.is_some() && !takes.is_signed, &[IdempotencyKeyInvalid]),
            (takes_something, &[ValidationFailed]),
            (self.key != Key::Ignored, &[IdempotencyInFlight, IdempotencyKeyReused]),
            (self.key == Key::Required, &[IdempotencyKeyMissing]),
            // A row that somebody holds; and while many wait for one item, too many.
            (self.method != Method::GET, &[LockTimeout]),
            (self.scopes().is_some() || takes.is_signed, &[Internal, DatabaseUnavailable, Overloaded]),
        ];
        let implied = implied.into_iter().filter(|(holds, _)| *holds).flat_map(|(_, codes)| codes);
        let mut codes: Vec<_> = self.refusals.iter().chain(implied).copied().collect();
        codes.sort_unstable_by_key(|code| (code.status(), code.as_str()));
        codes.dedup();
        codes
    }
}
