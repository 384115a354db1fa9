//! Where a server listens: `gpu1`, `gpu1:9835`, `[::1]:9835`, `http://gpu1:9835/`.

use std::fmt;
use std::str::FromStr;

/// Where a server listens.
///
/// ```
/// use vramkit_remote::Address;
///
/// let address: Address = "gpu1".parse()?;
/// assert_eq!(address.to_string(), "gpu1:9835"); // the server's own port
/// assert!("https://gpu1".parse::<Address>().is_err());
/// # Ok::<(), vramkit_remote::AddressError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// Why a text is no address.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Only plain HTTP is spoken.
    #[error(
        "`{0}`: only http is spoken; make a tunnel (ssh -L 9835:localhost:9835 HOST) and name its end here"
    )]
    Scheme(String),
    /// No name or number of a machine.
    #[error("`{0}` is no address: write HOST or HOST:PORT, such as gpu1:9835 or [::1]:9835")]
    Host(String),
    /// What follows the port, or the name, is of one page of a server.
    #[error("`{0}`: an address ends with its port: write HOST:PORT alone, without `/` and what follows it")]
    Path(String),
    /// No port.
    #[error("`{0}`: a port is a number from 1 to 65535")]
    Port(String),
}

const PORT: u16 = 9835;
/// A name of a machine is no longer.
const LONGEST: usize = 253;

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let rest = text.strip_prefix("http://").map_or(text, |rest| rest.strip_suffix('/').unwrap_or(rest));
        let start = || text.chars().take(LONGEST).collect::<String>();
        if rest.contains("://") {
            return Err(AddressError::Scheme(start()));
        }
        if rest.split_once('/').is_some_and(|(before, _)| !before.is_empty()) {
            return Err(AddressError::Path(start()));
        }
        let (host, port) = match rest.strip_prefix('[') {
            Some(inside) => {
                let (host, after) = inside.split_once(']').ok_or_else(|| AddressError::Host(start()))?;
                let is_number = host.parse::<std::net::Ipv6Addr>().is_ok();
                if !is_number || !(after.is_empty() || after.starts_with(':')) {
                    return Err(AddressError::Host(start()));
                }
                (host, after.strip_prefix(':'))
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_name = !host.is_empty() && host.len() <= LONGEST && host.chars().all(is_plain);
        if !is_name && !rest.starts_with('[') {
            return Err(AddressError::Host(start()));
        }
        let port = match port {
            Some(port) => {
                port.parse().ok().filter(|port| *port != 0).ok_or_else(|| AddressError::Port(start()))?
            }
            None => PORT,
        };
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, address) in [
            ("gpu1", "gpu1:9835"),
            ("gpu-1.cluster.local:80", "gpu-1.cluster.local:80"),
            ("10.0.0.7:9835", "10.0.0.7:9835"),
            ("[::1]", "[::1]:9835"),
            ("[fe80::1]:7", "[fe80::1]:7"),
            ("http://gpu1:9835/", "gpu1:9835"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), address);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            ":9835",
            "gpu1:",
            "gpu1:0",
            "gpu1:99999",
            "gpu1:9835/x",
            "gpu1/metrics",
            "a b",
            "::1",
            "[::1",
            "[x]:1",
            "[::1]x",
            "https://gpu1:9835",
            "ftp://gpu1",
            "gpu1\n:1",
            "--once",
            "ü:1",
            "http:///",
        ] {
            // What starts like an option is a name like others here: the command line has refused it before.
            assert!(text.parse::<Address>().is_err() || text.starts_with("--"), "{text:?}");
        }
        assert!("a".repeat(300).parse::<Address>().is_err());
        let error = "http://127.0.0.1:9835/metrics".parse::<Address>().unwrap_err();
        assert!(matches!(error, AddressError::Path(_)), "the port is right: {error}");
    }
}
