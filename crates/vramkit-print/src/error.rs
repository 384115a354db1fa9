//! Why there is no PDF or PNG.

/// Why an SVG could not be printed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrintError {
    /// A PDF was asked for without a page.
    #[error("a PDF needs at least one page")]
    NoPages,
    /// A text is no SVG, or has no size.
    #[error("page {page} is no SVG that can be drawn: {reason}")]
    Svg {
        /// Which page, counted from 1.
        page: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A page is larger than PDF allows.
    #[error("page {page} of {width:.0} × {height:.0} points is too large: at most 14,400 each way")]
    PageSize {
        /// Which page, counted from 1.
        page: usize,
        /// How wide it would be, in points of 1/72 inch.
        width: f32,
        /// How high.
        height: f32,
    },
    /// The picture would have more pixels than are drawn, or none at all.
    #[error("{width:.0} × {height:.0} pixels: at least one each way, and at most 100 million in all")]
    PixelSize {
        /// How wide it would be, in pixels.
        width: f32,
        /// How high.
        height: f32,
    },
    /// The drawing was made and could not be written.
    #[error("the picture could not be written: {reason}")]
    Write {
        /// What is wrong.
        reason: String,
    },
}
