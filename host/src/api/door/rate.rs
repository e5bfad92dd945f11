//! How often a client may ask: a fixed window per client and route without a token, a bucket per token and class of
//! routes with one. Each server counts by itself and in memory; what is refused is not counted.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::super::Problem;
use super::Class;
use crate::config::Rate;

/// Windows kept at once. A flood from more addresses than this shares one more window.
const WINDOWS: usize = 100_000;

/// The limits in force; whoever holds it may change them while the server runs.
pub type Shared = Arc<ArcSwap<Rate>>;

/// Whom requests are counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Client {
    /// An address; of IPv6 the network of a household.
    Address(IpAddr),
    /// A token, by its number.
    Token(i64),
}

impl Client {
    /// The client at an address. None, which only a broken connection has, is one more client.
    pub(super) fn at(address: Option<IpAddr>) -> Self {
        Self::Address(match address {
            Some(IpAddr::V6(v6)) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
            Some(v4 @ IpAddr::V4(_)) => v4,
            None => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
        })
    }
}

/// What a client has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    limit: u32,
    remaining: u32,
    reset: u64,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began: Instant,
    used: u32,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    hasher: RandomState,
    windows: Mutex<HashMap<u64, Window>>,
    buckets: Mutex<HashMap<(i64, Class), Bucket>>,
}

impl Counts {
    /// Counts a request, or refuses it. None: it is not limited.
    pub(super) fn count(
        &self,
        rate: &Rate,
        (client, class, template): (Client, Class, &str),
        now: Instant,
    ) -> Result<Option<Left>, Left> {
        let limit = match class {
            Class::Exempt => return Ok(None),
            Class::Ingest => (rate.ingest_requests, rate.ingest_period),
            Class::Actions => (rate.actions_requests, rate.actions_period),
            Class::Other => (rate.requests, rate.period),
        };
        if !rate.enabled {
            return Ok(None);
        }
        match client {
            Client::Token(id) => self.bucket(rate, (id, class), now).map(Some),
            Client::Address(_) => self.window(self.hasher.hash_one((client, template)), limit, now).map(Some),
        }
    }

    fn window(&self, key: u64, (limit, period): (u32, Duration), now: Instant) -> Result<Left, Left> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let over = |window: &Window| now.saturating_duration_since(window.began) >= period;
        let mut key = key;
        if windows.len() >= WINDOWS && !windows.contains_key(&key) {
            windows.retain(|_, window| !over(window));
            if windows.len() >= WINDOWS {
                key = 0;
            }
        }
        let window = windows.entry(key).or_insert(Window { began: now, used: 0 });
        if over(window) {
            *window = Window { began: now, used: 0 };
        }
        let left = period.saturating_sub(now.saturating_duration_since(window.began));
        let reset = left.as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX);
        if window.used >= limit {
            return Err(Left { limit, remaining: 0, reset });
        }
        window.used += 1;
        Ok(Left { limit, remaining: limit - window.used, reset })
    }

    fn bucket(&self, rate: &Rate, key: (i64, Class), now: Instant) -> Result<Left, Left> {
        let (burst, speed) = (f64::from(rate.token_burst), f64::from(rate.token_requests));
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(key).or_insert(Bucket { tokens: burst, at: now });
        let earned = now.saturating_duration_since(bucket.at).as_secs_f64() * speed;
        *bucket = Bucket { tokens: (bucket.tokens + earned).min(burst), at: now };
        if bucket.tokens < 1.0 {
            return Err(Left { limit: rate.token_burst, remaining: 0, reset: 1 });
        }
        bucket.tokens -= 1.0;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and the burst, a u32"
        )]
        let (remaining, reset) = (bucket.tokens as u32, ((burst - bucket.tokens) / speed).ceil() as u64);
        Ok(Left { limit: rate.token_burst, remaining, reset })
    }
}

