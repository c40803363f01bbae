//! Whose request it is: keys at work, with what is left of their rates.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use hyper::header::{AUTHORIZATION, HeaderMap};
use limiter::{Limiter, Permit, RetryAt};

use crate::keys::{Key, Keys, Quota, Secret};
use crate::metrics::Counter;

/// Everybody who may ask.
#[derive(Debug)]
pub(crate) struct Tenants {
    /// By key; empty where none is needed.
    by_secret: HashMap<Secret, Arc<Tenant>>,
    all: Vec<Arc<Tenant>>,
}

/// One key at work, or everybody where none is needed.
#[derive(Debug)]
pub(crate) struct Tenant {
    /// Its place among all.
    pub(crate) number: usize,
    /// Empty for everybody.
    pub(crate) name: String,
    pub(crate) weight: NonZeroU32,
    pub(crate) priority: u8,
    requests: Option<Limiter>,
    tokens: Option<Limiter>,
    pub(crate) asked: Counter,
    pub(crate) refused: Counter,
    pub(crate) prompt_tokens: Counter,
    pub(crate) generation_tokens: Counter,
}

impl Tenants {
    pub(crate) fn new(keys: Option<&Keys>) -> Self {
        let mut tenants = Self { by_secret: HashMap::new(), all: Vec::new() };
        match keys {
            None => tenants.all.push(Arc::new(Tenant::everybody())),
            Some(keys) => {
                for (number, (secret, key)) in keys.entries().enumerate() {
                    let tenant = Arc::new(Tenant::new(number, key));
                    tenants.by_secret.insert(*secret, Arc::clone(&tenant));
                    tenants.all.push(tenant);
                }
            }
        }
        tenants
    }

    /// All of them, each at the place that its number says.
    pub(crate) fn all(&self) -> &[Arc<Tenant>] {
        &self.all
    }

    /// Whether a key is needed.
    pub(crate) fn have_keys(&self) -> bool {
        !self.by_secret.is_empty()
    }

    /// Whose request this is; none without a key that is known.
    pub(crate) fn of(&self, headers: &HeaderMap) -> Option<&Arc<Tenant>> {
        if !self.have_keys() {
            return self.all.first();
        }
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (value, None) = (values.next()?.as_bytes(), values.next()) else { return None };
        let at = value.iter().position(|byte| *byte == b' ')?;
        let (scheme, key) = value.split_at(at);
        let is_bearer = scheme.eq_ignore_ascii_case(b"bearer");
        // A digest says nothing about the key, whatever the time that it takes to find.
        is_bearer.then(|| self.by_secret.get(&Secret::of(key.trim_ascii())))?
    }
}

impl Tenant {
    fn new(number: usize, key: &Key) -> Self {
        let limiter = |quota: Quota| Limiter::new(quota.rate, quota.burst);
        Self {
            number,
            name: key.name.clone(),
            weight: key.weight,
            priority: key.priority,
            requests: key.requests.map(limiter),
            tokens: key.tokens.map(limiter),
            asked: Counter::default(),
            refused: Counter::default(),
            prompt_tokens: Counter::default(),
            generation_tokens: Counter::default(),
        }
    }

    /// Whoever comes, without limits.
    pub(crate) fn everybody() -> Self {
        let name = String::new();
        let (weight, priority) = (NonZeroU32::MIN, 0);
        Self::new(0, &Key { name, weight, requests: None, tokens: None, priority })
    }

    /// Takes one request out of its rate.
    ///
    /// # Errors
    ///
    /// When there will be one.
    pub(crate) fn take_request(&self) -> Result<(), RetryAt> {
        self.asked.add(1);
        // Dropped, a permit counts as used.
        self.requests.as_ref().map_or(Ok(()), |limiter| limiter.try_acquire(1).map(drop))
    }

    /// Sets tokens of its rate aside. More than its burst is there when the burst is whole.
    ///
    /// # Errors
    ///
    /// When there will be so many.
    pub(crate) fn reserve(self: &Arc<Self>, tokens: u64) -> Result<Charge, RetryAt> {
        let reserved = match &self.tokens {
            Some(limiter) => Some(limiter.try_acquire(tokens)?.into_owned()),
            None => None,
        };
        Ok(Charge { tenant: Arc::clone(self), reserved, used: 0 })
    }
}

/// Tokens set aside for a request. Those that it did not use go back when this is dropped.
#[derive(Debug)]
#[must_use = "dropping a charge gives back what was not used"]
pub(crate) struct Charge {
    tenant: Arc<Tenant>,
    reserved: Option<Permit<'static>>,
    used: u64,
}

impl Charge {
    /// The prompt was taken in.
    pub(crate) fn use_prompt(&mut self, tokens: u64) {
        self.used += tokens;
        self.tenant.prompt_tokens.add(tokens);
    }

    /// Tokens were sent.
    pub(crate) fn use_tokens(&mut self, tokens: u64) {
        self.used += tokens;
        self.tenant.generation_tokens.add(tokens);
    }

    /// How many it used so far.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    pub(crate) fn tenant(&self) -> &Arc<Tenant> {
        &self.tenant
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(reserved) = self.reserved.take() {
            reserved.used(self.used);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hyper::header::HeaderValue;

    use super::*;

    fn tenants(text: &str) -> Tenants {
        Tenants::new(Some(&text.parse().unwrap()))
    }

    fn named<'a>(tenants: &'a Tenants, values: &[&'static str]) -> Option<&'a str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        tenants.of(&headers).map(|tenant| tenant.name.as_str())
    }

    #[test]
    fn a_request_has_the_name_of_its_key_or_none() {
        let tenants = tenants("a:k1\nb:k2");
        assert_eq!(Some("a"), named(&tenants, &["Bearer k1"]));
        assert_eq!(Some("b"), named(&tenants, &["bEARER  k2"]));
        for wrong in [&[][..], &["k1"], &["Bearer"], &["Bearer "], &["Basic k1"], &["Bearer k"]] {
            assert_eq!(None, named(&tenants, wrong));
        }
        assert_eq!(None, named(&tenants, &["Bearer k1", "Bearer k1"]));
        assert_eq!(Some(""), named(&Tenants::new(None), &[]));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_come_back_at_their_rate() {
        let tenants = tenants("a:k requests=2/s");
        let a = &tenants.all()[0];
        assert!(a.take_request().is_ok() && a.take_request().is_ok());
        let wait = a.take_request().unwrap_err().wait().unwrap();
        assert_eq!(Duration::from_millis(500), wait);
        tokio::time::advance(wait).await;
        assert!(a.take_request().is_ok());
        assert!(a.take_request().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_reserved_and_not_used_goes_back() {
        let tenants = tenants("a:k tokens=100/m");
        let a = &tenants.all()[0];
        let mut charge = a.reserve(90).unwrap();
        assert!(a.reserve(20).is_err());
        charge.use_prompt(5);
        charge.use_tokens(15);
        drop(charge);
        // 20 are gone.
        assert!(a.reserve(81).is_err());
        drop(a.reserve(80).unwrap());
        assert_eq!((5, 15), (a.prompt_tokens.get(), a.generation_tokens.get()));
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_the_burst_is_there_when_the_burst_is_whole() {
        let tenants = tenants("a:k tokens=100/m");
        let a = &tenants.all()[0];
        let mut charge = a.reserve(150).unwrap();
        charge.use_tokens(150);
        drop(charge);
        let wait = a.reserve(1).unwrap_err().wait().unwrap();
        assert!(Duration::from_secs(30) <= wait, "{wait:?}");
    }
}
