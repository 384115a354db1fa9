//! The architectures whose graphs are known, one file each (or one for those that differ in little).
//!
//! Each says which of its header's numbers it reads beyond the common ones (`hyper`), what its layers keep (`keeping`), and how
//! a step is computed (`build`). Followed: `src/models/*.cpp` of llama.cpp v0.5.0.

mod deepseek;
mod gemma;
mod glm;
mod gpt_oss;
mod llama;
mod mamba;
mod phi;
mod qwen35;

use crate::error::FitError;
use crate::ggml::DeviceKind;
use crate::llama_cpp::builder::Builder;
use crate::llama_cpp::cache::Keeping;
use crate::llama_cpp::hyper::{Hyper, Keys};

/// An architecture.
pub(crate) struct Architecture {
    /// Its name in a header.
    pub name: &'static str,
    /// Reads what it has beyond the common numbers.
    pub hyper: fn(Keys<'_>, &mut Hyper) -> Result<(), FitError>,
    /// What its layers keep.
    pub keeping: fn(Keys<'_>, &Hyper) -> Result<Keeping, FitError>,
    /// Computes a step.
    pub build: fn(&mut Builder<'_>),
    /// Ends of names of tensors whose operation devices lack.
    pub lacks: fn(&Hyper, DeviceKind) -> &'static [&'static str],
}

/// Nothing beyond the common numbers.
fn no_more(_: Keys<'_>, _: &mut Hyper) -> Result<(), FitError> {
    Ok(())
}

/// Keys and values.
fn keys_and_values(_: Keys<'_>, _: &Hyper) -> Result<Keeping, FitError> {
    Ok(Keeping::default())
}

fn nothing(_: &Hyper, _: DeviceKind) -> &'static [&'static str] {
    &[]
}

const fn plain(name: &'static str, build: fn(&mut Builder<'_>)) -> Architecture {
    Architecture { name, hyper: no_more, keeping: keys_and_values, build, lacks: nothing }
}

const fn reading(
    name: &'static str,
    hyper: fn(Keys<'_>, &mut Hyper) -> Result<(), FitError>,
    build: fn(&mut Builder<'_>),
) -> Architecture {
    Architecture { name, hyper, keeping: keys_and_values, build, lacks: nothing }
}

/// Every architecture that is known.
pub(crate) const KNOWN: &[Architecture] = &[
    plain("llama", llama::llama),
    plain("mistral3", llama::mistral3),
    plain("qwen2", llama::qwen2),
    plain("qwen3", llama::qwen3),
    plain("qwen3moe", llama::qwen3),
    plain("granite", llama::granite),
    plain("granitemoe", llama::granite),
    plain("phi3", phi::phi3),
    plain("glm4", glm::glm4),
    reading("gemma2", gemma::windows_2, gemma::gemma2),
    reading("gemma3", gemma::windows_3, gemma::gemma3),
    reading("gpt-oss", gpt_oss::windows, gpt_oss::gpt_oss),
    reading("qwen35", qwen35::layers, qwen35::qwen35),
    reading("qwen35moe", qwen35::layers, qwen35::qwen35),
    Architecture { keeping: deepseek::keeping, ..plain("deepseek2", deepseek::deepseek2) },
    Architecture { lacks: mamba::lacks_scan, ..reading("mamba", mamba::states, mamba::mamba) },
    Architecture {
        keeping: mamba::both,
        lacks: mamba::lacks_odd_scan,
        ..reading("falcon-h1", mamba::states, mamba::falcon_h1)
    },
];

/// The architecture of this name.
pub(crate) fn named(name: &str) -> Option<&'static Architecture> {
    KNOWN.iter().find(|known| known.name == name)
}
