//! Who may ask? On loopback, whoever names a loopback host (so that no page of another site reads it by rebinding a name);
//! with a token, whoever has it.

use std::net::IpAddr;

use axum::http::{HeaderMap, Uri, header};

/// What is asked of a request.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) token: Option<String>,
    pub(crate) loopback: bool,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Host,
    Token,
}

impl Guard {
    pub(crate) fn check(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Refused> {
        if let Some(token) = &self.token {
            let bearer = headers
                .get(header::AUTHORIZATION)
                .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
                .or_else(|| query_token(uri));
            return if bearer.is_some_and(|given| same(given, token)) { Ok(()) } else { Err(Refused::Token) };
        }
        if self.loopback && !names_loopback(headers, uri) {
            return Err(Refused::Host);
        }
        Ok(())
    }
}

/// A browser cannot set headers on its first request: `?token=`.
fn query_token(uri: &Uri) -> Option<&str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix("token="))
}

/// In a time that does not depend on where they differ.
fn same(given: &str, token: &str) -> bool {
    let differing = given.bytes().zip(token.bytes()).fold(0, |differing, (a, b)| differing | (a ^ b));
    given.len() == token.len() && differing == 0
}

fn names_loopback(headers: &HeaderMap, uri: &Uri) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        (None, _) => uri.authority().map(|authority| authority.as_str()),
        _ => None,
    };
    let Some(host) = host else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(""),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(guard: &Guard, host: &str, bearer: Option<&str>, path: &str) -> Result<(), Refused> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(bearer) = bearer {
            headers.insert(header::AUTHORIZATION, format!("Bearer {bearer}").parse().unwrap());
        }
        guard.check(&headers, &path.parse().unwrap())
    }

    #[test]
    fn only_loopback_names_are_served_without_a_token() {
        let guard = Guard { token: None, loopback: true };
        for host in ["localhost:9835", "127.0.0.1:1", "127.8.8.8", "[::1]:9835", "LOCALHOST"] {
            assert_eq!(check(&guard, host, None, "/"), Ok(()), "{host}");
        }
        for host in ["example.com", "localhost.evil.com:9835", "10.0.0.1", "[::2]", "", "127.0.0.1.nip.io"] {
            assert_eq!(check(&guard, host, None, "/"), Err(Refused::Host), "{host}");
        }
    }

    #[test]
    fn a_token_is_all_that_counts_when_there_is_one() {
        let guard = Guard { token: Some("secret".into()), loopback: false };
        assert_eq!(check(&guard, "gpu7:9835", Some("secret"), "/"), Ok(()));
        assert_eq!(check(&guard, "gpu7:9835", None, "/?a=1&token=secret"), Ok(()));
        for wrong in ["", "secreT", "secret2", "secre"] {
            assert_eq!(check(&guard, "localhost", Some(wrong), "/"), Err(Refused::Token), "{wrong}");
        }
        assert_eq!(check(&guard, "localhost", None, "/"), Err(Refused::Token));
    }
}
