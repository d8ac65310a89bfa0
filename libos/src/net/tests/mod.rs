//! Tests of the whole stack: two of them, and a cable between.

mod support;
mod tcp;
