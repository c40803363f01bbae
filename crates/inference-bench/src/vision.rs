//! Models that see.

pub mod engine;
pub mod onnx;
pub mod picture;
pub mod pipeline;
pub mod zoo;
