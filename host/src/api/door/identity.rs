//! Who asks: the tokens this server knows, kept in memory and read again when another server has changed them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use subtle::ConstantTimeEq as _;
use tokio_util::sync::CancellationToken;

use super::super::Problem;
use crate::clock::Clock;
use crate::domain::access::Permission;
use crate::domain::token::{self, Token};
use crate::domain::{Target, Timestamp};
use crate::store::{self, Store};

/// Time between two looks at the tokens' revision: a revocation holds everywhere within a second.
const LOOK: Duration = Duration::from_millis(400);
/// Age at which what is known of tokens is not believed any more.
const STALE: Duration = Duration::from_secs(5);
/// Time between two writes of when tokens were used last.
const NOTE: Duration = Duration::from_secs(10);

/// Who sent a request.
#[derive(Clone, Debug)]
pub enum Principal {
    /// Somebody who did not have to say: authentication is off, or the route is public.
    Anonymous,
    /// The holder of a token.
    Token(Arc<Token>),
}

impl Principal {
    /// As audit entries name it.
    #[must_use]
    pub fn actor(&self) -> String {
        match self {
            Self::Anonymous => "api".to_owned(),
            Self::Token(token) => format!("token:{}:{}", token.id, token.name),
        }
    }

    /// As keys of things that belong to one principal name it.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Anonymous => "anonymous".to_owned(),
            Self::Token(token) => format!("token:{}", token.id),
        }
    }

    /// Whether it has a permission. With authentication off everybody has all of them.
    #[must_use]
    pub fn may(&self, permission: Permission) -> bool {
        match self {
            Self::Anonymous => true,
            Self::Token(token) => token.role.may(permission),
        }
    }

    /// Whether it may touch some targets only.
    #[must_use]
    pub fn is_scoped(&self) -> bool {
        match self {
            Self::Anonymous => false,
            Self::Token(token) => !token.scope.texts().is_empty(),
        }
    }

    /// Refuses a target that the token may not touch.
    pub fn touch(&self, target: &str) -> Result<(), Problem> {
        match self {
            Self::Token(token) if !token.scope.takes(target) => Err(beyond(target, token)),
            Self::Anonymous | Self::Token(_) => Ok(()),
        }
    }

    /// The same for an event: one that names no target counts as one for `all`.
    pub fn touch_event(&self, target: Option<&Target>) -> Result<(), Problem> {
        self.touch(target.map_or("all", |target| target.name.as_str()))
    }

    /// Refuses a policy for targets that the token may not touch.
    pub fn touch_pattern(&self, pattern: &str) -> Result<(), Problem> {
        match self {
            Self::Token(token) if !token.scope.takes_pattern(pattern) => Err(beyond(pattern, token)),
            Self::Anonymous | Self::Token(_) => Ok(()),
        }
    }
}

fn beyond(target: &str, token: &Token) -> Problem {
    let target: String = target.chars().take(64).collect();
    let text = format!("this token may not touch `{target}`, only {}", token.scope.texts().join(", "));
    Problem::new(StatusCode::FORBIDDEN, text)
}

/// What the door found out about the caller.
impl<S: Sync> FromRequestParts<S> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let known = parts.extensions.get::<Self>().cloned();
        known.ok_or_else(|| Problem::new(StatusCode::FORBIDDEN, "nobody asked at the door"))
    }
}

#[derive(Debug)]
struct Known {
    revision: i64,
    /// By the first bytes of the hash; the whole of it is compared without telling by its time how much was right.
    by_hash: HashMap<[u8; 8], Vec<Arc<Token>>>,
    /// When the look began that found this.
    seen: Instant,
}

/// The tokens that this server knows.
#[derive(Debug)]
pub struct Tokens {
    store: Store,
    clock: Clock,
    known: ArcSwap<Known>,
    /// One look at a time: an older one must not replace what a newer one has seen.
    looking: tokio::sync::Mutex<()>,
    used: Mutex<HashMap<i64, Timestamp>>,
}

