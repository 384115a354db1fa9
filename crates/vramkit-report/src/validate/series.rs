//! What is measured and what is predicted, by name, and how each looks in every picture: a colour and a dash of its own, so that
//! grey print and any colour vision tell them apart.

use crate::draw::COLOURS;

/// Of what there is a measurement and predictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    X0,
    Xmax,
    Kappa,
    Tail,
}

/// Where a prediction comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prediction {
    Published,
    PublishedFinite,
    Corrected,
    Exact,
}

/// How a line is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pen {
    pub(crate) colour: &'static str,
    pub(crate) width: f64,
    pub(crate) dash: Option<&'static str>,
}

/// Of means.
pub(crate) const PREDICTIONS: [Prediction; 3] =
    [Prediction::Published, Prediction::Corrected, Prediction::Exact];
/// Of the tail.
pub(crate) const TAILS: [Prediction; 4] =
    [Prediction::Published, Prediction::PublishedFinite, Prediction::Corrected, Prediction::Exact];
/// What was measured.
pub(crate) const MEASURED: Pen = Pen { colour: "#111111", width: 1.6, dash: None };
/// A cycle.
pub(crate) const CYCLE: &str = "#8c8c8c";
/// Many of them.
pub(crate) const RANGE: &str = "#cfcfcf";

impl Quantity {
    /// Its name in documents.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::X0 => "x0",
            Self::Xmax => "xmax",
            Self::Kappa => "kappa",
            Self::Tail => "tail",
        }
    }

    /// Its sign.
    pub(crate) fn sign(self) -> &'static str {
        match self {
            Self::X0 => "X0",
            Self::Xmax => "Xmax",
            Self::Kappa => "κ",
            Self::Tail => "Tail",
        }
    }
}

impl Prediction {
    /// Its name in documents.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::PublishedFinite => "published_finite",
            Self::Corrected => "corrected",
            Self::Exact => "exact",
        }
    }

    /// Its name for people.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::PublishedFinite => "published, finite variance",
            other => other.name(),
        }
    }

    /// A name where there is little room, below that of the published one.
    pub(crate) fn short(self) -> &'static str {
        match self {
            Self::PublishedFinite => "finite variance",
            other => other.name(),
        }
    }

    pub(crate) fn pen(self) -> Pen {
        let (colour, dash) = match self {
            Self::Published => (COLOURS[5], Some("9 4")),
            Self::PublishedFinite => (COLOURS[3], Some("4 3")),
            Self::Corrected => (COLOURS[0], Some("10 3 2 3")),
            Self::Exact => (COLOURS[2], Some("2 2.5")),
        };
        Pen { colour, width: 2.0, dash }
    }
}
