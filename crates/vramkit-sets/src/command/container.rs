//! A server in a container: `docker run …` and the like.
//!
//! In: the words after the engine's name. Out: what the server in it says, its model's path as the host has it. Where the image
//! or a volume leaves something open, that is the reason why there is no figure.

use vramkit_fit::Backend;

use super::found::Found;
use super::server::{program, server};
use super::{llama_server, vllm};

/// Options of `run` without a value of their own.
const FLAGS: &str = "-d --detach -i --interactive -t --tty --rm --init --privileged --read-only --no-healthcheck \
    --oom-kill-disable --sig-proxy -P --publish-all --disable-content-trust -q --quiet --replace --tls-verify --no-hosts";

/// What the server in a container says, or why nothing can be said.
pub(super) fn read(words: &[String], backend: Backend) -> Result<Found, String> {
    let words = match words.first().map(String::as_str) {
        Some("container") => &words[1..],
        _ => words,
    };
    if words.first().map(String::as_str) != Some("run") {
        return Err("only containers started by `run` are looked into".to_owned());
    }
    let run = Run::new(&words[1..])?;
    let mut found = run.server(backend)?;
    run.notes.iter().for_each(|note| found.note(note.clone()));
    let inside = found.model.as_deref().filter(|path| path.starts_with('/')).map(str::to_owned);
    if let Some(inside) = inside {
        match run.outside(&inside) {
            Some(path) => found.model = Some(path),
            None => {
                found.refused(format!(
                    "`{inside}` is in the container, and no volume says where that is outside of it"
                ));
            }
        }
    }
    Ok(found)
}

/// What a `run` says.
#[derive(Default)]
struct Run {
    /// What is not covered.
    notes: Vec<String>,
    /// Outside and inside.
    volumes: Vec<(String, String)>,
    variables: Vec<(String, String)>,
    entrypoint: Option<String>,
    image: String,
    command: Vec<String>,
}

impl Run {
    fn new(words: &[String]) -> Result<Self, String> {
        let mut run = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if !word.starts_with('-') {
                run.image.clone_from(word);
                run.command = words.cloned().collect();
                return Ok(run);
            }
            let is_flag = |name: &str| FLAGS.split_whitespace().any(|flag| flag == name);
            let short = !word.starts_with("--");
            let (name, given) = match word.split_once('=') {
                Some((name, value)) if !short => (name, Some(value)),
                // `-it` is two flags, `-p8080:80` an option with its value.
                _ if short && word.len() > 2 && word.is_char_boundary(2) => {
                    let letters = word[1..].chars();
                    let all_flags = letters.clone().all(|letter| is_flag(&format!("-{letter}")));
                    if all_flags { ("-d", None) } else { (&word[..2], Some(&word[2..])) }
                }
                _ => (word.as_str(), None),
            };
            if is_flag(name) {
                continue;
            }
            let value = match given {
                Some(value) => value,
                None => words.next().ok_or_else(|| format!("`{name}` has no value"))?,
            };
            run.option(name, value);
        }
        Err("the container has no image".to_owned())
    }

    fn option(&mut self, name: &str, value: &str) {
        match name {
            "-v" | "--volume" => {
                let mut parts = value.split(':');
                if let (Some(outside), Some(inside)) = (parts.next(), parts.next()) {
                    self.volumes.push((outside.to_owned(), inside.to_owned()));
                }
            }
            "--mount" => {
                let of = |names: [&str; 3]| {
                    let pairs = value.split(',').filter_map(|pair| pair.split_once('='));
                    pairs
                        .into_iter()
                        .find(|(name, _)| names.contains(name))
                        .map(|(_, value)| value.to_owned())
                };
                let outside = of(["source", "src", "src"]);
                if let (Some(outside), Some(inside)) = (outside, of(["target", "dst", "destination"])) {
                    self.volumes.push((outside, inside));
                }
            }
            "-e" | "--env" => {
                if let Some((name, value)) = value.split_once('=') {
                    self.variables.push((name.to_owned(), value.to_owned()));
                }
            }
            "--gpus" if value.contains(',') => {
                self.notes
                    .push(format!("`--gpus {value}`: several cards are seen; everything is counted on one"));
            }
            "--env-file" => self.notes.push(format!("`--env-file {value}` is not looked into")),
            "--entrypoint" => self.entrypoint = Some(value.to_owned()),
            _ => {}
        }
    }

    /// The server that it starts: named by the entry point, by the command, or by what the image is known to start.
    fn server(&self, backend: Backend) -> Result<Found, String> {
        if let Some(entrypoint) = &self.entrypoint {
            let found = server(program(entrypoint), &self.command, &self.variables, backend);
            return found.ok_or_else(|| format!("`{entrypoint}` is no server that is known"));
        }
        if let Some((first, rest)) = self.command.split_first()
            && let Some(found) = server(program(first), rest, &self.variables, backend)
        {
            return Ok(found);
        }
        let (repository, tag) = match self.image.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, tag),
            _ => (self.image.as_str(), ""),
        };
        match repository.rsplit('/').next().unwrap_or_default() {
            "llama.cpp" if tag.starts_with("server") => {
                Ok(llama_server::from_words(&self.command, &self.variables, backend))
            }
            "llama.cpp"
                if tag.starts_with("full") && self.command.first().is_some_and(|word| word == "--server") =>
            {
                Ok(llama_server::from_words(&self.command[1..], &self.variables, backend))
            }
            "vllm-openai" => Ok(vllm::from_words(&self.command, backend)),
            _ => Err(format!("what `{}` starts is not known", self.image)),
        }
    }

    /// A path inside as the host has it, by the volume that is nearest to it. A volume that has only a name has no path.
    fn outside(&self, inside: &str) -> Option<String> {
        let under = |volume: &&(String, String)| {
            let root = volume.1.trim_end_matches('/');
            inside.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let (outside, root) =
            self.volumes.iter().filter(under).max_by_key(|(_, root)| root.trim_end_matches('/').len())?;
        outside.contains(['/', '\\', '.', '~']).then(|| {
            format!("{}{}", outside.trim_end_matches('/'), &inside[root.trim_end_matches('/').len()..])
        })
    }
}
