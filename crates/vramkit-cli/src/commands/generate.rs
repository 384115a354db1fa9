//! `vramkit generate`.

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};

use vramkit_ask::{GenerateQuestion, GenerateReport, Prompt, Sampling};

use crate::args::GenerateOptions;
use crate::caller::Caller;
use crate::failure::Failure;
use crate::printable::printable;

/// The command that renders a chat template from standard input to standard output, and nothing else.
const RENDERER: &str = "chat-template";

/// Renders one chat template for another process of this program.
pub fn render() -> Result<bool, Failure> {
    let answered = vramkit_ask::answer_chat_template(io::stdin().lock(), io::stdout().lock());
    answered.map_err(|error| Failure::Input(format!("{RENDERER}: {error}")))?;
    Ok(true)
}

/// The program that renders a file's chat template: this one, in a process of its own.
pub fn renderer(caller: &Caller) -> Result<Vec<OsString>, Failure> {
    caller.again(RENDERER)
}

pub fn run(options: &GenerateOptions, caller: &mut Caller) -> Result<bool, Failure> {
    let prompt = match (&options.prompt, &options.chat) {
        (Some(text), _) => Prompt::Text(text.clone()),
        (None, Some(text)) => Prompt::Chat(text.clone()),
        (None, None) => Prompt::Tokens(options.tokens.clone()),
    };
    let question = GenerateQuestion {
        most_tokens: options.max_output_tokens,
        sampling: Sampling {
            temperature: options.temperature,
            top_k: options.top_k,
            top_p: options.top_p,
            seed: options.seed,
        },
        context: options.ctx,
        threads: options.threads,
        step_tokens: options.ubatch,
        cache: options.cache_type,
        capacity: options.capacity,
        top: options.top,
        renderer: match options.chat {
            Some(_) => Some(renderer(caller)?),
            None => None,
        },
        ..GenerateQuestion::new(&options.model, prompt)
    };
    let mut written = Ok(());
    let is_terminal = io::stdout().is_terminal();
    let mut stream = |piece: &str| {
        if !options.json && written.is_ok() {
            let mut out = io::stdout().lock();
            // A model's text is a stranger's too.
            let piece = if is_terminal { printable(piece) } else { piece.to_owned() };
            written = out.write_all(piece.as_bytes()).and_then(|()| out.flush());
        }
        // Nobody reads it any more.
        written.is_ok()
    };
    let report = vramkit_ask::generate(&question, &mut stream)?;
    written?;
    if options.json {
        caller.json(&report)?
    } else {
        caller.text("\n")?;
        if io::stderr().is_terminal() {
            anstream::eprint!("{}", summary(&report));
        }
    }
    if report.finish == "context" {
        let (had, context) = (report.tokens.len(), report.context_tokens);
        caller.note(&format!(
            "note: the context of {context} tokens is full after {had} of the output; a larger --ctx gives more\n"
        ))?;
    }
    Ok(true)
}

/// What it took, for a person who looks on.
fn summary(report: &GenerateReport) -> String {
    format!(
        "\n{} tokens in, {} out ({}): {:.0} and {:.0} tokens/s\nweights {}, cache {} as granted ({} a token), workspace {}; {} left after \
         unloading\n",
        report.prompt_tokens.len(),
        report.tokens.len(),
        report.finish,
        report.prefill_tokens_per_second,
        report.decode_tokens_per_second,
        report.weights_bytes,
        report.peak_kv_granted_bytes,
        report.kv_bytes_per_token,
        report.workspace_bytes,
        report.used_after_unload_bytes,
    )
}
