//! The same arithmetic compiled for several sets of vector instructions, chosen at run time.
//!
//! In: a [`Job`], written once over arrays of 16 lanes. Out: its result, computed with the instructions of a [`Level`].
//! Never: a result that depends on the level. Multiplications and additions are rounded together where the job says
//! `mul_add` and nowhere else, and no sum is reordered, so all levels give the same bits (of a NaN, its being one).
#![allow(unsafe_code)]

use std::fmt;

use half::f16;

/// Lanes of the vectors that jobs are written over.
pub(super) const LANES: usize = 16;
/// One vector.
pub(super) type Lane = [f32; LANES];
/// A vector in half precision, as its bytes.
pub(super) type HalfLane = [u8; 2 * LANES];

/// Vector instructions that this machine has. There is no way to make a level that it has not.
///
/// ```
/// use vramkit_llm::attention::{Level, ops};
///
/// let (mut fast, mut plain) = (vec![1.0, 2.0, 3.0], vec![1.0, 2.0, 3.0]);
/// ops::silu_mul(Level::best(), &mut fast, &[0.5; 3])?;
/// ops::silu_mul(Level::available().last().expect("one is always there"), &mut plain, &[0.5; 3])?;
/// assert_eq!(fast, plain);
/// # Ok::<(), vramkit_llm::attention::AttentionError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Level(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Plain,
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Level {
    /// The fastest level of this machine.
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self(Kind::Plain))
    }

    /// Every level of this machine, the fastest first. The last is what the program was compiled for.
    pub fn available() -> impl Iterator<Item = Self> {
        let mut kinds = [None; 3];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq");
            kinds[0] = avx512.then_some(Kind::Avx512);
            kinds[1] = avx2.then_some(Kind::Avx2);
        }
        kinds[2] = Some(Kind::Plain);
        kinds.into_iter().flatten().map(Self)
    }

    /// Runs a job that chooses for itself which of its parts are compiled for the level ([`Lanes::run`]).
    pub(super) fn choose<J: Job>(self, job: J) -> J::Out {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => job.run(Avx512(())),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => job.run(Avx2(())),
            Kind::Plain => job.run(Plain),
        }
    }

    /// Runs a job compiled for the level.
    pub(super) fn run<J: Job>(self, job: J) -> J::Out {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => Avx512(()).run(job),
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => Avx2(()).run(job),
            Kind::Plain => Plain.run(job),
        }
    }
}

/// Work that is compiled once a level. `run` has to be `#[inline(always)]`, or it is compiled for no level.
pub(super) trait Job {
    type Out;
    fn run<L: Lanes>(self, lanes: L) -> Self::Out;
}

