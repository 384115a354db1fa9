//! Hugging Face configurations.

use std::path::Path;

use crate::error::ReadError;
use crate::shape::ModelShape;

/// What a configuration says.
pub(crate) struct ConfigModel {
    pub shape: ModelShape,
    pub weights_type: Option<String>,
    pub notes: Vec<String>,
}

pub(crate) fn read(path: &Path) -> Result<ConfigModel, ReadError> {
    Err(ReadError::within(&path.display().to_string(), "configurations are not read yet"))
}
