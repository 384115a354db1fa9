//! A picture as pixels.

use resvg::tiny_skia::{Pixmap, Transform};

use crate::error::PrintError;
use crate::tree::tree;

/// Most pixels of a picture: 400 MB while it is drawn.
const MOST_PIXELS: f32 = 100e6;

/// Draws an SVG as a PNG, `scale` pixels for each of its own.
///
/// # Errors
/// A text that is no SVG; a scale that gives no pixel, or more than 100 million.
pub fn png(svg: &str, scale: f32) -> Result<Vec<u8>, PrintError> {
    let tree = tree(svg, 1)?;
    let (width, height) = ((tree.size().width() * scale).ceil(), (tree.size().height() * scale).ceil());
    let wrong_size = || PrintError::PixelSize { width, height };
    // Written so that a scale that is no number is refused.
    let is_drawn = width >= 1.0 && height >= 1.0 && width * height <= MOST_PIXELS;
    let pixmap = is_drawn.then(|| Pixmap::new(width as u32, height as u32)).flatten();
    let mut pixmap = pixmap.ok_or_else(wrong_size)?;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixmap.as_mut());
    pixmap.encode_png().map_err(|error| PrintError::Write { reason: error.to_string() })
}
