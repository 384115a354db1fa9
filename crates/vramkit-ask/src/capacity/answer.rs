//! The answer to how likely a memory is to run out.

use vramkit_report::{RiskPicture, risk_svg};

use super::report::CapacityReport;

/// The answer to a [`CapacityQuestion`](super::CapacityQuestion).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CapacityAnswer {
    /// `vramkit.capacity/1`.
    pub report: CapacityReport,
    /// Risk against batch, where that was asked for.
    pub picture: Option<RiskPicture>,
    pub(super) is_yes: Option<bool>,
}

impl CapacityAnswer {
    /// Whether the risk asked about is kept; `None` where nothing says. A yes where no risk or no memory was given and there is
    /// something to tell.
    pub fn is_yes(&self) -> Option<bool> {
        self.is_yes
    }

    /// The picture as a standalone SVG, where it was asked for.
    pub fn svg(&self) -> Option<String> {
        self.picture.as_ref().map(risk_svg)
    }
}
