//! What a handler takes from a request, read off the types of its arguments.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::app::App;
use crate::http::auth::Caller;
use crate::http::csv::{self, CsvBody};
use crate::http::extract::{Body, InPath, OrDefault, Params};
use crate::http::server::Connection;

/// Describes a type.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What one call takes.
#[derive(Debug, Clone, Default)]
pub struct Takes {
    /// Its body, and whether that may not be left out.
    pub body: Option<(SchemaOf, bool)>,
    /// Whether its body is CSV.
    pub is_csv: bool,
    /// An object whose fields are its query parameters.
    pub query: Option<SchemaOf>,
    /// Its path's parameter.
    pub in_path: Option<SchemaOf>,
    /// Whether it is let in by a signature.
    pub is_signed: bool,
}

impl Takes {
    /// Notes a body.
    pub fn body<T: JsonSchema>(&mut self, is_required: bool) {
        self.body = Some((SchemaGenerator::subschema_for::<T>, is_required));
    }

    /// What its body is.
    #[must_use]
    pub fn media_type(&self) -> &'static str {
        if self.is_csv { csv::MEDIA_TYPE } else { "application/json" }
    }

    /// Notes query parameters.
    pub fn query<T: JsonSchema>(&mut self) {
        self.query = Some(T::json_schema);
    }
}

/// An argument of a handler.
pub trait Argument {
    /// Notes what it takes from the request.
    fn note(_: &mut Takes) {}
}

impl Argument for State<Arc<App>> {}

impl Argument for Caller {}

impl Argument for Connection {}

impl Argument for HeaderMap {}

impl<T: JsonSchema> Argument for Body<T> {
    fn note(takes: &mut Takes) {
        takes.body::<T>(true);
    }
}

impl Argument for CsvBody {
    fn note(takes: &mut Takes) {
        takes.body::<String>(true);
        takes.is_csv = true;
    }
}

impl<T: JsonSchema> Argument for OrDefault<T> {
    fn note(takes: &mut Takes) {
        takes.body::<T>(false);
    }
}

impl<T: JsonSchema> Argument for Params<T> {
    fn note(takes: &mut Takes) {
        takes.query::<T>();
    }
}

impl<T: JsonSchema> Argument for InPath<T> {
    fn note(takes: &mut Takes) {
        takes.in_path = Some(SchemaGenerator::subschema_for::<T>);
    }
}

impl<T: Argument, E> Argument for Result<T, E> {
    fn note(takes: &mut Takes) {
        T::note(takes);
    }
}

/// All arguments of a handler, as axum names them: with a marker before the first.
pub trait Arguments {
    /// What they take.
    fn takes() -> Takes;
}

impl Arguments for ((),) {
    fn takes() -> Takes {
        Takes::default()
    }
}

macro_rules! arguments {
    ($($argument:ident),+) => {
        impl<Marker, $($argument: Argument),+> Arguments for (Marker, $($argument,)+) {
            fn takes() -> Takes {
                let mut takes = Takes::default();
                $($argument::note(&mut takes);)+
                takes
            }
        }
    };
}
arguments!(A);
arguments!(A, B);
arguments!(A, B, C);
arguments!(A, B, C, D);
arguments!(A, B, C, D, E);
