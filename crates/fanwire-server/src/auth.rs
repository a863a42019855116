//! Who may connect: everybody, who shows a token, or whom a webhook knows.
//!
//! In      a request's token, or one that a session sends
//! Out     a pass: who it is, until when, for which topics; or why not
//! Bounds  a token of `TOKEN_BYTES_MAX`; a pass is about as large as its token
//! Source  RFC 7519, RFC 7515; RFC 6750 section 2.1 for the header

mod expiry;
mod keys;
mod renewal;
mod webhook;

use std::{borrow::Cow, collections::HashSet, sync::Arc};

use fanwire::Request;
use jsonwebtoken::{Validation, decode, decode_header, errors::ErrorKind};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::{
    args::Args,
    choices::{AuthKind, TokenPlace},
    topics::{Claims, Patterns},
};

pub(crate) use expiry::{Expiry, Watched, now_ms};
pub(crate) use renewal::Renewal;
pub(crate) use webhook::{Caller, Question, Then, Webhook, WebhookArgs};

use keys::Keys;

/// The door.
#[derive(Debug)]
pub(crate) enum Gate {
    /// Whoever comes.
    Open,
    /// Who shows a token.
    Tokens(Box<Tokens>),
    /// Whom another program lets in.
    Webhook(Arc<Webhook>),
}

impl Gate {
    /// # Errors
    /// What is wrong with the settings or the keys.
    pub(crate) fn new(args: &Args) -> Result<Self, String> {
        match args.auth {
            // Whoever names a key means it to be asked for.
            AuthKind::None if args.auth_key_file.is_some() || args.auth_jwks_file.is_some() => {
                Err("there is a key for tokens, but auth is none: set auth to jwt, or take the key out"
                    .to_owned())
            }
            AuthKind::None | AuthKind::Jwt if args.webhook.auth_webhook_url.is_some() => {
                Err("there is an auth_webhook_url, but auth is not webhook: set auth to webhook, or take the address out"
                    .to_owned())
            }
            AuthKind::None => Ok(Self::Open),
            AuthKind::Jwt => Tokens::new(args).map(Box::new).map(Self::Tokens),
            AuthKind::Webhook => Webhook::new(args).map(Arc::new).map(Self::Webhook),
        }
    }
}

/// How tokens are found and checked.
#[derive(Debug)]
pub(crate) struct Tokens {
    keys: Keys,
    places: Vec<TokenPlace>,
    validation: Validation,
    leeway_ms: u64,
    warning_ms: u64,
}

impl Tokens {
    fn new(args: &Args) -> Result<Self, String> {
        let keys = Keys::read(args.auth_key_file.as_deref(), args.auth_jwks_file.as_deref())?;
        let leeway = args.auth_leeway.as_secs();
        let mut validation = Validation { leeway, validate_nbf: true, ..Validation::default() };
        let mut required = HashSet::from(["exp".to_owned()]);
        if !args.auth_issuer.is_empty() {
            validation.set_issuer(&args.auth_issuer);
            required.insert("iss".to_owned());
        }
        if !args.auth_audience.is_empty() {
            validation.set_audience(&args.auth_audience);
            required.insert("aud".to_owned());
        }
        validation.required_spec_claims = required;
        let places = places(args);
        let milliseconds = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let warning_ms = milliseconds(args.auth_warning);
        Ok(Self { keys, places, validation, leeway_ms: args.auth_leeway.as_secs() * 1_000, warning_ms })
    }

    /// Whose request this is.
    pub(crate) fn admit(&self, request: &Request<'_>) -> Result<Pass, Refusal> {
        self.check(&token_of(&self.places, request).ok_or(Refusal::Missing)?)
    }

    /// Whose token this is.
    pub(crate) fn check(&self, token: &str) -> Result<Pass, Refusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(Refusal::TooLong);
        }
        let header = decode_header(token).map_err(|error| Refusal::of(error.kind()))?;
        // RFC 7515 s4.1.11: what is critical must be understood, and we know no such extension.
        if header.crit.is_some() {
            return Err(Refusal::Malformed);
        }
        let mut refusal = Refusal::NoKey;
        let mut validation = self.validation.clone();
        for key in self.keys.for_token(header.alg, header.kid.as_deref()) {
            // A key is of one algorithm, so no public key is ever taken for a secret.
            validation.algorithms = vec![key.algorithm];
            match decode::<Map<String, Value>>(token, &key.key, &validation) {
                Ok(found) => return Ok(self.pass(&found.claims)),
                Err(error) => refusal = Refusal::of(error.kind()),
            }
            if refusal != Refusal::Signature {
                break;
            }
        }
        Err(refusal)
    }

    fn pass(&self, claims: &Map<String, Value>) -> Pass {
        let expires_s = claims.get("exp").and_then(seconds).unwrap_or(0);
        let expires_ms = expires_s.saturating_mul(1_000);
        let named = claims.iter().filter_map(|(name, value)| Some((name.clone(), text_of(value)?)));
        Pass {
            claims: Claims(named.collect()),
            ends_ms: Some(expires_ms.saturating_add(self.leeway_ms)),
            warns_ms: (self.warning_ms > 0).then(|| expires_ms.saturating_sub(self.warning_ms)),
            subscribe: patterns(claims.get("subscribe")),
            publish: patterns(claims.get("publish")),
        }
    }
}

