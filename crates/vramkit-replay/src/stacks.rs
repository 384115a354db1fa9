//! Who asks for memory: frames of code, stacks of them, and the names by which an allocation can be known.
//!
//! Stacks and frames are kept once, however many allocations they have asked for.

use std::borrow::Cow;
use std::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

/// A text that stands in one line: control characters become blanks.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if text.contains(char::is_control) { text.replace(char::is_control, " ").into() } else { text.into() }
}

/// A line of code, or the bare name that a recording has in its place.
///
/// ```
/// use vramkit_replay::Frame;
///
/// let line = Frame { file: "/home/u/train.py".to_owned(), line: 10, function: "step".to_owned() };
/// assert_eq!(line.to_string(), "/home/u/train.py:10 step");
/// assert_eq!(Frame::named("llama (kv)").to_string(), "llama (kv)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Frame {
    /// The file as the recording names it; empty for a bare name.
    pub file: String,
    /// The line in it; 0 where it is not known.
    pub line: u32,
    /// The function, or the bare name.
    pub function: String,
}

impl Frame {
    /// A name without a place.
    pub fn named(name: &str) -> Self {
        Self { function: name.to_owned(), ..Self::default() }
    }

    /// Whether it is of Python code.
    fn is_python(&self) -> bool {
        self.file.ends_with(".py") || self.file.starts_with("<ipython-input") || self.file == "<stdin>"
    }

    /// Whether it is of Python code that came with neither Python nor a package: code of the one who asks.
    fn is_own(&self) -> bool {
        const OTHERS: [&str; 4] = ["/site-packages/", "/dist-packages/", "/lib/python3", "/torch/"];
        const PACKAGES: [&str; 4] = ["torch/", "site-packages/", "dist-packages/", "lib/python3"];
        // As on Windows, where Python's own is in `Python311/Lib`.
        let file: Cow<'_, str> =
            if self.file.contains('\\') { self.file.replace('\\', "/").into() } else { (&*self.file).into() };
        let is_pythons = file.contains("/Lib/") && file.contains("ython3");
        self.is_python()
            && !is_pythons
            && !OTHERS.iter().any(|folder| file.contains(folder))
            && !PACKAGES.iter().any(|folder| file.starts_with(folder))
    }

    /// How well it says who has asked, outside of Python: a step of the backward pass best, what every request passes through least.
    fn worth(&self) -> u8 {
        const EVERY_REQUEST: [&str; 5] =
            ["torch::unwind", "torch::CapturedTraceback", "torch::cuda::", "c10::", "at::detail::"];
        match self.function.as_str() {
            "" => 0,
            function if function.contains("autograd::generated::") => 3,
            function if EVERY_REQUEST.iter().any(|begin| function.starts_with(begin)) => 1,
            function if function.contains("at::detail::") => 1,
            _ => 2,
        }
    }

    /// Whether it says nothing of who has asked: of Python's interpreter, of a program's start, of how stacks are recorded.
    pub(crate) fn is_machinery(&self) -> bool {
        const BEGIN: [&str; 13] = [
            "_Py",
            "PyEval_",
            "PyObject_",
            "PyFunction_",
            "PyMethod_",
            "PyType_",
            "PyRun_",
            "PyVectorcall",
            "Py_",
            "_start",
            "__libc_",
            "torch::unwind",
            "torch::CapturedTraceback",
        ];
        !self.is_python() && BEGIN.iter().any(|begin| self.function.starts_with(begin))
    }

    /// The file without the folders that it is in.
    fn base(&self) -> &str {
        self.file.rsplit(['/', '\\']).next().unwrap_or(&self.file)
    }

    /// The function without what it is called with, as C++ has that.
    fn plain_function(&self) -> &str {
        if self.is_python() {
            return &self.function;
        }
        let after = self.function.find("(anonymous namespace)").map_or(0, |at| at + 1);
        let end = self.function[after..].find('(').map_or(self.function.len(), |at| after + at);
        let plain = self.function[..end].trim_end();
        // A bare name may have brackets: `llama (kv)`.
        if self.file.is_empty() && self.line == 0 && !self.function.contains("::") || plain.is_empty() {
            &self.function
        } else {
            plain
        }
    }

