//! Pages as a PDF: shapes stay shapes, text stays text, and of the fonts what is used is embedded.

use krilla::Document;
use krilla::geom::Size;
use krilla::page::PageSettings;
use krilla_svg::{SurfaceExt, SvgSettings};

use crate::error::PrintError;
use crate::tree::tree;

/// A4 the long way across, in points of 1/72 inch: 297 mm × 210 mm.
const A4: (f32, f32) = (841.89, 595.276);
/// How far from A4's proportion a page of A4 may be.
const NEAR: f32 = 0.005;
/// An SVG's pixel in points: 96 of them are an inch.
const POINTS: f32 = 0.75;
/// The longest side that readers of PDF take.
const LONGEST: f32 = 14_400.0;

/// Makes a PDF of which each SVG is a page, in their order.
///
/// Shapes stay vectors, text can be selected, and the letters that are used are embedded. A page in the proportion of A4 is
/// A4, upright or across; others are as large as their SVG says, at 96 pixels an inch.
///
/// # Errors
/// No page, a text that is no SVG, a page that is larger than PDF allows.
pub fn pdf(pages: &[&str]) -> Result<Vec<u8>, PrintError> {
    if pages.is_empty() {
        return Err(PrintError::NoPages);
    }
    let mut document = Document::new();
    for (i, svg) in pages.iter().enumerate() {
        let page = i + 1;
        let tree = tree(svg, page)?;
        let (width, height) = size_of(tree.size().width(), tree.size().height());
        let too_large = || PrintError::PageSize { page, width, height };
        let fits = width <= LONGEST && height <= LONGEST;
        let settings = PageSettings::from_wh(width, height).filter(|_| fits).ok_or_else(too_large)?;
        let size = Size::from_wh(width, height).ok_or_else(too_large)?;
        let mut sheet = document.start_page_with(settings);
        let mut surface = sheet.surface();
        let drawn = surface.draw_svg(&tree, size, SvgSettings::default());
        surface.finish();
        sheet.finish();
        drawn.ok_or_else(|| PrintError::Svg { page, reason: "it cannot be drawn".to_owned() })?;
    }
    document.finish().map_err(|error| PrintError::Write { reason: format!("{error:?}") })
}

/// The size of a page in points, of an SVG's in pixels.
fn size_of(width: f32, height: f32) -> (f32, f32) {
    let is_near = |proportion: f32| (proportion / (A4.0 / A4.1) - 1.0).abs() < NEAR;
    if is_near(width / height) {
        A4
    } else if is_near(height / width) {
        (A4.1, A4.0)
    } else {
        (width * POINTS, height * POINTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_in_the_proportion_of_a4_are_a4() {
        assert_eq!(size_of(1188.0, 840.0), A4);
        assert_eq!(size_of(210.0, 297.0), (A4.1, A4.0));
        assert_eq!(size_of(960.0, 540.0), (720.0, 405.0));
    }
}
