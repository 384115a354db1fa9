//! Pictures and pages of `vramkit.validate/1`: everything is there, nothing breaks on what is missing, hostile or absurd.

use serde_json::{Value, json};
use vramkit_report::{ValidateDocument, validation_page, validation_svg, validations_svg};

/// An experiment of 12 cycles.
fn sample() -> Value {
    serde_json::from_str(include_str!("data/validate_12_cycles.json")).expect("the sample is JSON")
}

fn document(json: &Value) -> ValidateDocument {
    ValidateDocument::from_json(json).expect("a document")
}

fn picture(json: &Value) -> String {
    let svg = validation_svg(&document(json));
    sound(&svg);
    svg
}

fn page(json: &Value) -> String {
    validation_page(&[document(json)])
}

/// No number is missing, and every element ends.
fn sound(svg: &str) {
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    let opened = svg.matches('<').count() - svg.matches("</").count();
    assert_eq!(opened, svg.matches("</").count() + svg.matches("/>").count(), "{svg}");
}

/// Elements in this colour with this dash.
fn lines(svg: &str, colour: &str, dash: &str) -> usize {
    svg.lines()
        .filter(|line| line.contains(colour) && line.contains(&format!("stroke-dasharray=\"{dash}\"")))
        .count()
}

const PUBLISHED: (&str, &str) = ("#d55e00", "9 4");
const FINITE: (&str, &str) = ("#cc79a7", "4 3");
const CORRECTED: (&str, &str) = ("#0072b2", "10 3 2 3");
const EXACT: (&str, &str) = ("#009e73", "2 2.5");

#[test]
fn every_series_is_in_its_panels() {
    let svg = picture(&sample());
    // In the legend, under each panel, and in each panel.
    for (colour, dash) in [PUBLISHED, CORRECTED, EXACT] {
        assert_eq!(lines(&svg, colour, dash), 1 + 4 + 4, "{colour}");
    }
    assert_eq!(lines(&svg, FINITE.0, FINITE.1), 1 + 1 + 1);
    let dots = svg.lines().find(|line| line.contains("stroke-linecap") && line.matches('M').count() == 12);
    assert!(dots.is_some(), "a dot for every cycle");
    for text in [
        "toy.gguf on alpaca",
        "N\u{a0}=\u{a0}32",
        "θ\u{a0}=\u{a0}0.1875",
        "−2.2 % (limit 10 %)",
        "does not hold",
        "Notes: ",
    ] {
        assert!(svg.contains(text), "{text} in {svg}");
    }
}

#[test]
fn what_is_not_known_is_not_drawn_and_said() {
    let mut json = sample();
    for quantity in ["x0_tokens", "xmax_tokens", "kappa_tokens"] {
        json["predicted"]["published"][quantity] = Value::Null;
    }
    for quantity in ["x0_ratio", "xmax_ratio", "kappa_ratio"] {
        json["errors"]["published"][quantity] = Value::Null;
    }
    for verdict in json["verdicts"].as_array_mut().expect("verdicts") {
        if verdict["prediction"].as_str().is_some_and(|name| name.starts_with("published")) {
            verdict["error_ratio"] = Value::Null;
            verdict["passed"] = json!(false);
        }
    }
    for threshold in json["tail"]["thresholds"].as_array_mut().expect("thresholds") {
        threshold["published"] = Value::Null;
        threshold["published_finite"] = Value::Null;
    }
    json["parameters"]["termination"] = Value::Null;
    json["memory"]["device_peak_bytes"] = Value::Null;
    let svg = picture(&json);
    assert_eq!(lines(&svg, PUBLISHED.0, PUBLISHED.1), 1, "in the legend alone");
    assert_eq!(lines(&svg, FINITE.0, FINITE.1), 1, "in the legend alone");
    assert_eq!(lines(&svg, EXACT.0, EXACT.1), 9);
    assert_eq!(svg.matches(">cannot be said<").count(), 5, "three means and two bounds");
    let page = page(&json);
    assert!(page.contains("<td class=\"number\">—<td>cannot be said<td>—"), "{page}");
    assert!(page.contains("chance that a token is the last, p<dd>cannot be said"), "{page}");
    assert!(!page.contains("most on the device"), "{page}");
}

