//! What a reader is told beside the file.

use std::path::PathBuf;

use vramkit_fit::Backend;

/// What a reader needs to know beside the file.
///
/// ```
/// use std::path::PathBuf;
/// use vramkit_sets::Reading;
///
/// // Models are under another folder on this machine.
/// let moved = |written: &str| written.strip_prefix("/models/").map(|rest| PathBuf::from("/data").join(rest));
/// let reading = Reading { locate: &moved, ..Reading::default() };
/// assert_eq!((reading.locate)("/models/a.gguf"), Some(PathBuf::from("/data/a.gguf")));
/// ```
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    /// What the engines compute with.
    pub backend: Backend,
    /// Where a model is that the file names: asked first, with the name as the file has it (a path as the host has it, for a
    /// container's), or `org/name` for one on a hub. With `None`, or where nothing is there, a path is looked for as it is,
    /// seen from the file's folder.
    pub locate: &'a dyn Fn(&str) -> Option<PathBuf>,
    /// Variables of the environment, which llama-swap puts in for `${env.NAME}` and a shell for `$NAME`.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

impl Default for Reading<'_> {
    fn default() -> Self {
        fn nowhere(_: &str) -> Option<PathBuf> {
            None
        }
        fn from_environment(name: &str) -> Option<String> {
            std::env::var(name).ok()
        }
        Self { backend: Backend::Cuda, locate: &nowhere, variable: &from_environment }
    }
}
