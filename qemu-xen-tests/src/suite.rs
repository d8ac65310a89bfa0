//! The suite: every test kernel, how it is started, and what it is expected to do.

use crate::runner::Test;

/// The package that the test kernels are programs of.
pub const PACKAGE: &str = "kernels";

/// All tests, in the order they run in.
pub const TESTS: &[Test] = &[];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<&str> = TESTS.iter().map(|test| test.name).collect();
        assert_eq!(names.len(), TESTS.len());
    }
}
