//! Servers that are known, by their programs.

use vramkit_fit::Backend;

use super::found::Found;
use super::{llama_server, vllm};

/// Variables that say which cards are seen.
const DEVICES: &[&str] =
    &["CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GGML_VK_VISIBLE_DEVICES"];
/// How the names of variables begin that may change memory.
const MEMORY: &[&str] = &["GGML_", "PYTORCH_", "VLLM_"];
/// Variables of such names that do not.
const HARMLESS: &[&str] = &[
    "GGML_VK_VISIBLE_DEVICES",
    "VLLM_API_KEY",
    "VLLM_CACHE_ROOT",
    "VLLM_CONFIG_ROOT",
    "VLLM_CONFIGURE_LOGGING",
    "VLLM_DO_NOT_TRACK",
    "VLLM_HOST_IP",
    "VLLM_LOGGING_LEVEL",
    "VLLM_NO_USAGE_STATS",
    "VLLM_PORT",
    "VLLM_USE_MODELSCOPE",
];

/// A server by its program and arguments; `None` when it is another program.
pub(super) fn server(
    program: &str,
    rest: &[String],
    variables: &[(String, String)],
    backend: Backend,
) -> Option<Found> {
    let first = rest.first().map(String::as_str);
    let mut found = if program.starts_with("llama-server") {
        llama_server::from_words(rest, variables, backend)
    } else if program == "llama" && matches!(first, Some("serve" | "server")) {
        llama_server::from_words(&rest[1..], variables, backend)
    } else if program == "vllm" && first == Some("serve") {
        vllm::from_words(&rest[1..], backend)
    } else if program.starts_with("python") {
        let module = rest.iter().position(|word| word == "-m")? + 1;
        let is_server = |name: &String| {
            name == "vllm.entrypoints.openai.api_server" || name == "vllm.entrypoints.api_server"
        };
        rest.get(module).filter(|name| is_server(name))?;
        vllm::from_words(&rest[module + 1..], backend)
    } else {
        return None;
    };
    for (name, value) in variables {
        let name = name.as_str();
        if DEVICES.contains(&name) && value.contains(',') {
            found.note(format!("`{name}={value}`: several cards are seen; everything is counted on one"));
        } else if MEMORY.iter().any(|start| name.starts_with(start)) && !HARMLESS.contains(&name) {
            found.note(format!("`{name}={value}`: what it does to memory is not counted"));
        }
    }
    Some(found)
}

/// A program's name without its folder and ending.
pub(super) fn program(word: &str) -> &str {
    let name = word.rsplit(['/', '\\']).next().unwrap_or(word);
    name.strip_suffix(".exe").unwrap_or(name)
}
