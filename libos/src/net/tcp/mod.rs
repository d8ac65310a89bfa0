//! TCP.
mod engine;
