//! What is kept, family by family, and what is refused.
