//! llama-swap's configurations as they are.

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::{anywhere, data, nobody, read};
use proptest::prelude::*;
use vramkit_fit::{FlashAttention, GpuLayers, Runtime};
use vramkit_sets::{Kind, Reading, SetsError, check_promises, read_text};
use vramkit_units::ByteSize;

fn text(yaml: &str) -> Result<vramkit_sets::SetsFile, SetsError> {
    read_text(
        Path::new("config.yaml"),
        yaml.to_owned(),
        &Reading { locate: &anywhere, variable: &nobody, ..Reading::default() },
    )
}

fn reason(yaml: &str) -> (usize, String) {
    match text(yaml) {
        Err(SetsError::Invalid { line, reason, .. }) => (line, reason),
        other => panic!("{yaml}: {other:?}"),
    }
}

#[test]
fn eight_models_with_macros_containers_and_another_engine() {
    let file = read("eight-models.yaml");
    assert_eq!((file.kind, file.entries.len()), (Kind::LlamaSwap, 8));
    let names: Vec<&str> = file.entries.iter().map(|entry| entry.name.as_str()).collect();
    assert_eq!(names[0], "qwen3-14b");

    let chat = file.entry("gpt-4o").expect("an alias");
    assert_eq!(chat.written.as_deref(), Some("/srv/models/Qwen3-14B-Q4_K_M.gguf"));
    assert_eq!(chat.options.runtime, Runtime::LlamaCpp);
    assert_eq!((chat.options.context, chat.options.sequences), (Some(16_384), Some(1)));
    assert_eq!(chat.options.cache_type_k.map(|kind| kind.name()), Some("q8_0"));
    assert_eq!(chat.options.flash_attention, FlashAttention::On);
    assert_eq!(chat.options.gpu_layers, GpuLayers::Last(99));
    assert_eq!((chat.line, chat.ttl_seconds), (19, Some(1_800)));
    assert_eq!((&chat.missing, &chat.notes), (&None, &Vec::new()));
    assert!(file.entry("qwen3-14b:chat").is_some());

    let coder = file.entry("qwen3-coder-30b").expect("a model");
    assert!(coder.written.as_deref().is_some_and(|path| path.ends_with("A3B Instruct-Q4_K_M.gguf")));
    assert_eq!((coder.options.context, coder.options.sequences), (Some(32_768), Some(2)));
    assert_eq!(coder.notes, ["`--n-cpu-moe`: experts on the host are counted on the device"]);

    let vision = file.entry("gemma3:12b").expect("a model");
    assert!(vision.options.swa_full);
    assert_eq!((vision.notes.len(), vision.ttl_seconds), (1, Some(600)));

    assert_eq!(file.entry("phi-4-mini").expect("a model").options.micro_batch, Some(256));
    assert_eq!(file.entry("org/embed v1.5").expect("a model").options.batch, Some(8_192));

    let reranker = file.entry("reranker").expect("a model");
    assert_eq!(reranker.written.as_deref(), Some("/srv/models/bge-reranker-v2-m3-Q8_0.gguf"));
    assert_eq!(reranker.options.sequences, Some(2));

    let vllm = file.entry("vllm-small").expect("a model");
    assert_eq!(vllm.options.runtime, Runtime::Vllm);
    assert_eq!((vllm.options.context, vllm.options.max_num_seqs), (Some(32_000), Some(8)));
    assert_eq!(vllm.options.gpu_memory_utilization, 0.35);
    assert_eq!(vllm.notes, ["`--enforce-eager` changes memory and is not covered"]);

    let whisper = file.entry("whisper").expect("a model");
    assert!(whisper.ready().is_none());
    assert!(whisper.missing.as_deref().is_some_and(|reason| reason.contains("whisper-server")));

    assert_eq!(file.promised.len(), 1, "one model at a time");
    assert_eq!(file.promised[0].together.combinations(100).expect("few").len(), 8);
}

#[test]
fn a_model_that_is_not_here_has_a_reason() {
    let reading = Reading { variable: &nobody, ..Reading::default() };
    let file = vramkit_sets::read_sets_with(&data("eight-models.yaml"), &reading).expect("a file");
    let chat = &file.entries[0];
    assert!(chat.model.is_none());
    assert_eq!(chat.missing.as_deref(), Some("`/srv/models/Qwen3-14B-Q4_K_M.gguf` is not here"));
}

