//! Where tensors should be: files come in, offsets in one arena (or one for each pool) come out, with how far they can be
//! from the optimum. Takes no memory and opens no device.

mod answer;
mod engine;
mod in_place;
mod question;
mod search;

pub use answer::{Placed, PlanAnswer, PlanPicture};
pub use question::{PlanEngine, PlanQuestion};
pub use search::plan;
