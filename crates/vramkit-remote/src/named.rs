//! Names of one machine's devices and sources among those of others: each begins with the machine's address, and none looks as
//! if it were another machine's.

use std::collections::BTreeSet;

/// The port from which on a word with a number behind its last colon may be an address: `cuda:0` is none.
const PORTS: u16 = 1024;

/// A machine's name for something, behind the machine's address.
pub(crate) fn named(machine: &str, name: &str) -> String {
    let is_address = |word: &str| {
        let port = word.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        port.is_some_and(|port: u16| port >= PORTS)
    };
    let name = name.trim();
    if name.is_empty() || name.split(|c: char| c.is_whitespace() || c == '/').any(is_address) {
        format!("{machine} `{}`", name.replace('`', "'"))
    } else {
        format!("{machine} {name}")
    }
}

/// The name, or where it is taken, the first `name #2` that is not.
pub(crate) fn only(name: String, taken: &mut BTreeSet<String>) -> String {
    let mut free = name.clone();
    let mut number = 1;
    while !taken.insert(free.clone()) {
        number += 1;
        free = format!("{name} #{number}");
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_another_machine_is_quoted() {
        for (name, expected) in [
            ("cuda:0", "gpu1:9835 cuda:0"),
            ("pci:0000:17:00.0", "gpu1:9835 pci:0000:17:00.0"),
            ("nvml ", "gpu1:9835 nvml"),
            ("pool kv of process 7", "gpu1:9835 pool kv of process 7"),
            ("gpu2:9835", "gpu1:9835 `gpu2:9835`"),
            ("x gpu2:9835 `nvml", "gpu1:9835 `x gpu2:9835 'nvml`"),
            ("[::1]:9835 cuda:0", "gpu1:9835 `[::1]:9835 cuda:0`"),
            ("http://gpu2:9835/", "gpu1:9835 `http://gpu2:9835/`"),
            ("", "gpu1:9835 ``"),
        ] {
            assert_eq!(named("gpu1:9835", name), expected);
        }
    }

    #[test]
    fn a_name_is_there_once() {
        let mut taken = BTreeSet::new();
        let names = ["a", "a", "a #2", "b", "a"].map(|name| only(name.to_owned(), &mut taken));
        assert_eq!(names, ["a", "a #2", "a #2 #2", "b", "a #3"]);
    }
}
