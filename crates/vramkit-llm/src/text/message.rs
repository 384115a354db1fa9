//! A message of a conversation.

/// Something that was said.
///
/// ```
/// use vramkit_llm::text::Message;
///
/// let asked = Message::new("user", "What is the capital of France?");
/// assert_eq!(asked.role, "user");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// By whom: `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// What.
    pub content: String,
}

impl Message {
    /// A message.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}