    fn text_with(&self, file: &str, function: &str) -> String {
        match (file, self.line) {
            ("" | "??", _) => function.to_owned(),
            (file, 0) => format!("{file} {function}"),
            (file, line) => format!("{file}:{line} {function}"),
        }
    }
}

impl std::fmt::Display for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text_with(&self.file, &self.function))
    }
}

/// Frames and stacks by number, each once. Stack 0 is the empty one: what a recording says nothing of.
#[derive(Clone, Debug)]
pub(crate) struct Stacks {
    frames: Vec<Frame>,
    frame_numbers: HashTable<u32>,
    /// Innermost frame first.
    stacks: Vec<Box<[u32]>>,
    stack_numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Default for Stacks {
    fn default() -> Self {
        let mut stacks = Self {
            frames: Vec::new(),
            frame_numbers: HashTable::new(),
            stacks: Vec::new(),
            stack_numbers: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        };
        stacks.stack(&[]);
        stacks
    }
}

impl Stacks {
    /// The number of a frame; there are never more than values in a file, which have numbers of 32 bits.
    pub(crate) fn frame(&mut self, mut frame: Frame) -> u32 {
        for text in [&mut frame.file, &mut frame.function] {
            if let Cow::Owned(plain) = plain(text) {
                *text = plain;
            }
        }
        let next = self.frames.len() as u32;
        let (frames, hasher) = (&self.frames, &self.hasher);
        let is_it = |&number: &u32| frames[number as usize] == frame;
        let hash_of = |&number: &u32| hasher.hash_one(&frames[number as usize]);
        let number = *self.frame_numbers.entry(hasher.hash_one(&frame), is_it, hash_of).or_insert(next).get();
        if number == next {
            self.frames.push(frame);
        }
        number
    }

    /// The number of a stack, its innermost frame first.
    pub(crate) fn stack(&mut self, frames: &[u32]) -> u32 {
        let next = self.stacks.len() as u32;
        let (stacks, hasher) = (&self.stacks, &self.hasher);
        let is_it = |&number: &u32| *stacks[number as usize] == *frames;
        let hash_of = |&number: &u32| hasher.hash_one(&*stacks[number as usize]);
        let number = *self.stack_numbers.entry(hasher.hash_one(frames), is_it, hash_of).or_insert(next).get();
        if number == next {
            self.stacks.push(frames.into());
        }
        number
    }

    /// The stack of a bare name; the empty one of none.
    pub(crate) fn named(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let frame = self.frame(Frame::named(name));
        self.stack(&[frame])
    }

    pub(crate) fn len(&self) -> usize {
        self.stacks.len()
    }

    /// Frames of a stack, innermost first.
    pub(crate) fn frames(&self, stack: u32) -> impl Iterator<Item = &Frame> {
        self.stacks[stack as usize].iter().map(|&frame| &self.frames[frame as usize])
    }

    /// For each stack the frame that owns what it asks for: the innermost that is own code, else the innermost of Python,
    /// else the innermost of those that say most.
    fn owning(&self) -> Vec<Option<u32>> {
        let kinds: Vec<u8> = self
            .frames
            .iter()
            .map(|frame| match () {
                () if frame.is_own() => 5,
                () if frame.is_python() => 4,
                () => frame.worth(),
            })
            .collect();
        let owning = |stack: &[u32]| {
            // The first of the highest kind.
            let best = stack.iter().map(|&frame| kinds[frame as usize]).max().filter(|&kind| kind > 0)?;
            stack.iter().copied().find(|&frame| kinds[frame as usize] == best)
        };
        self.stacks.iter().map(|stack| owning(stack)).collect()
    }

