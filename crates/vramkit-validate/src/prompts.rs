//! From a data set to the requests of an experiment.
//!
//! ```text
//! Alpaca, ShareGPT ──► messages ──► chat template ──► text ──► tokens ──┐
//! lengths ─────────────────────────────────────────────► how many ──┴──► requests that fit the context, the others counted
//! ```

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::process::Command;

use vramkit::units::SplitMix64;
use vramkit_llm::text::{Message, TemplateError};
use vramkit_llm::{AdapterError, ChatTemplate, Special, Tokenizer};
use vramkit_models::chats::{Entry, Speaker, Turn, read_chats};
use vramkit_models::gguf::GgufFile;
use vramkit_models::traffic::{BadRows, CHARACTERS_A_TOKEN, read_traffic};

use crate::error::ValidateError;
use crate::question::{Progress, Source, ValidateQuestion, told};

/// What a request asks of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Prompt {
    /// These tokens; the model ends the answer.
    Text(Vec<u32>),
    /// As many tokens, whichever, and an output of as many.
    Lengths { prompt: usize, output: usize },
}

impl Prompt {
    /// Its tokens.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(tokens) => tokens.len(),
            Self::Lengths { prompt, .. } => *prompt,
        }
    }
}

/// The requests of a data set, in the order in which they come.
#[derive(Debug)]
pub(crate) struct Prompts {
    pub requests: Vec<Prompt>,
    /// Requests that cannot be used.
    pub left_out: usize,
    /// Most tokens of a sequence that the experiment needs.
    pub context: usize,
    pub notes: Vec<String>,
}