impl Tokens {
    /// None known yet; [`Tokens::look`] reads them.
    #[must_use]
    pub fn new(store: Store, clock: Clock) -> Self {
        let none = Known { revision: -1, by_hash: HashMap::new(), seen: Instant::now() };
        Self {
            store,
            clock,
            known: ArcSwap::from_pointee(none),
            looking: tokio::sync::Mutex::default(),
            used: Mutex::default(),
        }
    }

    /// Reads the tokens again if any has changed.
    pub async fn look(&self) -> store::Result<()> {
        let _one = self.looking.lock().await;
        let seen = Instant::now();
        let now = self.known.load_full();
        if self.store.token_revision().await? == now.revision {
            let by_hash = now.by_hash.clone();
            self.known.store(Arc::new(Known { revision: now.revision, by_hash, seen }));
            return Ok(());
        }
        let (tokens, revision) = self.store.tokens().await?;
        let mut by_hash: HashMap<[u8; 8], Vec<Arc<Token>>> = HashMap::new();
        for token in tokens.into_iter().filter(|token| token.revoked_at.is_none()) {
            by_hash.entry(head(&token.hash)).or_default().push(Arc::new(token));
        }
        self.known.store(Arc::new(Known { revision, by_hash, seen }));
        Ok(())
    }

    /// Looks again and again until `stop`, and notes now and then which tokens were used.
    pub async fn run(&self, stop: CancellationToken) {
        let mut noted = Instant::now();
        let mut failing = false;
        while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
            let looked = tokio::time::timeout(STALE, self.look()).await;
            let failed = !matches!(looked, Ok(Ok(())));
            if failed != failing {
                failing = failed;
                if failed {
                    tracing::warn!("the tokens can't be read again; in 5 s nobody is let in any more");
                } else {
                    tracing::info!("the tokens can be read again");
                }
            }
            if noted.elapsed() > NOTE && !failed {
                noted = Instant::now();
                self.note().await;
            }
        }
        self.note().await;
    }

    async fn note(&self) {
        let noted = std::mem::take(&mut *self.used.lock().unwrap_or_else(PoisonError::into_inner));
        if noted.is_empty() {
            return;
        }
        let noted: Vec<_> = noted.into_iter().collect();
        if let Err(wrong) = self.store.tokens_used(&noted).await {
            tracing::warn!(error = %wrong, "when tokens were used last could not be noted");
        }
    }

    /// Whose token a request carries. 401 for none and for one that does not hold, 503 if nobody can know.
    pub(super) fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, Problem> {
        let text = bearer(headers)?;
        // A typo costs nobody a look-up.
        if !token::well_formed(text) {
            return Err(refused("this is no token of Vigil's: look for a typo"));
        }
        let known = self.known.load();
        if known.seen.elapsed() > STALE {
            let text = "tokens can't be checked: the database does not answer; try again";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, text).retry_after(1));
        }
        let hash = token::hash(text);
        let candidates = known.by_hash.get(&head(&hash)).map_or(&[][..], Vec::as_slice);
        let found = candidates.iter().find(|token| bool::from(token.hash.ct_eq(&hash)));
        let now = self.clock.now();
        // One answer for unknown, revoked and expired: a stranger learns nothing about old tokens.
        let Some(token) = found.filter(|token| token.holds(now)) else {
            return Err(refused("this token is unknown, expired or revoked"));
        };
        self.used.lock().unwrap_or_else(PoisonError::into_inner).insert(token.id, now);
        Ok(Principal::Token(Arc::clone(token)))
    }
}

fn head(hash: &[u8; 32]) -> [u8; 8] {
    let mut head = [0; 8];
    head.copy_from_slice(&hash[..8]);
    head
}

/// The token of `Authorization: Bearer`; it is taken from nowhere else.
fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let Some(first) = all.next() else {
        return Err(unasked("a token is needed: send `Authorization: Bearer TOKEN`"));
    };
    if all.next().is_some() {
        return Err(refused("there is more than one Authorization header"));
    }
    let (scheme, token) = first.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(token.trim())
    } else {
        Err(unasked("a token is needed: send `Authorization: Bearer TOKEN`"))
    }
}

fn unasked(text: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, text)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

fn refused(text: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, text)
        .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""))
}
