//! What is drawn of documents: pages as SVG, PDF and PNG, and of some a page as HTML.

use serde_json::Value;
use vramkit_report::{
    FitDocument, PlanDocument, ValidateDocument, fit_svg, plan_svg, validation_page, validation_svg,
    validations_svg,
};

use crate::draw::json;
use crate::error::{AskError, QuestionError};

/// What is drawn of documents.
///
/// ```
/// use vramkit_ask::{Drawing, PlanQuestion, plan, quiet};
///
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("lifetimes.csv");
/// # std::fs::write(&file, "id,lower,upper,size\na,0,4,10\nb,3,9,4\n")?;
/// let answer = plan(&PlanQuestion { files: vec![file], ..PlanQuestion::default() }, quiet())?;
/// // As `vramkit plan --json` prints it.
/// let document = serde_json::to_value(&answer.report)?;
/// let drawing = Drawing::of(&[document])?;
/// assert!(drawing.svg().starts_with("<svg") && drawing.pdf()?.starts_with(b"%PDF"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Drawing {
    pages: Vec<String>,
    html: Option<String>,
}

impl Drawing {
    /// Of one document (`vramkit.plan/1`, `vramkit.fit/1`, `vramkit.validate/1`), or of up to four validations side by side. A
    /// validation that has others beside it counts with them.
    ///
    /// # Errors
    /// No document; one of another kind, or that lacks what is drawn; several that cannot be drawn side by side.
    pub fn of(documents: &[Value]) -> Result<Self, AskError> {
        let Some(first) = documents.first() else { return Err(QuestionError::NoFiles.into()) };
        let of_one = |svg: String| Self { pages: vec![svg], html: None };
        let schema = first["schema"].as_str().unwrap_or_default();
        if documents.len() > 1 && documents.iter().any(|document| document["schema"] != "vramkit.validate/1")
        {
            return Err(QuestionError::NotSideBySide(documents.len()).into());
        }
        match schema {
            "vramkit.validate/1" => Self::of_validations(documents),
            "vramkit.plan/1" => Ok(of_one(plan_svg(&PlanDocument::from_json(first)?))),
            "vramkit.fit/1" => Ok(of_one(fit_svg(&FitDocument::from_json(first)?))),
            "" => Err(QuestionError::NotDrawn("no schema".to_owned()).into()),
            other => Err(QuestionError::NotDrawn(format!("`{other}`")).into()),
        }
    }

    /// Of reports of validations.
    ///
    /// # Errors
    /// None at all, or too many to stand side by side.
    pub fn of_reports(reports: &[vramkit_validate::ValidateReport]) -> Result<Self, AskError> {
        let documents: Vec<Value> = reports.iter().map(json).collect();
        Self::of(&documents)
    }

    fn of_validations(documents: &[Value]) -> Result<Self, AskError> {
        let beside = |document: &'_ Value| document["beside"].as_array().cloned().unwrap_or_default();
        let all: Vec<ValidateDocument> = documents
            .iter()
            .flat_map(|document| [vec![document.clone()], beside(document)].concat())
            .map(|document| ValidateDocument::from_json(&document))
            .collect::<Result<_, _>>()?;
        if all.len() > 4 {
            return Err(QuestionError::NotSideBySide(all.len()).into());
        }
        let mut pages: Vec<String> = all.iter().map(validation_svg).collect();
        if all.len() > 1 {
            pages.insert(0, validations_svg(&all));
        }
        Ok(Self { pages, html: Some(validation_page(&all)) })
    }

    /// The first page, as SVG.
    pub fn svg(&self) -> &str {
        self.pages.first().map_or("", String::as_str)
    }

    /// A page for a browser, of validations.
    pub fn html(&self) -> Option<&str> {
        self.html.as_deref()
    }

    /// All pages, as PDF.
    ///
    /// # Errors
    /// A page that is larger than PDF allows.
    pub fn pdf(&self) -> Result<Vec<u8>, AskError> {
        let pages: Vec<&str> = self.pages.iter().map(String::as_str).collect();
        Ok(vramkit_print::pdf(&pages)?)
    }

    /// The first page as PNG, at so many pixels for each of the SVG's.
    ///
    /// # Errors
    /// More than 100 million pixels.
    pub fn png(&self, scale: f32) -> Result<Vec<u8>, AskError> {
        Ok(vramkit_print::png(self.svg(), scale)?)
    }
}
