//! Lets in who signs with a secret: these requests carry no key.
//!
//! What must stay true: in a body that is not well signed nothing is looked at, and the database is not asked. Age is
//! told by the database's clock, as two hosts never agree on the time.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};

use super::error::WebhookError;
use super::model::Envelope;
use super::signature::{Scheme, Signature};
use super::store;
use crate::app::App;
use crate::http::api::{Argument, Takes};
use crate::http::auth::Caller;
use crate::http::extract::{check_media_type, whole};
use crate::http::problem::Problem;
use crate::http::shell::RequestContext;

/// A request whose signature is good and new.
#[derive(Debug)]
pub struct Signed {
    /// Who signed.
    pub caller: Caller,
    /// How.
    pub scheme: Scheme,
    /// The event's id, where it is signed apart from the body.
    pub id: Option<String>,
    /// What was signed.
    pub body: Bytes,
}

impl Argument for Signed {
    fn note(takes: &mut Takes) {
        takes.is_signed = true;
        takes.body::<Envelope>(true);
    }
}

impl FromRequest<Arc<App>> for Signed {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Problem> {
        if app.webhook_secrets.is_empty() {
            return Err(WebhookError::NotConfigured.into());
        }
        let (parts, body) = request.into_parts();
        let signature = Signature::of(&parts.headers).ok_or(WebhookError::BadSignature)?;
        let body = whole(body).await?;
        let signed_at = signature.signed_at().filter(|_| signature.is_good(&body, &app.webhook_secrets));
        let signed_at = signed_at.ok_or(WebhookError::BadSignature)?;
        if !store::is_recent(&mut *app.db.read().await?, signed_at).await? {
            return Err(WebhookError::Stale.into());
        }
        check_media_type(&parts.headers)?;
        let context = parts.extensions.get::<RequestContext>().cloned().unwrap_or_default();
        let (scheme, id) = signature.into_parts();
        Ok(Self { caller: Caller::signed(context), scheme, id, body })
    }
}
