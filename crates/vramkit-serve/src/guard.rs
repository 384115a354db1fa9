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
    /// Whether what is read may be told.
    pub(crate) fn check(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Refused> {
        self.check_host(headers, uri)?;
        let Some(token) = &self.token else { return Ok(()) };
        let is_right = match authorization(headers) {
            Some(given) => given.is_some_and(|given| same(given.as_bytes(), token)),
            None => query_token(uri).is_some_and(|given| same(&given, token)),
        };
        if is_right { Ok(()) } else { Err(Refused::Token) }
    }

    /// Whether it may have the page, which says nothing but how to ask.
    pub(crate) fn check_host(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Refused> {
        let is_right = self.token.is_some() || !self.loopback || names_loopback(headers, uri);
        if is_right { Ok(()) } else { Err(Refused::Host) }
    }
}

/// What one `Authorization` header bears; none in it if it is another one, or one of several.
fn authorization(headers: &HeaderMap) -> Option<Option<&str>> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let first = all.next()?;
    let only = if all.next().is_some() { None } else { first.to_str().ok() };
    let (scheme, given) = only.and_then(|only| only.split_once(' ')).unwrap_or_default();
    Some(scheme.eq_ignore_ascii_case("bearer").then(|| given.trim()))
}

/// `?token=`, for a link: percent-encoded or not, where a plus is a plus, since no token has a space.
fn query_token(uri: &Uri) -> Option<Vec<u8>> {
    let given = uri.query()?.split('&').find_map(|pair| pair.strip_prefix("token="))?;
    Some(percent_decoded(given))
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let (bytes, mut at, mut out) = (text.as_bytes(), 0, Vec::with_capacity(text.len()));
    while let Some(&byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// In a time that depends on neither where nor in how many bytes they differ: every byte of the token is looked at.
fn same(given: &[u8], token: &str) -> bool {
    let differing = token.bytes().enumerate().fold(0, |differing, (at, byte)| {
        let given = given.get(at).copied().unwrap_or(0);
        std::hint::black_box(differing | (given ^ byte))
    });
    differing == 0 && given.len() == token.len()
}

/// A request that names a host twice must name the same.
fn names_loopback(headers: &HeaderMap, uri: &Uri) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        (None, _) => None,
        _ => return false,
    };
    let named = uri.authority().map(|authority| authority.as_str());
    match (host, named) {
        (Some(host), Some(named)) => host.eq_ignore_ascii_case(named) && is_loopback(host),
        (Some(host), None) | (None, Some(host)) => is_loopback(host),
        (None, None) => false,
    }
}

/// All of `HOST` or `HOST:PORT`.
fn is_loopback(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let Some((host, port)) = rest.split_once(']') else { return false };
            (host.parse().map(IpAddr::V6).ok(), port)
        }
        None => {
            let (host, port) = authority.split_at(authority.find(':').unwrap_or(authority.len()));
            let is_localhost = host.eq_ignore_ascii_case("localhost");
            let localhost = is_localhost.then_some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
            (localhost.or_else(|| host.parse().map(IpAddr::V4).ok()), port)
        }
    };
    host.is_some_and(|host| host.is_loopback()) && (port.is_empty() || is_port(port))
}

