//! A stand-in for NVIDIA's driver library, over main memory: the functions of it that vramkit uses, with the
//! semantics that matter. For tests only.
//!
//! * Memory is created by the page, has content of its own, and is mapped into reserved addresses; mapped memory is
//!   out of bounds until access is granted. Copies and fills look at the book first: an access out of bounds is
//!   the driver's error 700 and loses the context for good, as on a card.
//! * A mapping is undone whole or not at all; mapping over a mapping, undoing none, freeing what is not there and
//!   sizes off the granularity are errors.
//! * Streams can be held by a test: events recorded on a held stream are not ready until it is let go. The handle of a
//!   stream that was destroyed is the next one's.
//!
//! What it has is read from the environment when it is initialised, so that a program under test needs no
//! changes: `VRAMKIT_STANDIN_CARDS` (1), `VRAMKIT_STANDIN_BYTES` a card (1 GiB), `VRAMKIT_STANDIN_PLAIN` (set: no virtual
//! memory management), `VRAMKIT_STANDIN_UUIDS` (`GPU-…,MIG-…`; from the ordinal without), `VRAMKIT_STANDIN_FAULTS`, such as `cuMemCreate:3=2,cuMemMap:1=700` (the third call of the one
//! fails with 2, the first of the other with 700). Tests in the same process use the functions whose names begin
//! with `standin_`.
// Names, types and contracts are the driver's, whose documentation says them.
#![allow(unsafe_code, non_snake_case, missing_docs, clippy::missing_safety_doc)]

mod code;
mod control;
mod driver;
mod memory;
mod nvml;
mod process;
mod state;
mod streams;

pub use control::{
    standin_bytes_created, standin_fail, standin_hold_streams, standin_others_hold, standin_reset,
};
