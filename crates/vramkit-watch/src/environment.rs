//! What a process's environment says of the cards that it may see, and so which card its `cuda:0` is. A guess: a program may
//! change its variables after it began, and which card is the first of several kinds is the driver's choice.

/// The variables that matter, as they were when the process began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `CUDA_VISIBLE_DEVICES`.
    cuda: Option<String>,
    /// `NVIDIA_VISIBLE_DEVICES`, by which a container's runtime gives it cards.
    container: Option<String>,
    /// Whether `CUDA_DEVICE_ORDER` is that of the bus, which is the management library's too.
    by_bus: bool,
    /// `SLURM_JOB_ID`.
    pub(crate) slurm_job: Option<u64>,
}

/// Longest list that is looked at.
const LONGEST: usize = 4096;

/// A card as the lists know it.
pub(crate) struct Card<'a> {
    /// Its place among all cards.
    pub(crate) place: usize,
    pub(crate) name: &'a str,
    pub(crate) uuid: Option<&'a str>,
}

impl Environment {
    /// Of the bytes of `/proc/PID/environ`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut found = Self::default();
        for variable in bytes.split(|byte| *byte == 0) {
            let Some((name, value)) =
                std::str::from_utf8(variable).ok().and_then(|text| text.split_once('='))
            else {
                continue;
            };
            let list = || (value.len() <= LONGEST).then(|| value.to_owned());
            match name {
                "CUDA_VISIBLE_DEVICES" => found.cuda = list(),
                "NVIDIA_VISIBLE_DEVICES" => found.container = list(),
                "CUDA_DEVICE_ORDER" => found.by_bus = value == "PCI_BUS_ID",
                "SLURM_JOB_ID" => found.slurm_job = value.parse().ok(),
                _ => {}
            }
        }
        found
    }

    /// Which of the cards the process's `number`-th is; none where the environment does not say. `in_container`: whether a
    /// runtime chose the cards.
    pub(crate) fn card(&self, number: usize, cards: &[Card<'_>], in_container: bool) -> Option<usize> {
        // Of one kind, all orders are that of the bus; identities have no order.
        let alike = cards.iter().all(|card| card.name == cards[0].name);
        if !self.by_bus && !alike && !self.names_identity(number) {
            return None;
        }
        let mut seen: Vec<usize> = (0..cards.len()).collect();
        let mut says = false;
        if let Some(list) = self
            .container
            .as_deref()
            .filter(|list| in_container && !matches!(*list, "" | "all" | "void" | "none"))
        {
            seen = chosen(list, &seen, cards);
            // A runtime gives them in the order of the bus.
            seen.sort_unstable();
            says = true;
        }
        if let Some(list) = self.cuda.as_deref() {
            seen = chosen(list, &seen, cards);
            says = true;
        }
        seen.get(number).filter(|_| says).map(|&place| cards[place].place)
    }

    /// Whether the `number`-th is chosen by its identity, and so is every one before it: a number among them may end the list.
    fn names_identity(&self, number: usize) -> bool {
        let words = self.cuda.as_deref().unwrap_or_default().split(',');
        let words: Vec<&str> = words.take(number + 1).map(str::trim).collect();
        words.len() == number + 1 && words.iter().all(|word| word.starts_with("GPU-"))
    }
}

/// Those of a list: numbers among what is seen, or beginnings of identities; the first that is none ends it.
fn chosen(list: &str, seen: &[usize], cards: &[Card<'_>]) -> Vec<usize> {
    let one = |word: &str| match word.parse::<usize>() {
        Ok(number) => seen.get(number).copied(),
        Err(_) if word.is_empty() => None,
        Err(_) => {
            let begins = |place: &usize| cards[*place].uuid.is_some_and(|uuid| uuid.starts_with(word));
            // As CUDA has it, the beginning of two is of none.
            let mut found = seen.iter().copied().filter(begins);
            found.next().filter(|_| found.next().is_none())
        }
    };
    list.split(',').map(|word| one(word.trim())).take_while(Option::is_some).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_say_which_card_is_the_first() {
        let card =
            |place, name| Card { place, name, uuid: Some(["GPU-a0", "GPU-b1", "GPU-c2", "GPU-d3"][place]) };
        let alike: Vec<Card<'_>> = (0..4).map(|place| card(place, "H100")).collect();
        let mixed: Vec<Card<'_>> = vec![card(0, "T4"), card(1, "H100")];
        let of = |text: &str| Environment::of(text.replace(' ', "\0").as_bytes());
        for (text, number, expected) in [
            ("A=1", 0, None),
            ("CUDA_VISIBLE_DEVICES=2", 0, Some(2)),
            ("CUDA_VISIBLE_DEVICES=3,1", 1, Some(1)),
            ("CUDA_VISIBLE_DEVICES=3,1", 2, None),
            ("CUDA_VISIBLE_DEVICES=GPU-b,0", 0, Some(1)),
            ("CUDA_VISIBLE_DEVICES=1,-1,0", 1, None),
            ("CUDA_VISIBLE_DEVICES=", 0, None),
            ("CUDA_VISIBLE_DEVICES=NoDevFiles", 0, None),
            ("NVIDIA_VISIBLE_DEVICES=3,2", 0, Some(2)),
            ("NVIDIA_VISIBLE_DEVICES=GPU-d3,GPU-b1 CUDA_VISIBLE_DEVICES=1", 0, Some(3)),
            ("NVIDIA_VISIBLE_DEVICES=all", 0, None),
        ] {
            assert_eq!(of(text).card(number, &alike, true), expected, "{text}");
        }
        assert_eq!(of("NVIDIA_VISIBLE_DEVICES=3").card(0, &alike, false), None, "there is no container");
        assert_eq!(of("CUDA_VISIBLE_DEVICES=1").card(0, &mixed, false), None, "the fastest may come first");
        assert_eq!(of("CUDA_VISIBLE_DEVICES=1 CUDA_DEVICE_ORDER=PCI_BUS_ID").card(0, &mixed, false), Some(1));
        for (list, number, expected) in [
            ("GPU-b1", 0, Some(1)),
            ("GPU-b,GPU-a0", 1, Some(0)),
            ("GPU-b1,0", 1, None),
            ("1,GPU-b1", 1, None),
            ("GPU-b1", 1, None),
            ("GPU-", 0, None),
            ("", 0, None),
        ] {
            let environment = of(&format!("CUDA_VISIBLE_DEVICES={list}"));
            assert_eq!(environment.card(number, &mixed, false), expected, "{list}");
        }
        assert_eq!(of("SLURM_JOB_ID=12").slurm_job, Some(12));
        assert_eq!(of("SLURM_JOB_ID=x").slurm_job, None);
        assert_eq!(Environment::default().card(0, &[], false), None);
    }
}
