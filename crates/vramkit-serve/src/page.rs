//! The page: one document, made of its three parts, that asks nobody else for anything.

use std::sync::LazyLock;

static PAGE: LazyLock<String> = LazyLock::new(|| {
    include_str!("page.html")
        .replace("/*style*/", include_str!("page.css"))
        .replace("/*script*/", include_str!("page.js"))
});

/// The whole document.
pub(crate) fn text() -> &'static str {
    &PAGE
}
