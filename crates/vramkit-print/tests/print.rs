//! What comes out is what readers of PDF and PNG expect, and the same every time.

use resvg::tiny_skia::Pixmap;
use vramkit_print::{PrintError, pdf, png};

/// A picture with text, a dash and a shape.
fn picture(width: u32, height: u32, text: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"DejaVu Sans, sans-serif\">\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/><path d=\"M10,60H90\" stroke=\"#0072b2\" stroke-dasharray=\"4 3\"/>\
         <text x=\"10\" y=\"40\" font-size=\"20\">{text}</text></svg>"
    )
}

fn count(bytes: &[u8], what: &str) -> usize {
    bytes.windows(what.len()).filter(|window| *window == what.as_bytes()).count()
}

/// How many pixels are not white.
fn ink(bytes: &[u8]) -> usize {
    let drawn = Pixmap::decode_png(bytes).expect("a PNG");
    drawn
        .pixels()
        .iter()
        .filter(|pixel| (pixel.red(), pixel.green(), pixel.blue()) != (255, 255, 255))
        .count()
}

#[test]
fn a_pdf_has_its_pages_and_its_fonts() {
    let (first, second) = (picture(297, 210, "κ θ ± ≤ × … ·"), picture(200, 100, "second"));
    for pages in [vec![first.as_str()], vec![&first, &second], vec![&first, &second, &first]] {
        let document = pdf(&pages).expect("a PDF");
        assert!(document.starts_with(b"%PDF"));
        assert_eq!(count(&document, "/Type/Page/") + count(&document, "/Type/Page\n"), pages.len());
        assert_eq!(count(&document, "/FontFile2"), 1, "one face is used");
        assert!(!document.windows(9).any(|window| window == b"/Subtype/I"), "no pixels");
        assert!(document.len() < 60_000, "letters that are used, not the font: {}", document.len());
    }
}

#[test]
fn the_same_picture_gives_the_same_bytes() {
    let (first, second) = (picture(297, 210, "first"), picture(297, 210, "second"));
    let pages = [first.as_str(), &second];
    assert_eq!(pdf(&pages).expect("a PDF"), pdf(&pages).expect("a PDF"));
    assert_eq!(png(&first, 1.5).expect("a PNG"), png(&first, 1.5).expect("a PNG"));
    assert_eq!(count(&pdf(&pages).expect("a PDF"), "Date"), 0, "no time");
}

#[test]
fn pixels_are_as_many_as_asked_for() {
    let svg = picture(100, 70, "text");
    for (scale, width, height) in [(1.0, 100, 70), (2.5, 250, 175), (0.001, 1, 1)] {
        let drawn = Pixmap::decode_png(&png(&svg, scale).expect("a PNG")).expect("a PNG");
        assert_eq!((drawn.width(), drawn.height()), (width, height));
    }
    for scale in [200.0, 1e30, f32::INFINITY, f32::NAN, 0.0, -1.0] {
        assert!(matches!(png(&svg, scale), Err(PrintError::PixelSize { .. })), "{scale}");
    }
}

#[test]
fn letters_are_drawn_and_those_that_are_missing_leave_a_box() {
    let without = ink(&png(&picture(100, 70, ""), 1.0).expect("a PNG"));
    for text in ["κ", "θ", "±", "≤", "×", "…", "−", "·", "→", "字", "😀", "\u{fffd}", "\u{e000}"]
    {
        let svg = picture(100, 70, text);
        assert!(ink(&png(&svg, 1.0).expect("a PNG")) > without, "{text}");
        pdf(&[&svg]).expect("a PDF");
    }
}

#[test]
fn what_cannot_be_printed_is_an_error() {
    assert!(matches!(pdf(&[]), Err(PrintError::NoPages)));
    let svg = picture(100, 70, "text");
    for bad in [
        "",
        "no SVG",
        "<svg",
        "<html></html>",
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"0\" height=\"1\"/>",
    ] {
        let error = pdf(&[&svg, bad]).unwrap_err();
        assert!(matches!(error, PrintError::Svg { page: 2, .. }), "{bad}: {error}");
        assert!(png(bad, 1.0).is_err(), "{bad}");
    }
    let large = picture(100_000, 1000, "text");
    let error = pdf(&[&large]).unwrap_err();
    assert!(matches!(error, PrintError::PageSize { page: 1, .. }), "{error}");
    assert!(error.to_string().contains("75000 × 750 points"), "{error}");
}

#[test]
fn no_other_file_is_read() {
    let folder = std::env::temp_dir().join(format!("vramkit-print-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("other.svg");
    std::fs::write(&file, picture(100, 70, "other")).expect("a file");
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"100\" height=\"70\"><rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\
         <image href=\"{}\" width=\"100\" height=\"70\"/></svg>",
        file.display()
    );
    let drawn = png(&svg, 1.0).expect("a PNG");
    std::fs::remove_dir_all(&folder).expect("the folder goes");
    assert_eq!(ink(&drawn), 0);
}