impl Prompts {
    /// Reads the data set of a question, for a model.
    ///
    /// # Errors
    /// A file that cannot be read or is of another kind; a model without a tokenizer; not one request that can be used.
    pub fn read(
        question: &ValidateQuestion,
        model: &GgufFile,
        watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Self, ValidateError> {
        let trained = model.shape()?.longest_context().and_then(|most| usize::try_from(most).ok());
        let context = question.context.or(trained).unwrap_or(usize::MAX);
        let mut notes = Vec::new();
        if let Some(trained) = trained.filter(|trained| context > *trained) {
            notes.push(format!(
                "a context of {context} tokens was asked for, and the model was made for {trained}"
            ));
        }
        let (mut requests, refused) = match &question.source {
            Source::Lengths(_) => (lengths(question, &mut notes)?, Refused::default()),
            Source::Alpaca(_) | Source::ShareGpt(_) => texts(question, model, watch, &mut notes)?,
        };
        let file = question.source.path().display();
        let rows = requests.len() + refused.count;
        if let Some(why) = &refused.why {
            notes.push(format!("{} of {rows} requests left out: {why}", refused.count));
        }
        let before = requests.len();
        // Behind a prompt there is room for a token that is written, and for one that ends the sequence.
        requests.retain(|prompt| prompt.len().saturating_add(2) <= context);
        let too_long = before - requests.len();
        if too_long > 0 {
            notes.push(format!(
                "{too_long} of {rows} prompts left out: no room for an output behind them in the context of {context} tokens"
            ));
        }
        if requests.is_empty() {
            let too_long = too_long > 0;
            let why = refused.why.filter(|_| !too_long);
            let why = why.unwrap_or_else(|| {
                format!("no room for an output behind them in a context of {context} tokens")
            });
            return Err(ValidateError::NoPrompts { file: file.to_string(), rows, why, too_long });
        }
        shuffle(&mut requests, question.seed);
        let longest = requests.iter().map(|prompt| prompt.len() + outputs(question, prompt) + 1).max();
        let context = longest.unwrap_or(1).min(context);
        Ok(Self { requests, left_out: too_long + refused.count, context, notes })
    }
}

/// Most tokens of output that a request may have, its context aside.
pub(crate) fn outputs(question: &ValidateQuestion, prompt: &Prompt) -> usize {
    match prompt {
        Prompt::Text(_) => question.most_output_tokens,
        Prompt::Lengths { output, .. } => question.most_output_tokens.min(*output),
    }
}

/// Any order alike (Fisher and Yates).
fn shuffle(requests: &mut [Prompt], seed: u64) {
    let mut random = SplitMix64::new(seed);
    for last in (1..requests.len()).rev() {
        requests.swap(last, random.below(last + 1));
    }
}

fn lengths(question: &ValidateQuestion, notes: &mut Vec<String>) -> Result<Vec<Prompt>, ValidateError> {
    let path = question.source.path();
    let bad_rows = if question.leave_out_bad_rows { BadRows::LeaveOut } else { BadRows::Refuse };
    let traffic = read_traffic(path, bad_rows)?;
    if traffic.left_out > 0 {
        notes.push(format!("{} rows that can be no request were left out", traffic.left_out));
    }
    note_unused(traffic.requests.len(), question, notes);
    if traffic.estimated {
        notes.push(format!("lengths are estimated: {CHARACTERS_A_TOKEN} characters to a token"));
    }
    if question.scale != 1.0 {
        notes.push(format!("all lengths are {} of what the file says, and at least 1", question.scale));
    }
    let scaled = |tokens: u32| ((f64::from(tokens) * question.scale).round() as usize).max(1);
    let kept = traffic.requests.iter().take(question.most_samples);
    Ok(kept.map(|row| Prompt::Lengths { prompt: scaled(row.prompt), output: scaled(row.output) }).collect())
}

/// Says that the data set goes on behind the entries that are used.
fn note_unused(entries: usize, question: &ValidateQuestion, notes: &mut Vec<String>) {
    if entries > question.most_samples {
        notes.push(format!("the first {} of {entries} entries are used", question.most_samples));
    }
}

/// Requests that cannot be used, and why the first of them.
#[derive(Debug, Default)]
struct Refused {
    count: usize,
    why: Option<String>,
}

impl Refused {
    fn add(&mut self, why: impl FnOnce() -> String) {
        self.count += 1;
        self.why.get_or_insert_with(why);
    }
}

fn texts(
    question: &ValidateQuestion,
    model: &GgufFile,
    watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    notes: &mut Vec<String>,
) -> Result<(Vec<Prompt>, Refused), ValidateError> {
    let file = question.source.path().display().to_string();
    let entries = read_chats(question.source.path())?;
    note_unused(entries.len(), question, notes);
    let tokenizer = Tokenizer::from_gguf(model).map_err(|error| vramkit_llm::LoadError::Tokenizer {
        model: question.model.display().to_string(),
        error,
    })?;
    let template = match ChatTemplate::from_gguf(model, &tokenizer) {
        Ok(template) => Some(template),
        Err(TemplateError::Missing) => {
            notes.push("the model has no chat template: prompts are plain text".to_owned());
            None
        }
        Err(error) => return Err(AdapterError::Template(error.into()).into()),
    };
    let mut others = BTreeSet::new();
    let (mut prompts, mut refused) = (Vec::new(), Refused::default());
    for entry in entries.into_iter().take(question.most_samples) {
        let conversations = match (entry, &question.source) {
            (Entry::Instruction { instruction, input, .. }, Source::Alpaca(_)) => {
                vec![Conversation::Instruction(instruction, input)]
            }
            (Entry::Conversation(turns), Source::ShareGpt(_)) => requests(turns, &mut others),
            (Entry::Instruction { .. }, _) => {
                let found = "Alpaca's instructions";
                return Err(ValidateError::OtherKind { file, found, asked: "ShareGPT's conversations" });
            }
            (Entry::Conversation(_), _) => {
                let found = "ShareGPT's conversations";
                return Err(ValidateError::OtherKind { file, found, asked: "Alpaca's instructions" });
            }
        };
        if conversations.is_empty() {
            refused.add(|| "a conversation without an answer to anything".to_owned());
        }
        for conversation in conversations {
            told(question, watch, 0)?;
            let tokens = match &template {
                None => tokenizer.encode(&conversation.plain(), Special::Parse, true),
                Some(template) => match rendered(question, template, conversation) {
                    Ok(text) => tokenizer.encode_chat(&text),
                    Err(error @ (TemplateError::Refused(_) | TemplateError::Failed(_))) => {
                        refused.add(|| error.to_string());
                        continue;
                    }
                    Err(error) => {
                        // What ends this program may have ended the one that renders first.
                        told(question, watch, 0)?;
                        return Err(AdapterError::Template(error.into()).into());
                    }
                },
            };
            if tokens.is_empty() {
                refused.add(|| "a prompt without a token".to_owned());
            } else {
                prompts.push(Prompt::Text(tokens));
            }
        }
    }
    if !others.is_empty() {
        let names: Vec<String> =
            others.iter().take(8).map(|name| name.chars().take(40).collect::<String>()).collect();
        let more = if others.len() > names.len() { " and others" } else { "" };
        notes.push(format!("what `{}`{more} say is taken as the user's", names.join("`, `")));
    }
    Ok((prompts, refused))
}

/// What is said before an answer.
#[derive(Clone, Debug)]
enum Conversation {
    Instruction(String, String),
    Turns(Vec<Message>),
}

impl Conversation {
    fn messages(self) -> Vec<Message> {
        match self {
            Self::Instruction(instruction, input) if input.is_empty() => {
                vec![Message::new("user", instruction)]
            }
            Self::Instruction(instruction, input) => {
                vec![Message::new("user", format!("{instruction}\n\n{input}"))]
            }
            Self::Turns(messages) => messages,
        }
    }