fn sets(file: &vramkit_sets::SetsFile) -> Vec<(String, Vec<String>)> {
    let each = file.promised.iter().map(|set| {
        let all = set.together.combinations(100).expect("few");
        (set.name.clone(), all.into_iter().map(|models| models.join(" ")).collect())
    });
    each.collect()
}

#[test]
fn a_groups_member_that_is_no_model_is_a_note() {
    let yaml =
        "models:\n  a: {cmd: llama-server -m a.gguf}\ngroups:\n  g:\n    members:\n      - a\n      - zz\n";
    let file = text(yaml).expect("llama-swap only warns");
    assert_eq!(file.notes, ["line 7: group `g`: there is no model `zz`"]);
    let sizes = [("a".to_owned(), ByteSize::gib(1))];
    let promises = check_promises(&file.promised, &sizes, ByteSize::gib(2));
    assert_eq!((promises.len(), promises[0].fits), (1, None));
    assert_eq!(promises[0].unknown, ["zz"]);
}

#[test]
fn groups_promise_what_can_be_loaded_at_the_same_time() {
    let file = read("groups.yaml");
    let expected = [
        ("always + chat", vec!["embed large rerank", "embed rerank small"]),
        ("always + (models of no group)", vec!["embed other rerank"]),
    ];
    let expected =
        expected.map(|(name, sets)| (name.to_owned(), sets.into_iter().map(str::to_owned).collect()));
    assert_eq!(sets(&file), expected);
    assert_eq!(file.promised[0].line, Some(2));
}

#[test]
fn a_matrix_promises_its_sets_and_the_rest_alone() {
    let file = read("matrix.yaml");
    let expected = [
        ("llms", vec!["gemma", "qwen/3:8b"]),
        ("standard", vec!["gemma voice", "qwen/3:8b voice"]),
        ("with_rerank", vec!["gemma rerank voice", "qwen/3:8b rerank voice"]),
        ("(each alone)", vec!["llama-70B"]),
    ];
    let expected =
        expected.map(|(name, sets)| (name.to_owned(), sets.into_iter().map(str::to_owned).collect()));
    assert_eq!(sets(&file), expected);
    let ttl = |name: &str| file.entry(name).expect("a model").ttl_seconds;
    assert_eq!((ttl("gemma"), ttl("qwen/3:8b"), ttl("voice")), (Some(60), Some(5), None));
}

#[test]
fn what_llama_swap_refuses_is_refused_with_its_line() {
    let models = "models:\n  a: {cmd: llama-server -m a}\n  b: {cmd: llama-server -m b}\n";
    for (after, line, part) in [
        ("groups: {g: {members: [a]}, h: {members: [a]}}", 4, "again in `h`"),
        ("groups: {g: {members: [a], swap: maybe}}", 4, "`swap`"),
        ("matrix: {sets: {s: a & zz}}", 4, "`zz`"),
        ("matrix: {sets: {}}", 4, "at least one set"),
        ("matrix: {vars: {x: zz}, sets: {s: a}}", 4, "`zz`"),
        ("matrix: {vars: {x_y: a}, sets: {s: a}}", 4, "`x_y`"),
        ("matrix: {evict_costs: {a: 0}, sets: {s: a}}", 4, "over 0"),
        ("groups: {g: {members: [a]}}\nmatrix: {sets: {s: a}}", 4, "beside `matrix`"),
        ("groups: {g: {members: [a]}}\nrouting: {router: {use: group}}", 5, "`routing.router`"),
        ("routing: {router: {use: matrix}}", 4, "no matrix"),
        ("routing: {router: {use: magic}}", 4, "`magic`"),
        ("models: {}", 4, "there twice"),
        ("macros: {PORT: 3}", 4, "`PORT`"),
        ("macros: {m: [3]}", 4, "`m`"),
    ] {
        let (at, reason) = reason(&format!("{models}{after}\n"));
        assert!(at == line && reason.contains(part), "{after}: line {at}: {reason}");
    }
    assert!(reason("models: {a: {cmd: 'llama-server ${gone}'}}").1.contains("`gone`"));
    assert!(reason("models: {a: {cmd: \"llama-server 'open\"}}").1.contains("quote"));
    assert!(reason("just text").1.contains("`models`"));
    assert!(reason("").1.contains("empty"));
    assert_eq!(reason("models:\n  a: [\n").0, 3);
}