/// What a token says, once it is known to be true, or the webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    pub(crate) claims: Claims,
    /// When its session ends, in milliseconds since 1970; a webhook's may have no end.
    pub(crate) ends_ms: Option<u64>,
    /// When its session is warned.
    pub(crate) warns_ms: Option<u64>,
    /// Topics that the token, or the webhook, names.
    pub(crate) subscribe: Option<Patterns>,
    pub(crate) publish: Option<Patterns>,
}

impl Pass {
    /// Whose it is.
    pub(crate) fn user(&self) -> Option<&str> {
        self.claims.0.iter().find(|(name, _)| name == "sub").map(|(_, value)| &**value)
    }

    /// Seconds that are left, rounded up.
    pub(crate) fn seconds_left(&self) -> Option<u64> {
        Some(self.ends_ms?.saturating_sub(now_ms()).div_ceil(1_000))
    }
}

/// Why a token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error(
        "a token is needed: as Authorization: Bearer TOKEN, or fanwire and fanwire.token.TOKEN as \
         Sec-WebSocket-Protocol, or where auth_token_from allows it ?token=TOKEN"
    )]
    Missing,
    #[error("the token is longer than {TOKEN_BYTES_MAX} bytes")]
    TooLong,
    #[error("the token is no JSON Web Token that this server understands")]
    Malformed,
    #[error("the token names a key or an algorithm that this server has no key for")]
    NoKey,
    #[error("the token's signature does not fit")]
    Signature,
    #[error("the token has expired: get a new one")]
    Expired,
    #[error("the token is not valid yet: is a clock wrong?")]
    Early,
    #[error("the token is of an issuer that this server does not trust")]
    Issuer,
    #[error("the token is for somebody else than this server: its audience is another")]
    Audience,
    #[error("the token lacks a claim that this server asks for: exp, and iss or aud where they are checked")]
    Claim,
}

impl Refusal {
    fn of(kind: &ErrorKind) -> Self {
        match kind {
            ErrorKind::InvalidSignature => Self::Signature,
            ErrorKind::ExpiredSignature => Self::Expired,
            ErrorKind::ImmatureSignature => Self::Early,
            ErrorKind::InvalidIssuer => Self::Issuer,
            ErrorKind::InvalidAudience => Self::Audience,
            ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => Self::Claim,
            ErrorKind::InvalidAlgorithm
            | ErrorKind::InvalidAlgorithmName
            | ErrorKind::UnsupportedAlgorithm => Self::NoKey,
            _ => Self::Malformed,
        }
    }

    /// For metrics.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::NoKey => "no_key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::Early => "early",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Claim => "claim",
        }
    }

    /// All reasons.
    pub(crate) const REASONS: [&'static str; 10] = [
        "missing",
        "too_long",
        "malformed",
        "no_key",
        "signature",
        "expired",
        "early",
        "issuer",
        "audience",
        "claim",
    ];
}

/// Where tokens are looked for. Not in addresses, which stand in logs, unless the settings say so.
fn places(args: &Args) -> Vec<TokenPlace> {
    match args.auth_token_from.as_slice() {
        [] => vec![TokenPlace::Header, TokenPlace::Protocol],
        places => places.to_vec(),
    }
}

/// The token of a request, if it has one.
fn token_of<'a>(places: &[TokenPlace], request: &Request<'a>) -> Option<Cow<'a, str>> {
    places.iter().find_map(|place| token_at(*place, request))
}

fn token_at<'a>(place: TokenPlace, request: &Request<'a>) -> Option<Cow<'a, str>> {
    match place {
        TokenPlace::Header => {
            let (scheme, token) = request.header("Authorization")?.split_once(' ')?;
            scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim().into())
        }
        TokenPlace::Protocol => {
            request.protocols().find_map(|protocol| protocol.strip_prefix(TOKEN_PROTOCOL)).map(Cow::Borrowed)
        }
        TokenPlace::Query => request.query("token"),
    }
}

/// RFC 7519 s2: a NumericDate may have a fraction.
fn seconds(value: &Value) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates at both ends"
    )]
    value.as_u64().or_else(|| value.as_f64().map(|seconds| seconds as u64))
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => number.as_i64().map(|number| number.to_string()),
        _ => None,
    }
}

/// A list of texts, or one text. Anything else names no topic.
fn patterns(claim: Option<&Value>) -> Option<Patterns> {
    let texts = match claim? {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    Some(Patterns::of_token(&texts))
}

/// The subprotocol that the server speaks, and chooses if it is offered.
pub(crate) const PROTOCOL: &str = "fanwire";

/// What stands before a token among the offered subprotocols.
const TOKEN_PROTOCOL: &str = "fanwire.token.";

/// As long as most servers take one header field.
pub(crate) const TOKEN_BYTES_MAX: usize = 8 << 10;