impl Left {
    /// The headers that tell the client.
    pub(super) fn tell(self, headers: &mut HeaderMap) {
        let mut set = |name: &'static str, value: u64| {
            headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
        };
        set("x-ratelimit-limit", self.limit.into());
        set("x-ratelimit-remaining", self.remaining.into());
        set("x-ratelimit-reset", self.reset);
    }

    /// The refusal.
    pub(super) fn refusal(self) -> Problem {
        let seconds = u32::try_from(self.reset.max(1)).unwrap_or(u32::MAX);
        let text = format!("Rate limit exceeded: at most {} requests, come back in {seconds} s", self.limit);
        Problem::limited(StatusCode::TOO_MANY_REQUESTS, text, seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate() -> Rate {
        let (requests, ingest_requests, actions_requests) = (3, 5, 2);
        let (token_requests, token_burst, period) = (10, 4, Duration::from_mins(1));
        Rate {
            enabled: true,
            requests,
            ingest_requests,
            actions_requests,
            period,
            ingest_period: period,
            actions_period: period,
            token_requests,
            token_burst,
        }
    }

    #[test]
    fn windows_belong_to_a_client_and_a_route_and_end() {
        let (counts, rate, start) = (Counts::default(), rate(), Instant::now());
        let one = Client::at(Some("10.0.0.1".parse().unwrap()));
        let two = Client::at(Some("10.0.0.2".parse().unwrap()));
        let ask = |client, class, template: &str, after: u64| {
            counts.count(&rate, (client, class, template), start + Duration::from_secs(after)).is_ok()
        };
        let taken = |client, class, template: &str, after: u64| {
            (0..10).filter(|_| ask(client, class, template, after)).count()
        };
        assert_eq!(taken(one, Class::Actions, "/a/{id}", 0), 2);
        assert_eq!(taken(one, Class::Actions, "/a", 0), 2, "another route");
        assert_eq!(taken(two, Class::Actions, "/a/{id}", 0), 2, "another client");
        assert_eq!(taken(one, Class::Actions, "/a/{id}", 59), 0);
        assert_eq!(taken(one, Class::Actions, "/a/{id}", 60), 2, "a new window");
        assert_eq!(taken(one, Class::Ingest, "/i", 0), 5);
        assert_eq!(taken(one, Class::Other, "/o", 0), 3);
        assert_eq!(taken(one, Class::Exempt, "/health", 0), 10);
        let left = counts.count(&rate, (two, Class::Other, "/o"), start).unwrap().unwrap();
        assert_eq!(left, Left { limit: 3, remaining: 2, reset: 60 });
        let none = Rate { enabled: false, ..rate };
        assert_eq!(counts.count(&none, (one, Class::Other, "/o"), start), Ok(None));
    }

    #[test]
    fn a_token_has_a_burst_and_a_pace_per_class() {
        let (counts, rate, start) = (Counts::default(), rate(), Instant::now());
        let taken = |class, after: u64| {
            let now = start + Duration::from_millis(after);
            (0..20).filter(|_| counts.count(&rate, (Client::Token(1), class, "/"), now).is_ok()).count()
        };
        assert_eq!(taken(Class::Ingest, 0), 4);
        assert_eq!(taken(Class::Other, 0), 4, "another class");
        assert_eq!(taken(Class::Ingest, 250), 2, "ten a second");
        assert_eq!(taken(Class::Ingest, 60_000), 4, "no more than the burst");
    }

    #[test]
    fn a_flood_of_addresses_shares_what_is_left() {
        let (counts, rate, start) = (Counts::default(), rate(), Instant::now());
        let taken = (0..u32::try_from(WINDOWS).unwrap() + 100)
            .filter(|n| {
                counts
                    .count(&rate, (Client::at(Some(IpAddr::V4((*n).into()))), Class::Other, "/"), start)
                    .is_ok()
            })
            .count();
        assert_eq!(taken, WINDOWS + 3);
        assert!(counts.windows.lock().unwrap().len() <= WINDOWS + 1);
        let one_network =
            |last: u16| Client::at(Some(IpAddr::V6([0x2001, 0xdb8, 0, 1, 0, 0, 0, last].into())));
        assert_eq!(one_network(1), one_network(2));
    }
}