#[test]
fn a_prediction_far_off_is_an_arrow_with_its_number() {
    let mut json = sample();
    json["predicted"]["published"]["x0_tokens"] = json!(38_401.0);
    json["predicted"]["published"]["kappa_tokens"] = json!(1_315.0);
    for threshold in json["tail"]["thresholds"].as_array_mut().expect("thresholds") {
        threshold["published"] = json!(1e-9);
    }
    let svg = picture(&json);
    let arrow = format!("\" fill=\"{}\"/>", PUBLISHED.0);
    let arrows = svg.lines().filter(|line| line.starts_with("<polygon") && line.ends_with(&arrow)).count();
    assert_eq!(arrows, 3, "in X0, κ and the tail");
    for text in [">38,401<", ">published 1,315<", ">published ≤ 1.0e−9<"] {
        assert!(svg.contains(text), "{text} in {svg}");
    }
    assert_eq!(lines(&svg, PUBLISHED.0, PUBLISHED.1), 1 + 4 + 1);
    // The scale is still that of the cycles.
    assert!(svg.contains(">3,800<") && !svg.contains(">30,000<"), "{svg}");
}

#[test]
fn one_cycle_no_threshold_and_no_cycle_are_drawn() {
    let mut json = sample();
    json["cycles"].as_array_mut().expect("cycles").truncate(1);
    json["parameters"]["num_cycles"] = json!(1);
    json["tail"]["thresholds"] = json!([]);
    json["verdicts"] = json!([]);
    json["notes"] = json!([]);
    for quantity in ["x0", "xmax", "sup_y"] {
        json["measured"][quantity]["standard_error_tokens"] = Value::Null;
    }
    let svg = picture(&json);
    assert!(svg.contains("its error cannot be said") && svg.contains("no threshold to show"), "{svg}");
    assert!(!svg.contains("Notes"), "{svg}");
    assert!(page(&json).contains("Whether a prediction holds cannot be said."));
    json["cycles"] = json!([]);
    picture(&json);
    for of in ["published", "corrected", "exact"] {
        json["predicted"][of] = json!({"x0_tokens": null, "xmax_tokens": null, "kappa_tokens": null});
    }
    for quantity in ["x0", "xmax", "sup_y"] {
        json["measured"][quantity]["mean_tokens"] = Value::Null;
    }
    assert!(picture(&json).contains("no cycle was measured"));
}

#[test]
fn hostile_names_stay_text() {
    let mut json = sample();
    json["model"] = json!("<script>alert(1)<b>\"'&\u{1}");
    json["dataset"] = json!("</title><b>");
    json["notes"] = json!(["<img src=x onerror=alert(1)>"]);
    let documents = [document(&json), document(&json)];
    for text in [validation_svg(&documents[0]), validations_svg(&documents), validation_page(&documents)] {
        for bad in ["<script>", "</title><b>", "<img", "\u{1}"] {
            assert!(!text.contains(bad), "{bad} in {text}");
        }
        assert!(text.contains("&lt;script&gt;"), "{text}");
    }
    let mut long = sample();
    long["model"] = json!("m".repeat(100_000));
    long["dataset"] = json!("d".repeat(100_000));
    long["notes"] = json!(vec!["a note of many words ".repeat(1000); 10]);
    let svg = picture(&long);
    // The name for those who cannot see it is whole.
    let drawn: usize = svg.lines().skip(1).map(str::len).sum();
    assert!(drawn < 40_000, "{drawn}");
    assert!(svg.contains('…'));
}