/// A level as a type. A value of it shows that the machine has the instructions.
pub(super) trait Lanes: Copy {
    /// Whether there are 32 registers of 16 lanes: how large a tile of sums may be.
    const WIDE: bool;
    /// Runs a job compiled with the level's instructions.
    fn run<J: Job>(self, job: J) -> J::Out;
    /// From half precision; exact.
    fn widen(self, half: &HalfLane) -> Lane;
    /// To half precision, to the nearest, of two equally near to the even one.
    fn narrow(self, lane: &Lane) -> HalfLane;
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, __m256, __m256i, __m512, _MM_FROUND_TO_NEAREST_INT, _mm256_cvtph_ps, _mm256_cvtps_ph,
        _mm512_cvtph_ps, _mm512_cvtps_ph,
    };
    use std::mem::transmute;

    use super::{HalfLane, Job, Lane, Lanes};

    /// AVX-512 of the first generation of servers. Made by [`super::Level`] alone.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx512(pub(super) ());

    /// AVX2 with fused multiplication. Made by [`super::Level`] alone.
    #[derive(Clone, Copy)]
    pub(crate) struct Avx2(pub(super) ());

    impl Lanes for Avx512 {
        const WIDE: bool = true;

        #[inline(always)]
        fn run<J: Job>(self, job: J) -> J::Out {
            // SAFETY: a value of this type is made where these features were detected.
            unsafe { run_avx512(self, job) }
        }

        #[inline(always)]
        fn widen(self, half: &HalfLane) -> Lane {
            // SAFETY: as above.
            unsafe { widen_avx512(half) }
        }

        #[inline(always)]
        fn narrow(self, lane: &Lane) -> HalfLane {
            // SAFETY: as above.
            unsafe { narrow_avx512(lane) }
        }
    }

    impl Lanes for Avx2 {
        const WIDE: bool = false;

        #[inline(always)]
        fn run<J: Job>(self, job: J) -> J::Out {
            // SAFETY: a value of this type is made where these features were detected.
            unsafe { run_avx2(self, job) }
        }

        #[inline(always)]
        fn widen(self, half: &HalfLane) -> Lane {
            // SAFETY: as above.
            unsafe { widen_avx2(half) }
        }

        #[inline(always)]
        fn narrow(self, lane: &Lane) -> HalfLane {
            // SAFETY: as above.
            unsafe { narrow_avx2(lane) }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
    fn run_avx512<J: Job>(lanes: Avx512, job: J) -> J::Out {
        job.run(lanes)
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    fn run_avx2<J: Job>(lanes: Avx2, job: J) -> J::Out {
        job.run(lanes)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
    #[inline]
    fn widen_avx512(half: &HalfLane) -> Lane {
        // SAFETY: both types are 32 bytes of which every value is one.
        let bits = unsafe { transmute::<HalfLane, __m256i>(*half) };
        // SAFETY: both types are 16 floats.
        unsafe { transmute::<__m512, Lane>(_mm512_cvtph_ps(bits)) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,f16c")]
    #[inline]
    fn narrow_avx512(lane: &Lane) -> HalfLane {
        // SAFETY: both types are 16 floats.
        let floats = unsafe { transmute::<Lane, __m512>(*lane) };
        // SAFETY: both types are 32 bytes of which every value is one.
        unsafe { transmute::<__m256i, HalfLane>(_mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(floats)) }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    fn widen_avx2(half: &HalfLane) -> Lane {
        // SAFETY: 32 bytes, of which every value is one, as two halves.
        let [low, high] = unsafe { transmute::<HalfLane, [__m128i; 2]>(*half) };
        // SAFETY: two vectors of 8 floats are 16 floats.
        unsafe { transmute::<[__m256; 2], Lane>([_mm256_cvtph_ps(low), _mm256_cvtph_ps(high)]) }
    }

    #[target_feature(enable = "avx2,fma,f16c")]
    #[inline]
    fn narrow_avx2(lane: &Lane) -> HalfLane {
        // SAFETY: 16 floats are two vectors of 8.
        let [low, high] = unsafe { transmute::<Lane, [__m256; 2]>(*lane) };
        let (low, high) = (
            _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(low),
            _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(high),
        );
        // SAFETY: two halves of 16 bytes, of which every value is one.
        unsafe { transmute::<[__m128i; 2], HalfLane>([low, high]) }
    }
}

/// What the program was compiled for.
#[derive(Clone, Copy)]
pub(super) struct Plain;

impl Lanes for Plain {
    const WIDE: bool = false;

    #[inline(always)]
    fn run<J: Job>(self, job: J) -> J::Out {
        job.run(self)
    }

    #[inline(always)]
    fn widen(self, half: &HalfLane) -> Lane {
        let mut lane = [0.0; LANES];
        for (float, bytes) in lane.iter_mut().zip(half.as_chunks::<2>().0) {
            *float = f16::from_le_bytes(*bytes).to_f32_const();
        }
        lane
    }

    #[inline(always)]
    fn narrow(self, lane: &Lane) -> HalfLane {
        let mut half = [0; 2 * LANES];
        for (bytes, float) in half.as_chunks_mut::<2>().0.iter_mut().zip(lane) {
            *bytes = f16::from_f32_const(*float).to_le_bytes();
        }
        half
    }
}
