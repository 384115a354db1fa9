//! Predictions for vLLM against what it printed in public logs (`tests/data/vllm_logs.csv`).

#[path = "../examples/accuracy/vllm.rs"]
#[allow(dead_code, clippy::print_stdout)]
mod logs;
#[path = "../examples/accuracy/vllm_models.rs"]
mod vllm_models;

/// How far a quantity may be off, in percent, and in the last digit that is printed.
fn limit(model: &str, quantity: &str, release: &str) -> Option<(f64, f64)> {
    match quantity {
        // Which kernels 4-bit experts are laid out for is a guess.
        "weights" => Some((if model.starts_with("gpt-oss") { 3.0 } else { 1.0 }, 0.005)),
        "activations" if ["0.10", "0.11", "0.14"].contains(&release) => Some((0.5, 0.005)),
        "cache size" => Some((5.0, 0.005)),
        // The cache is printed to .01 GiB, and with several devices is that of one of them.
        "tokens of the printed cache" => Some((1.5, 0.0)),
        "concurrency of the printed cache" => Some((0.5, 0.005)),
        _ => None,
    }
}

#[test]
fn what_is_predicted_is_what_was_printed() {
    let cases = logs::cases();
    assert!(cases.len() >= 30, "{} cases", cases.len());
    let mut wrong = Vec::new();
    let mut checked = 0;
    for case in cases.iter().filter(|case| !case.fitted.starts_with("outside")) {
        let compared = logs::compare(case).unwrap_or_else(|reason| panic!("{}: {reason}", case.model));
        assert!(!compared.is_empty(), "{}: nothing is compared", case.model);
        for (quantity, printed, predicted) in compared {
            let Some((percent, digit)) = limit(&case.model, quantity, &case.release) else { continue };
            checked += 1;
            if (predicted - printed).abs() > printed * percent / 100.0 + digit {
                wrong.push(format!(
                    "{} {}: {quantity} {printed} and not {predicted}",
                    case.model, case.device
                ));
            }
        }
    }
    assert!(checked > 80, "{checked} figures");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_model_that_did_not_start_does_not_fit() {
    let case = logs::cases().into_iter().find(|case| case.number("cache_gib") == Some(0.0));
    let case = case.expect("a log of a start that failed");
    let model = vllm_models::header(&case.model).expect("its shape");
    let takes = vramkit_fit::vllm::footprint(&model, &case.options()).expect("an answer");
    assert_eq!(takes.fits(), Some(false));
    assert_eq!(takes.cache_bytes, Some(vramkit_units::ByteSize::ZERO));
}
