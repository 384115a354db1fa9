//! The page: one document, made of its parts, that asks nobody else for anything.

use std::sync::LazyLock;

static PAGE: LazyLock<String> = LazyLock::new(|| {
    include_str!("page.html")
        .replace("/*style*/", include_str!("page.css"))
        .replace("/*script*/", &[include_str!("page_draw.js"), include_str!("page.js")].join("\n"))
});

/// The whole document.
pub(crate) fn text() -> &'static str {
    &PAGE
}
