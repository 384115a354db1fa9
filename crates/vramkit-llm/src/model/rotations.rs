//! A model's rotations: one for layers that look back everywhere, and another for those with a window where a family has one.

use crate::attention::{AttentionError, Level, Rope, RopeScaling, RopeStyle};
use crate::model::hyper::{Hyper, Pairs, Rotation};

/// Rotations, each once, and which one each layer has.
#[derive(Debug)]
pub(crate) struct Rotations {
    ropes: Vec<Rope>,
    of_layer: Vec<usize>,
}

impl Rotations {
    /// Of a model whose file has these factors for frequencies, or none.
    ///
    /// # Errors
    /// Numbers that are no rotation.
    pub fn new(hyper: &Hyper, factors: Option<&[f32]>) -> Result<Self, AttentionError> {
        let mut ropes = vec![rope(&hyper.rotation, factors)?];
        if let Some(rotation) = &hyper.window_rotation {
            ropes.push(rope(rotation, None)?);
        }
        let of_layer =
            hyper.windows.iter().map(|window| usize::from(window.is_some()).min(ropes.len() - 1)).collect();
        Ok(Self { ropes, of_layer })
    }

    /// Numbers of the angles of a position, of all rotations.
    pub fn angles_len(hyper: &Hyper) -> usize {
        hyper.rotation.dimensions * if hyper.window_rotation.is_some() { 2 } else { 1 }
    }

    /// The angles of a position, of all rotations.
    pub fn angles(&self, position: usize, out: &mut [f32]) -> Result<(), AttentionError> {
        let mut rest = out;
        for rope in &self.ropes {
            let (own, behind) = rest.split_at_mut(rope.dims());
            rope.angles(position, own)?;
            rest = behind;
        }
        Ok(())
    }

    /// Turns the heads of a token by the angles of its position.
    pub fn turn(
        &self,
        level: Level,
        layer: usize,
        angles: &[f32],
        heads: &mut [f32],
        head: usize,
    ) -> Result<(), AttentionError> {
        let at = self.of_layer[layer];
        let start: usize = self.ropes[..at].iter().map(Rope::dims).sum();
        let rope = &self.ropes[at];
        rope.apply(level, &angles[start..start + rope.dims()], heads, head)
    }
}

fn rope(rotation: &Rotation, factors: Option<&[f32]>) -> Result<Rope, AttentionError> {
    let style = match rotation.pairs {
        Pairs::Neighbours => RopeStyle::Pairs,
        Pairs::Halves => RopeStyle::Halves,
    };
    let factor = 1.0 / rotation.scale;
    let scaling = match rotation.yarn {
        Some(yarn) => RopeScaling::Yarn {
            factor,
            original: yarn.original_context as usize,
            beta_fast: yarn.beta_fast,
            beta_slow: yarn.beta_slow,
        },
        None if rotation.scale == 1.0 => RopeScaling::None,
        None => RopeScaling::Linear { factor },
    };
    Rope::new(style, rotation.dimensions, rotation.base, scaling, factors, rotation.magnitude)
}