/// `:9835`.
fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|digits| {
        digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok()
    })
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
        for host in
            ["localhost:9835", "127.0.0.1:1", "127.8.8.8", "[::1]:9835", "[::1]", "LOCALHOST", "LocalHost:80"]
        {
            assert_eq!(check(&guard, host, None, "/"), Ok(()), "{host}");
        }
        for host in [
            "example.com",
            "localhost.evil.com:9835",
            "localhost.evil.com",
            "10.0.0.1",
            "[::2]",
            "",
            "127.0.0.1.nip.io",
            "[::1]evil",
            "[::1]:9835x",
            "[::1",
            "::1",
            "localhost:abc",
            "localhost:",
            "localhost:99999",
            "localhost:+80",
            "localhost:-1",
            "localhost:80:80",
            "localhost:80@evil.com",
            "user@localhost",
            "user:pass@localhost:80",
            "localhost.",
            "127.0.0.1.",
            "127.1",
            "0177.0.0.1",
            "[127.0.0.1]",
            "localhost/",
            "localhost, evil.com",
            " localhost",
            "localhost\tx",
            "evil-localhost",
            "[::1%25lo]",
            "[]",
            ":80",
            "xlocalhost",
            "0.0.0.0",
        ] {
            assert_eq!(check(&guard, host, None, "/"), Err(Refused::Host), "{host}");
        }
    }

    #[test]
    fn a_host_that_is_named_twice_is_the_same_or_refused() {
        let guard = Guard { token: None, loopback: true };
        let absolute = |host, path| check(&guard, host, None, path);
        assert_eq!(absolute("localhost:1", "http://LOCALHOST:1/metrics"), Ok(()));
        assert_eq!(absolute("localhost", "http://evil.com/metrics"), Err(Refused::Host));
        assert_eq!(absolute("evil.com", "http://localhost/metrics"), Err(Refused::Host));
        assert_eq!(absolute("localhost", "http://127.0.0.1/metrics"), Err(Refused::Host));
        assert_eq!(absolute("localhost", "http://user@localhost/metrics"), Err(Refused::Host));
        let mut headers = HeaderMap::new();
        assert_eq!(guard.check(&headers, &"/".parse().unwrap()), Err(Refused::Host));
        for _ in 0..2 {
            headers.append(header::HOST, "localhost".parse().unwrap());
        }
        assert_eq!(guard.check(&headers, &"/".parse().unwrap()), Err(Refused::Host));
        assert_eq!(guard.check(&headers, &"http://localhost/".parse().unwrap()), Err(Refused::Host));
    }

    #[test]
    fn a_token_is_all_that_counts_when_there_is_one() {
        let guard = Guard { token: Some("secret".into()), loopback: false };
        assert_eq!(check(&guard, "gpu7:9835", Some("secret"), "/"), Ok(()));
        assert_eq!(check(&guard, "gpu7:9835", None, "/?a=1&token=secret"), Ok(()));
        for wrong in ["", "secreT", "secret2", "secre", "Secret", "secretsecret"] {
            assert_eq!(check(&guard, "localhost", Some(wrong), "/"), Err(Refused::Token), "{wrong}");
            let path = format!("/?token={wrong}");
            assert_eq!(check(&guard, "localhost", None, &path), Err(Refused::Token), "{wrong}");
        }
        assert_eq!(check(&guard, "localhost", None, "/"), Err(Refused::Token));
        // A wrong header is not made right by a link.
        assert_eq!(check(&guard, "localhost", Some("wrong"), "/?token=secret"), Err(Refused::Token));
    }

    #[test]
    fn every_token_goes_into_a_link() {
        let token = "ab+/cd==EF%12&?#~\"<>";
        let guard = Guard { token: Some(token.into()), loopback: false };
        let encoded: String = token.bytes().map(|byte| format!("%{byte:02x}")).collect();
        assert_eq!(check(&guard, "gpu7", None, &format!("/?token={encoded}")), Ok(()));
        let guard = Guard { token: Some("ab+/cd==EF12".into()), loopback: false };
        for path in ["/?token=ab%2B%2Fcd%3D%3DEF12", "/?token=ab+/cd==EF12", "/?token=ab%2b/cd=%3dEF12&x=1"] {
            assert_eq!(check(&guard, "gpu7", None, path), Ok(()), "{path}");
        }
        for path in [
            "/?token=ab%20/cd==EF12",
            "/?token=ab%2",
            "/?token=%",
            "/?token=%zz",
            "/?token=%ff",
            "/?tokens=ab+/cd==EF12",
        ] {
            assert_eq!(check(&guard, "gpu7", None, path), Err(Refused::Token), "{path}");
        }
    }

    #[test]
    fn one_authorization_is_read_as_the_standard_says() {
        let guard = Guard { token: Some("secret".into()), loopback: false };
        let with = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            guard.check(&headers, &"/".parse().unwrap())
        };
        assert_eq!(with(&["bearer secret"]), Ok(()));
        assert_eq!(with(&["BEARER  secret"]), Ok(()));
        for wrong in [
            &["Basic secret"] as &[&str],
            &["secret"],
            &["Bearer"],
            &["Bearersecret"],
            &["Bearer secret", "Bearer secret"],
        ] {
            assert_eq!(with(wrong), Err(Refused::Token), "{wrong:?}");
        }
    }
}
