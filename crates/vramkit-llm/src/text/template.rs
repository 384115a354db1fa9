//! A file's chat template: messages to the text that the model was trained on.
//!
//! In: messages. Out: text, the same as the template gives in `transformers`. A file's template is a program by a stranger: it has
//! fuel, which bounds its steps and what they make. That does not bound how deep its expressions and values go; where the file is not
//! trusted, it is rendered [apart](ChatTemplate::render_apart).

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::OnceLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value, context};
use vramkit_models::gguf::{GgufFile, GgufValue};

use super::apart;
use super::error::TemplateError;
use super::message::Message;
use super::template_functions::{self as functions, Refusal};
use super::tokenizer::Tokenizer;

const KEY: &str = "tokenizer.chat_template";
const NAME: &str = "chat";
/// The longest template that is read, bytes: the longest published ones have some twenty thousand.
const LONGEST: usize = 1 << 16;
/// Steps of a template, beside those that its messages are worth. Each instruction is one, and 64 bytes of what it makes.
const FUEL: u64 = 1 << 20;

/// A value that a template asks for by name: `enable_thinking`, `date_string`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// A truth value.
    Flag(bool),
    /// A text.
    Text(String),
}

/// A chat template.
///
/// ```
/// use vramkit_llm::text::{ChatTemplate, Message};
///
/// let source = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}";
/// let template = ChatTemplate::new(source, "<s>", "</s>")?;
/// assert_eq!(template.render(&[Message::new("user", "Hi")], true)?, "<|user|>Hi</s>");
/// # Ok::<(), vramkit_llm::text::TemplateError>(())
/// ```
#[derive(Debug)]
pub struct ChatTemplate {
    source: String,
    bos: String,
    eos: String,
    /// Made when it is first used: most who load a model do not chat, and a hostile source can end the program.
    environment: OnceLock<Result<Environment<'static>, String>>,
}

impl ChatTemplate {
    /// The template of a file.
    ///
    /// # Errors
    /// There is none, or as [`ChatTemplate::new`].
    pub fn from_gguf(file: &GgufFile, tokenizer: &Tokenizer) -> Result<Self, TemplateError> {
        let source = match file.header().metadata.get(KEY) {
            Some(GgufValue::Text(source)) => source,
            Some(_) => return Err(TemplateError::NotText),
            None => return Err(TemplateError::Missing),
        };
        let text =
            |token: Option<u32>| token.and_then(|token| tokenizer.token_text(token)).unwrap_or_default();
        Self::new(source, text(tokenizer.bos()), text(tokenizer.eos()))
    }

    /// A template from its source, with the texts of BOS and EOS; empty where there is no such token.
    ///
    /// # Errors
    /// A source of more than 64 KiB. Whether it is a template shows when it is used.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<Self, TemplateError> {
        if source.len() > LONGEST {
            return Err(TemplateError::TooLong { bytes: source.len(), most: LONGEST });
        }
        let (source, bos, eos) = (source.to_owned(), bos.to_owned(), eos.to_owned());
        Ok(Self { source, bos, eos, environment: OnceLock::new() })
    }

    /// As [`render`](Self::render), in a process of its own, for a template that a stranger wrote: one that overflows its stack, hangs
    /// or takes all memory ends that process and not this one. `renderer` is a program whose standard input and output are handed to
    /// [`answer_apart`](super::answer_apart); `vramkit` does so when asked for `chat-template`.
    ///
    /// # Errors
    /// As [`render`](Self::render), and [`TemplateError::Apart`].
    pub fn render_apart(
        &self,
        renderer: &mut Command,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, TemplateError> {
        apart::ask(renderer, [&self.source, &self.bos, &self.eos], messages, add_generation_prompt)
    }

    /// The text of a conversation; with `add_generation_prompt` it ends where the answer begins.
    ///
    /// # Errors
    /// It is no template; it refuses the messages, fails on them, or takes more work than any conversation needs.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, TemplateError> {
        self.render_with(messages, add_generation_prompt, &[])
    }

    /// As [`render`](Self::render), with values that the template asks for by name.
    ///
    /// # Errors
    /// As [`render`](Self::render).
    pub fn render_with(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        settings: &[(&str, Setting)],
    ) -> Result<String, TemplateError> {
        let said: usize = messages.iter().map(|message| message.role.len() + message.content.len()).sum();
        // A template may look at a message some ten times.
        let fuel = FUEL + said as u64;
        let message = |message: &Message| {
            context! { role => message.role.as_str(), content => message.content.as_str() }
        };
        let named = |(name, setting): &(&str, Setting)| {
            let value = match setting {
                Setting::Flag(flag) => Value::from(*flag),
                Setting::Text(text) => Value::from(text.as_str()),
            };
            ((*name).to_owned(), value)
        };
        let settings: BTreeMap<String, Value> = settings.iter().map(named).collect();
        let context = context! {
            messages => messages.iter().map(message).collect::<Vec<Value>>(),
            add_generation_prompt,
            bos_token => self.bos.as_str(),
            eos_token => self.eos.as_str(),
            // `transformers` gives these, with no value.
            tools => (),
            documents => (),
            ..Value::from(settings)
        };
        let compiled = self.environment.get_or_init(|| compile(&self.source));
        let mut environment = compiled.clone().map_err(TemplateError::Syntax)?;
        environment.set_fuel(Some(fuel));
        let rendered = environment.get_template(NAME).and_then(|template| template.render(context));
        rendered.map_err(|error| match Refusal::within(&error) {
            Some(reason) => TemplateError::Refused(shortened(&reason)),
            None if error.kind() == ErrorKind::OutOfFuel => TemplateError::OutOfFuel { fuel },
            None => TemplateError::Failed(one_line(&error)),
        })
    }
}

fn compile(source: &str) -> Result<Environment<'static>, String> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.map_err(|error| one_line(&error))?);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    functions::add_to(&mut environment);
    environment
        .add_template_owned(NAME, functions::without_generation_blocks(source))
        .map_err(|error| one_line(&error))?;
    Ok(environment)
}

/// Most characters of what a template says when it refuses.
const SAID: usize = 500;

/// What a template says, which may be anything: on one line, its beginning.
fn shortened(reason: &str) -> String {
    let mut line: String = reason.chars().take(SAID).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if reason.chars().nth(SAID).is_some() {
        line.push('…');
    }
    line
}

/// What went wrong, and where.
fn one_line(error: &minijinja::Error) -> String {
    let reason = error.to_string();
    reason.lines().next().unwrap_or_default().to_owned()
}
