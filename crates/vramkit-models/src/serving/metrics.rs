//! One sample of a page of metrics in Prometheus' format: a name, labels, a value.

/// A sample.
pub(super) struct Sample<'l> {
    pub(super) name: &'l str,
    labels: &'l str,
    pub(super) value: f64,
}

impl<'l> Sample<'l> {
    /// The sample that a line is, if it is one of the two engines that say what their cache has.
    pub(super) fn read(line: &'l str) -> Option<Self> {
        if !line.starts_with("vllm:") && !line.starts_with("sglang:") {
            return None;
        }
        let (name, rest) = match line.find('{') {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => {
                let (name, value) = line.split_once(' ')?;
                return Some(Self { name, labels: "", value: first(value)? });
            }
        };
        let at = rest.rfind('}')?;
        Some(Self { name, labels: &rest[..at], value: first(&rest[at + 1..])? })
    }

    /// What a label says; nothing where it is empty or `None`.
    pub(super) fn label(&self, name: &str) -> Option<&'l str> {
        let mut rest = self.labels;
        loop {
            let (key, behind) = rest.split_once("=\"")?;
            let ends = closing(behind)?;
            let value = &behind[..ends];
            if key.trim_start_matches([',', ' ']) == name {
                return (!value.is_empty() && value != "None" && value != "null").then_some(value);
            }
            rest = &behind[ends + 1..];
        }
    }
}

/// Where the quote is that ends a value.
fn closing(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })
}

fn first(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_found_whatever_is_in_them() {
        let sample = Sample::read(r#"vllm:x{a="1,b=\"2\"",block_size="16", n="None"} 1.0"#).unwrap();
        assert_eq!((sample.name, sample.value), ("vllm:x", 1.0));
        assert_eq!(sample.label("block_size"), Some("16"));
        assert_eq!((sample.label("b"), sample.label("n")), (None, None));
        assert!(Sample::read("vllm:x{a=\"1\" 1.0").is_none() && Sample::read("go_threads 1").is_none());
        assert_eq!(Sample::read("sglang:y 2 1700").map(|sample| sample.value), Some(2.0));
    }
}