#[test]
fn a_hundred_thousand_cycles_take_little_room() {
    let mut json = sample();
    let cycles =
        (0..100_000).map(|i| json!({"x0_tokens": 3000 + i * 7 % 1001, "xmax_tokens": 3100 + i * 13 % 1409}));
    json["cycles"] = cycles.collect();
    let svg = picture(&json);
    assert!(svg.len() < 300_000, "{}", svg.len());
    assert!(svg.contains("range of 250 cycles"), "{svg}");
    assert!(page(&json).len() < 310_000);
    json["cycles"].as_array_mut().expect("cycles").truncate(1500);
    let svg = picture(&json);
    assert!(svg.contains(">a cycle<") && svg.len() < 300_000, "{}", svg.len());
}

#[test]
fn experiments_stand_side_by_side() {
    let (mut json, mut documents) = (sample(), Vec::new());
    for name in ["alpha", "beta", "gamma", "delta", "epsilon"] {
        json["dataset"] = json!(name);
        documents.push(document(&json));
    }
    for count in 0..=5 {
        let svg = validations_svg(&documents[..count]);
        sound(&svg);
        for (i, name) in ["alpha", "beta", "gamma", "delta", "epsilon"].into_iter().enumerate() {
            assert_eq!(svg.contains(&format!(">{name}<")), i < count.min(4), "{name} of {count}");
        }
        assert_eq!(svg.matches(">3,840 ± 61<").count(), count.min(4));
        assert_eq!(svg.contains("and 1 more"), count == 5);
    }
    let page = validation_page(&documents[..2]);
    assert_eq!(page.matches("<svg ").count(), 3, "the comparison and both");
    assert!(
        page.contains(
            "10 of 12 predictions hold; these do not: X<sub>0</sub> (corrected), X<sub>max</sub> (corrected)."
        ),
        "{page}"
    );
    assert!(page.contains("<dd>93 MiB"), "{page}");
    assert!(!page.contains("src=") && !page.contains("href="), "no other file is needed");
}

#[test]
fn absurd_numbers_are_drawn() {
    let numbers = [0.0, -1.0, 1e-300, 1e300, -1e300, f64::MAX, f64::MIN];
    for a in numbers {
        for b in numbers {
            let mut json = sample();
            for quantity in ["x0", "xmax", "sup_y"] {
                json["measured"][quantity] =
                    json!({"mean_tokens": a, "standard_error_tokens": b, "mean_bytes": a});
            }
            for of in ["published", "corrected", "exact"] {
                json["predicted"][of] = json!({"x0_tokens": b, "xmax_tokens": a, "kappa_tokens": b});
                json["errors"][of] = json!({"x0_ratio": b, "xmax_ratio": a, "kappa_ratio": b});
            }
            json["cycles"] = json!([{"x0_tokens": a, "xmax_tokens": b}, {"x0_tokens": b, "xmax_tokens": b}]);
            for (i, threshold) in
                json["tail"]["thresholds"].as_array_mut().expect("thresholds").iter_mut().enumerate()
            {
                let (first, second) = if i % 2 == 0 { (a, b) } else { (b, a) };
                *threshold = json!({
                    "tokens": first, "observed": second, "standard_error": first, "published": first,
                    "published_finite": second, "corrected": first, "exact": second,
                });
            }
            json["parameters"]["theta"] = json!(b);
            json["parameters"]["termination"] = json!(a);
            json["parameters"]["batch_size"] = json!(if a == 0.0 { 0 } else { u64::MAX });
            let svg = picture(&json);
            assert!(svg.len() < 100_000, "{}", svg.len());
            sound(&validations_svg(&[document(&json), document(&json)]));
            assert!(!page(&json).contains("NaN"));
        }
    }
}

#[test]
fn other_documents_are_refused() {
    let error = ValidateDocument::from_json(&json!({"schema": "vramkit.plan/1"})).unwrap_err();
    assert!(error.to_string().contains("vramkit.validate/1"), "{error}");
    let mut json = sample();
    json["something new"] = json!([1, 2, 3]);
    json["cycles"][0]["device_bytes"] = Value::Null;
    document(&json);
    json["predicted"] = Value::Null;
    assert!(ValidateDocument::from_json(&json).is_err());
}
