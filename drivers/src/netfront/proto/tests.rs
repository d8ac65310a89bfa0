//! Both rings against a backend on the same bytes.

mod rx;
mod rx_hostile;
mod tx;
mod tx_hostile;