#[test]
fn variables_that_are_not_set_are_said_where_they_matter() {
    let yaml = "apiKeys: [${env.KEY}]\nmodels:\n  a: {cmd: \"llama-server -m ${env.DIR}/a.gguf -c 1\"}\n  \
                b: {cmd: \"llama-server -m b.gguf -c 1 -ngl 1 --api-key ${env.KEY}\"}\n";
    let file = text(yaml).expect("a file");
    assert!(file.entries[0].missing.as_deref().is_some_and(|reason| reason.contains("`DIR` is not set")));
    assert_eq!(file.entries[1].missing, None);
    assert!(file.entries[1].notes[0].contains("`KEY` is not set"));
}

#[test]
fn aliases_of_aliases_do_not_fill_memory() {
    let mut yaml = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..30 {
        let refers = vec![format!("*a{}", i - 1); 9].join(", ");
        yaml += &format!("a{i}: &a{i} [{refers}]\n");
    }
    assert!(reason(&(yaml + "models: {a: {cmd: x}}\n")).1.contains("aliases"));
    assert!(reason(&format!("models: {}", "[".repeat(100_000))).1.contains("limit"));
    assert!(reason(&format!("models:\n  {}", "- ".repeat(50_000))).1.contains("within each other"));
}

/// A group of the simulation: whether it swaps, is exclusive, is persistent; its members.
type Group = (bool, bool, bool, BTreeSet<usize>);

/// Every set of models that loading one after the other can lead to, by the rule of a single load.
fn reached(groups: &[Group], models: usize) -> BTreeSet<BTreeSet<usize>> {
    let of = |model: usize| groups.iter().position(|group| group.3.contains(&model)).expect("in a group");
    let load = |running: &BTreeSet<usize>, target: usize| {
        let group = of(target);
        let (swap, exclusive, ..) = groups[group];
        let stays = |other: &usize| {
            let theirs = of(*other);
            if theirs == group { !swap } else { !exclusive || groups[theirs].2 }
        };
        let mut after: BTreeSet<usize> = running.iter().copied().filter(stays).collect();
        after.insert(target);
        after
    };
    let mut seen = BTreeSet::from([BTreeSet::new()]);
    let mut open: Vec<BTreeSet<usize>> = vec![BTreeSet::new()];
    while let Some(running) = open.pop() {
        for target in 0..models {
            let after = load(&running, target);
            if seen.insert(after.clone()) {
                open.push(after);
            }
        }
    }
    seen
}

fn maximal(sets: BTreeSet<BTreeSet<usize>>) -> BTreeSet<BTreeSet<usize>> {
    let inside = |set: &BTreeSet<usize>| sets.iter().any(|other| other != set && set.is_subset(other));
    sets.iter().filter(|set| !inside(set)).cloned().collect()
}

proptest! {
    #[test]
    fn promised_groups_are_what_loading_leads_to(
        flags in prop::collection::vec((any::<bool>(), any::<bool>(), any::<bool>()), 3),
        members in prop::collection::vec(0..4usize, 1..=6),
    ) {
        let mut groups: Vec<Group> = flags.into_iter().map(|(a, b, c)| (a, b, c, BTreeSet::new())).collect();
        groups.push((true, true, false, BTreeSet::new())); // those of no group
        members.iter().enumerate().for_each(|(model, group)| { groups[*group].3.insert(model); });
        let mut yaml = "models:\n".to_owned();
        (0..members.len()).for_each(|model| yaml += &format!("  m{model}: {{cmd: llama-server -m a}}\n"));
        yaml += "groups:\n";
        for (number, (swap, exclusive, persistent, members)) in groups.iter().enumerate().take(3) {
            let members: Vec<String> = members.iter().map(|model| format!("m{model}")).collect();
            yaml += &format!(
                "  g{number}: {{swap: {swap}, exclusive: {exclusive}, persistent: {persistent}, members: [{}]}}\n",
                members.join(", "),
            );
        }
        let file = text(&yaml).expect("a configuration");
        let number = |name: &str| name[1..].parse::<usize>().expect("a number");
        let promised = file.promised.iter().flat_map(|set| set.together.combinations(1_000).expect("few"));
        let promised = promised.map(|models| models.into_iter().map(number).collect()).collect();
        prop_assert_eq!(maximal(promised), maximal(reached(&groups, members.len())));
    }
}