    /// As text, for models that know no conversations. Alpaca's own form for instructions.
    fn plain(self) -> String {
        match self {
            Self::Instruction(instruction, input) if input.is_empty() => {
                format!("### Instruction:\n{instruction}\n\n### Response:\n")
            }
            Self::Instruction(instruction, input) => {
                format!("### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n")
            }
            Self::Turns(messages) => {
                let said = messages.iter().map(|each| format!("{}: {}\n", each.role, each.content));
                said.chain(["assistant:".to_owned()]).collect()
            }
        }
    }
}

/// Each answer of a conversation is a request whose prompt is all that was said before it. Words of one speaker in a row are one
/// message, and what a model says before anybody asked is left away: templates want speakers to take turns.
fn requests(turns: Vec<Turn>, others: &mut BTreeSet<String>) -> Vec<Conversation> {
    let mut found = Vec::new();
    let mut said: Vec<Message> = Vec::new();
    for turn in turns {
        let role = match turn.speaker {
            Speaker::System => "system",
            Speaker::User => "user",
            Speaker::Assistant => "assistant",
            Speaker::Other(other) => {
                others.insert(other);
                "user"
            }
        };
        if turn.text.is_empty() {
            continue;
        }
        let was_asked = said.iter().any(|message| message.role == "user");
        let answers = role == "assistant" && said.last().is_some_and(|last| last.role == "user");
        if answers {
            found.push(Conversation::Turns(said.clone()));
        }
        match said.last_mut() {
            Some(last) if last.role == role => last.content += &format!("\n\n{}", turn.text),
            _ if role == "assistant" && !was_asked => {}
            _ => said.push(Message::new(role, turn.text)),
        }
    }
    found
}

/// A conversation by the model's template. Some know no system's message: the user says it then.
fn rendered(
    question: &ValidateQuestion,
    template: &ChatTemplate,
    conversation: Conversation,
) -> Result<String, TemplateError> {
    let render = |messages: &[Message]| match question.renderer.as_deref() {
        Some([program, arguments @ ..]) => {
            template.render_apart(Command::new(program).args(arguments), messages, true)
        }
        _ => template.render(messages, true),
    };
    let messages = conversation.messages();
    match (render(&messages), messages.as_slice()) {
        (Err(TemplateError::Refused(_)), [system, user, rest @ ..]) if system.role == "system" => {
            let first = Message::new(user.role.clone(), format!("{}\n\n{}", system.content, user.content));
            render(&[&[first], rest].concat())
        }
        (text, _) => text,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn turn(speaker: Speaker, text: &str) -> Turn {
        Turn { speaker, text: text.to_owned() }
    }

    #[test]
    fn each_answer_is_asked_for_by_what_was_said_before_it() {
        let mut others = BTreeSet::new();
        let turns = vec![
            turn(Speaker::Assistant, "Hello!"),
            turn(Speaker::System, "Be kind."),
            turn(Speaker::User, "Add 1"),
            turn(Speaker::Other("narrator".into()), "and 2."),
            turn(Speaker::Assistant, "f(1, 2)"),
            turn(Speaker::User, "3"),
            turn(Speaker::Assistant, ""),
            turn(Speaker::Assistant, "Three."),
            turn(Speaker::Assistant, "Or 3."),
            turn(Speaker::User, "Thanks"),
        ];
        let found: Vec<String> = requests(turns, &mut others).into_iter().map(Conversation::plain).collect();
        assert_eq!(
            found,
            [
                "system: Be kind.\nuser: Add 1\n\nand 2.\nassistant:",
                "system: Be kind.\nuser: Add 1\n\nand 2.\nassistant: f(1, 2)\nuser: 3\nassistant:",
            ]
        );
        assert_eq!(others.into_iter().collect::<Vec<_>>(), ["narrator"]);
        assert!(requests(vec![turn(Speaker::User, "Hi")], &mut BTreeSet::new()).is_empty());
    }

    #[test]
    fn a_system_that_a_template_does_not_know_is_said_by_the_user() {
        let source = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}\
                      {% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
        let template = ChatTemplate::new(source, "", "").unwrap();
        let question = ValidateQuestion::new("m", Source::ShareGpt("d".into()));
        let messages = vec![Message::new("system", "Be kind."), Message::new("user", "Hi")];
        let text = rendered(&question, &template, Conversation::Turns(messages)).unwrap();
        assert_eq!(text, "<user>Be kind.\n\nHi");
    }

    #[test]
    fn an_order_is_drawn_by_the_seed_and_loses_nothing() {
        let all: Vec<Prompt> = (0..100).map(|prompt| Prompt::Lengths { prompt, output: 1 }).collect();
        let order = |seed| {
            let mut order = all.clone();
            shuffle(&mut order, seed);
            order
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        let mut sorted = order(3);
        sorted.sort_by_key(Prompt::len);
        assert_eq!(sorted, all);
    }
}
