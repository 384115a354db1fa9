//! The text of an SVG becomes a tree of shapes and text.
//!
//! Fonts are those of this crate alone, and no other file is read: not even one that an image in the SVG names.

use std::sync::{Arc, OnceLock};

use resvg::usvg::{ImageHrefResolver, Options, Tree, fontdb};

use crate::error::PrintError;

/// The one family that there is.
const FAMILY: &str = "Noto Sans";

/// The tree of the SVG that is this page, counted from 1.
pub(crate) fn tree(svg: &str, page: usize) -> Result<Tree, PrintError> {
    let options = Options {
        font_family: FAMILY.to_owned(),
        fontdb: fonts(),
        image_href_resolver: ImageHrefResolver {
            resolve_data: ImageHrefResolver::default_data_resolver(),
            resolve_string: Box::new(|_, _| None),
        },
        ..Options::default()
    };
    Tree::from_str(svg, &options).map_err(|error| PrintError::Svg { page, reason: error.to_string() })
}

fn fonts() -> Arc<fontdb::Database> {
    static FONTS: OnceLock<Arc<fontdb::Database>> = OnceLock::new();
    let load = || {
        let mut fonts = fontdb::Database::new();
        for face in [notosans::REGULAR_TTF, notosans::BOLD_TTF] {
            fonts.load_font_source(fontdb::Source::Binary(Arc::new(face)));
        }
        // Whatever family a picture asks for is this one.
        fonts.set_serif_family(FAMILY);
        fonts.set_sans_serif_family(FAMILY);
        fonts.set_cursive_family(FAMILY);
        fonts.set_fantasy_family(FAMILY);
        fonts.set_monospace_family(FAMILY);
        Arc::new(fonts)
    };
    Arc::clone(FONTS.get_or_init(load))
}