    /// For each stack the line that owns what it asks for, as text; empty where there is none. Files are named without their
    /// folders, but for lines that would then be taken for one another.
    pub(crate) fn lines(&self) -> Vec<String> {
        let owning = self.owning();
        let mut files: HashMap<String, &str> = HashMap::new();
        let mut alike: hashbrown::HashSet<String> = hashbrown::HashSet::new();
        let mut frames: Vec<u32> = owning.iter().copied().flatten().collect();
        frames.sort_unstable();
        frames.dedup();
        for &frame in &frames {
            let frame = &self.frames[frame as usize];
            let text = frame.text_with(frame.base(), frame.plain_function());
            if *files.entry(text.clone()).or_insert(&frame.file) != frame.file {
                alike.insert(text);
            }
        }
        let text = |frame: u32| {
            let frame = &self.frames[frame as usize];
            let short = frame.text_with(frame.base(), frame.plain_function());
            if alike.contains(&short) { frame.to_string() } else { short }
        };
        let texts: HashMap<u32, String> = frames.iter().map(|&frame| (frame, text(frame))).collect();
        owning
            .iter()
            .map(|frame| frame.and_then(|frame| texts.get(&frame).cloned()).unwrap_or_default())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(stacks: &mut Stacks, frames: &[(&str, u32, &str)]) -> u32 {
        let numbers: Vec<u32> = frames
            .iter()
            .map(|&(file, line, function)| {
                stacks.frame(Frame { file: file.to_owned(), line, function: function.to_owned() })
            })
            .collect();
        stacks.stack(&numbers)
    }

    #[test]
    fn ones_own_line_owns() {
        let mut stacks = Stacks::default();
        let linear = ("/usr/lib/python3/site-packages/torch/nn/linear.py", 114, "forward");
        stack(&mut stacks, &[("??", 0, "malloc"), linear, ("/home/u/train.py", 10, "step")]);
        stack(&mut stacks, &[("torch/optim/adam.py", 5, "step"), ("/tmp/ipykernel_7/1.py", 2, "<module>")]);
        stack(&mut stacks, &[("alloc.cpp", 3, "c10::malloc"), linear]);
        stack(&mut stacks, &[("alloc.cpp", 3, "c10::malloc")]);
        let backward = "torch::autograd::generated::BmmBackward0::apply(std::vector<at::Tensor> &&)";
        stack(
            &mut stacks,
            &[
                ("??", 0, "torch::unwind::unwind()"),
                ("R.cpp", 0, "at::_ops::bmm::call(at::Tensor)"),
                ("??", 0, backward),
            ],
        );
        stack(
            &mut stacks,
            &[("??", 0, "torch::unwind::unwind()"), ("R.cpp", 0, "at::(anonymous namespace)::bmm(long)")],
        );
        stacks.named("llama (kv)");
        let lines = [
            "",
            "train.py:10 step",
            "1.py:2 <module>",
            "linear.py:114 forward",
            "alloc.cpp:3 c10::malloc",
            "torch::autograd::generated::BmmBackward0::apply",
            "R.cpp at::(anonymous namespace)::bmm",
            "llama (kv)",
        ];
        assert_eq!(stacks.lines(), lines);
    }

    #[test]
    fn lines_of_files_of_one_name_are_told_apart() {
        let mut stacks = Stacks::default();
        stack(&mut stacks, &[("/a/model.py", 3, "forward")]);
        stack(&mut stacks, &[("/b/model.py", 3, "forward")]);
        stack(&mut stacks, &[("/b/model.py", 4, "forward")]);
        assert_eq!(
            stacks.lines(),
            ["", "/a/model.py:3 forward", "/b/model.py:3 forward", "model.py:4 forward"]
        );
    }

    #[test]
    fn a_stack_is_kept_once() {
        let mut stacks = Stacks::default();
        let first = stack(&mut stacks, &[("a.py", 1, "f"), ("b.py", 2, "g")]);
        assert_eq!(first, stack(&mut stacks, &[("a.py", 1, "f"), ("b.py", 2, "g")]));
        assert_ne!(first, stack(&mut stacks, &[("b.py", 2, "g"), ("a.py", 1, "f")]));
        assert_eq!((stacks.len(), stacks.frames(first).count()), (3, 2));
    }
}
