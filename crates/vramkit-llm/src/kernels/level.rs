//! Which instructions the kernels use: the best that this machine has, or fewer when asked.
//!
//! Every level gives the same bits.
#![allow(unsafe_code)]

use std::sync::OnceLock;

/// A set of instructions that kernels are written for, in rising order.
///
/// ```
/// use vramkit_llm::kernels::Level;
///
/// let level = Level::chosen();
/// assert_eq!(level.here(), level); // what is chosen, this machine has
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// Plain Rust, for every machine. There are no kernels for NEON: other processors than x86-64 run this.
    Scalar,
    /// AVX2, FMA and F16C.
    Avx2,
    /// AVX-512 (F, BW, VL, DQ) with VNNI.
    Avx512,
    /// As [`Avx512`](Self::Avx512), and tile products (AMX int8) for many tokens.
    Amx,
}

/// The environment variable that names a lower level than the machine's: `scalar`, `avx2`, `avx512` or `amx`. Read once.
pub const LEVEL_VARIABLE: &str = "VRAMKIT_LLM_LEVEL";

impl Level {
    /// Every level, in rising order.
    pub const ALL: [Self; 4] = [Self::Scalar, Self::Avx2, Self::Avx512, Self::Amx];

    /// Its name, as [`LEVEL_VARIABLE`] takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        }
    }

    /// The highest level of this machine.
    pub fn machine() -> Self {
        static FOUND: OnceLock<Level> = OnceLock::new();
        *FOUND.get_or_init(detect)
    }

    /// The level that is used when none is named: the machine's, or a lower one that [`LEVEL_VARIABLE`] names.
    pub fn chosen() -> Self {
        static CHOSEN: OnceLock<Level> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let Ok(name) = std::env::var(LEVEL_VARIABLE) else { return Self::machine() };
            match Self::ALL.into_iter().find(|level| level.name() == name) {
                Some(level) => level.here(),
                None => {
                    tracing::warn!(name, "{LEVEL_VARIABLE} names no level: scalar, avx2, avx512 or amx");
                    Self::machine()
                }
            }
        })
    }

    /// This level, or the machine's when that is lower.
    pub fn here(self) -> Self {
        self.min(Self::machine())
    }
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Level {
    use std::arch::is_x86_feature_detected as has;
    if !(has!("avx2") && has!("fma") && has!("f16c")) {
        Level::Scalar
    } else if !(has!("avx512f")
        && has!("avx512bw")
        && has!("avx512vl")
        && has!("avx512dq")
        && has!("avx512vnni"))
    {
        Level::Avx2
    } else if !amx_is_granted() {
        Level::Avx512
    } else {
        Level::Amx
    }
}

/// Whether the machine has AMX for bytes, and the system lets this process use it: Linux wants to be asked, once for all
/// threads (`Documentation/arch/x86/xstate.rst` of the kernel).
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn amx_is_granted() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    const TILES_AND_BYTES: u32 = 3 << 24;
    /// `arch_prctl`, its request for a permission, and the tiles' state.
    const ARCH_PRCTL: u64 = 158;
    const REQUEST: u64 = 0x1023;
    const TILES: u64 = 18;
    if __cpuid(0).eax < 7 || __cpuid_count(7, 0).edx & TILES_AND_BYTES != TILES_AND_BYTES {
        return false;
    }
    let refused: i64;
    // SAFETY: the call changes what the process may use and reads or writes no memory; it spoils rcx and r11.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => refused,
            in("rdi") REQUEST,
            in("rsi") TILES,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    refused == 0
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn amx_is_granted() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Level {
    Level::Scalar
}
