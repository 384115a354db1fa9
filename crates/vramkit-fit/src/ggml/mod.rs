//! ggml's graphs and how they get their memory, replayed from shapes alone.
//!
//! In: operations on tensors of which only shapes are known (`graph.rs`). Out: bytes of each back end's buffer. In between the
//! steps of ggml itself, each in its file: which back end computes what and which tensors are copied between them
//! (`schedule.rs`), the order that a back end gives its part (`vulkan_order.rs`), who lives when and who is written in place
//! (`allocate.rs`), and where each goes (`free_list.rs`). Never here: any architecture, weights' contents, a device.
//!
//! Followed: ggml of llama.cpp v0.5.0 (`ggml.c`, `ggml-alloc.c`, `ggml-backend.cpp`, `ggml-vulkan.cpp`).

mod allocate;
mod backend;
mod cuda_keep;
mod free_list;
mod graph;
mod operators;
mod schedule;
mod tensor;
mod vulkan_order;

pub(crate) use allocate::{Allocation, allocate};
pub(crate) use backend::{Backend, DeviceKind, cuda_copies};
pub(crate) use graph::Graph;
pub(crate) use schedule::schedule;
pub(crate) use tensor::{Glu, Op, Place, TensorId, Unary};
