//! Classic machine learning (`ai.onnx.ml`): trees, linear models, support vectors, and what prepares their features.
//!
//! One row an example; how many classes or targets there are, the attributes say. Operators that make maps have no
//! rule.

use crate::data_type::DataType;
use crate::onnx::fact::{Fact, elements};
use crate::onnx::node::{Node, Outputs, product, sum};

/// Applies an operator's rule; `None` for an operator that has none.
pub(super) fn apply(node: &Node<'_>, op: &str) -> Option<Outputs> {
    Some(match op {
        "Binarizer" | "Imputer" => node.like(0).map(|output| vec![output]),
        "Normalizer" | "Scaler" => typed(node, DataType::FLOAT),
        "CategoryMapper" => node.input(0).and_then(|input| {
            typed(node, if input.dtype == DataType::STRING { DataType::INT64 } else { DataType::STRING })
        }),
        "LabelEncoder" => label_type(node).and_then(|dtype| typed(node, dtype)),
        "ArrayFeatureExtractor" => extract(node),
        "FeatureVectorizer" => vectorise(node),
        "OneHotEncoder" => one_hot(node),
        "LinearRegressor" => scores(node, node.int_or("targets", 1), DataType::FLOAT),
        "SVMRegressor" => scores(node, 1, DataType::FLOAT),
        "TreeEnsembleRegressor" => node.count("n_targets").and_then(|n| scores(node, n, DataType::FLOAT)),
        "TreeEnsemble" => node.count("n_targets").and_then(|n| scores(node, n, node.input(0)?.dtype)),
        "LinearClassifier" => linear_scores(node).and_then(|n| classifier(node, n)),
        "SVMClassifier" => vector_scores(node).and_then(|n| classifier(node, n)),
        "TreeEnsembleClassifier" => classifier(node, labels(node).1),
        _ => return None,
    })
}

fn typed(node: &Node<'_>, dtype: DataType) -> Outputs {
    Ok(vec![Some(Fact::new(dtype, node.input(0)?.shape.clone()))])
}

/// A list is one example.
fn examples(node: &Node<'_>) -> Result<i64, String> {
    let input = node.input(0)?;
    match input.shape.as_slice() {
        [] => Err("an input without axes".to_owned()),
        [_] => Ok(1),
        [examples, ..] => Ok(*examples),
    }
}

fn scores(node: &Node<'_>, each: i64, dtype: DataType) -> Outputs {
    Ok(vec![Some(Fact::new(dtype, vec![examples(node)?, each]))])
}

/// The type of a classifier's labels, and how many there are.
fn labels(node: &Node<'_>) -> (DataType, i64) {
    let texts = node.texts("classlabels_strings");
    let numbers = ["classlabels_ints", "classlabels_int64s"].into_iter().find_map(|name| node.ints(name));
    match numbers.map_or(0, <[i64]>::len) {
        0 if texts > 0 => (DataType::STRING, texts as i64),
        numbers => (DataType::INT64, numbers as i64),
    }
}

/// A label and so many scores for each example.
fn classifier(node: &Node<'_>, each: i64) -> Outputs {
    let (examples, (dtype, _)) = (examples(node)?, labels(node));
    let scores = Some(Fact::new(DataType::FLOAT, vec![examples, each])).filter(|_| each > 0);
    Ok(vec![Some(Fact::new(dtype, vec![examples])), scores])
}

/// A score for each class; one that tells two classes apart becomes two.
fn linear_scores(node: &Node<'_>) -> Result<i64, String> {
    let (_, labels) = labels(node);
    let given = node.floats("intercepts").map_or(0, <[f32]>::len) as i64;
    Ok(match given {
        0 => labels,
        1 if labels == 2 => 2,
        given => given,
    })
}

/// Probabilities are one for each class. Without them a model with support vectors gives a score for each pair of
/// classes, and two for a single pair.
fn vector_scores(node: &Node<'_>) -> Result<i64, String> {
    let (_, labels) = labels(node);
    let vectors = node.ints("vectors_per_class").is_some_and(|counts| !counts.is_empty());
    let probable = node.floats("prob_a").is_some_and(|list| !list.is_empty());
    if !vectors || probable {
        return Ok(labels);
    }
    let pairs = product([labels, labels - 1])? / 2;
    Ok(if pairs == 1 { 2 } else { pairs })
}

/// The type of what labels are turned into. The first version listed texts, and numbers were their places.
fn label_type(node: &Node<'_>) -> Result<DataType, String> {
    if let Some(tensor) = node.tensor("values_tensor") {
        return Ok(DataType::new(tensor.data_type));
    }
    let text = node.input(0)?.dtype == DataType::STRING;
    match () {
        () if node.has("values_int64s") => Ok(DataType::INT64),
        () if node.has("values_floats") => Ok(DataType::FLOAT),
        () if node.has("values_strings") => Ok(DataType::STRING),
        () if node.has("classes_strings") => Ok(if text { DataType::INT64 } else { DataType::STRING }),
        () => Err("no attribute says what labels are turned into".to_owned()),
    }
}

/// Some columns; a list becomes one row.
fn extract(node: &Node<'_>) -> Outputs {
    let (input, picked) = (node.input(0)?, node.input(1)?);
    let columns = i64::try_from(elements(&picked.shape)?).map_err(|_| "too many elements")?;
    let (_, lead) = input.shape.split_last().ok_or("an input without axes")?;
    let shape = if lead.is_empty() { vec![1, columns] } else { [lead, &[columns]].concat() };
    Ok(vec![Some(Fact::new(input.dtype, shape))])
}

/// All inputs' columns side by side.
fn vectorise(node: &Node<'_>) -> Outputs {
    let width = match node.ints("inputdimensions").filter(|widths| !widths.is_empty()) {
        Some(widths) => sum(widths.iter().copied())?,
        None => {
            let inputs = node.inputs.iter().flatten();
            sum(inputs.map(|input| input.shape.last().copied().unwrap_or(1)))?
        }
    };
    scores(node, width, DataType::FLOAT)
}

fn one_hot(node: &Node<'_>) -> Outputs {
    let numbers = node.ints("cats_int64s").map_or(0, <[i64]>::len);
    let categories = if numbers > 0 { numbers } else { node.texts("cats_strings") };
    if categories == 0 {
        return Err("no attribute lists the categories".to_owned());
    }
    let shape = [node.input(0)?.shape.as_slice(), &[categories as i64]].concat();
    Ok(vec![Some(Fact::new(DataType::FLOAT, shape))])
}
