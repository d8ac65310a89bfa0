//! Rules for source files.

use super::lexer::{self, Layers};
use super::{Finding, SourceFile};

/// How long a line may be.
const COLUMNS: usize = 100;
/// How long a function may be.
const FUNCTION_LINES: usize = 70;
/// How long a file may be.
const FILE_LINES: usize = 500;

/// Where `unsafe` may occur: whatever begins with one of these.
const UNSAFE_ALLOWED: &[&str] = &[
    "boot/",
    "arch/",
    "xen/guest/src/hypercall/native.rs",
    "xen/guest/src/page.rs",
    "xen/guest/src/evtchn/shared_info.rs",
    "xen/guest/src/gnttab/table.rs",
    // The one symbol that boot calls.
    "libos/src/app.rs",
    "libos/src/heap",
    "libos/src/rng/getrandom.rs",
    "qemu-xen-tests/kernels/",
];

/// Checks one file against all rules that are for its kind.
pub fn check(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    if !file.is(&[".md"]) {
        findings.extend(long_lines(file));
    }
    if file.is(&[".rs", ".S", ".ld", ".sh"]) {
        findings.extend(long_file(file));
    }
    if file.is(&[".rs"]) {
        let layers = lexer::layers(&file.text);
        findings.extend(head(file));
        findings.extend(unsafe_code(file, &layers));
        findings.extend(leftovers(file, &layers));
        findings.extend(long_functions(file, &layers));
    }
    findings
}

fn long_lines(file: &SourceFile) -> Vec<Finding> {
    let lines = file.text.lines().enumerate();
    lines
        .map(|(index, line)| (index, line.chars().count()))
        .filter(|(_, columns)| *columns > COLUMNS)
        .map(|(index, columns)| {
            file.finding(index + 1, format!("{columns} columns are more than {COLUMNS}"))
        })
        .collect()
}

fn long_file(file: &SourceFile) -> Option<Finding> {
    let lines = file.text.lines().count();
    (lines > FILE_LINES)
        .then(|| file.finding(0, format!("{lines} lines are more than {FILE_LINES}: split it")))
}

/// Every module says what it does before anything else.
fn head(file: &SourceFile) -> Option<Finding> {
    let first = file.text.lines().find(|line| !line.trim().is_empty());
    (!first.is_some_and(|line| line.starts_with("//! ")))
        .then(|| file.finding(1, "the file does not begin with a module comment `//!`"))
}

fn unsafe_code(file: &SourceFile, layers: &Layers) -> Vec<Finding> {
    if UNSAFE_ALLOWED.iter().any(|start| file.path.starts_with(start)) {
        return Vec::new();
    }
    let lines = layers.code.lines().enumerate();
    lines
        .filter(|(_, line)| words(line).any(|word| word == "unsafe"))
        .map(|(index, _)| file.finding(index + 1, "unsafe code is not allowed in this file"))
        .collect()
}

/// The words of a line of code.
fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// What is meant to be gone before a change is finished: macros in code, marks in comments.
fn leftovers(file: &SourceFile, layers: &Layers) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, (code, comment)) in layers.code.lines().zip(layers.comments.lines()).enumerate() {
        for left in ["todo!", "dbg!", "unimplemented!"] {
            if code.contains(left) {
                findings.push(file.finding(index + 1, format!("leftover `{left}`")));
            }
        }
        for left in ["FIXME", "TODO", "XXX"] {
            if words(comment).any(|word| word == left) {
                findings.push(file.finding(index + 1, format!("leftover `{left}`")));
            }
        }
    }
    findings
}

fn long_functions(file: &SourceFile, layers: &Layers) -> Vec<Finding> {
    let lines: Vec<&str> = layers.code.lines().collect();
    let mut findings = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some((name, column)) = function(line) else { continue };
        let Some(end) = end_of_body(&lines, start, column) else { continue };
        let length = end - start + 1;
        if length > FUNCTION_LINES {
            let what = format!("{name} has {length} lines, more than {FUNCTION_LINES}");
            findings.push(file.finding(start + 1, what));
        }
    }
    findings
}

/// The name of the function that a line begins, and where in the line.
fn function(line: &str) -> Option<(&str, usize)> {
    let at = line.match_indices("fn ").map(|(at, _)| at).find(|at| {
        line[..*at].chars().next_back().is_none_or(|before| !before.is_alphanumeric())
    })?;
    let name = words(&line[at + 3..]).next()?;
    line[at + 3..].trim_start().starts_with(name).then_some((name, at))
}

/// The line that a function's body ends in; `None` for a function without a body.
fn end_of_body(lines: &[&str], start: usize, column: usize) -> Option<usize> {
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    for (index, line) in lines.iter().enumerate().skip(start) {
        let from = if index == start { column } else { 0 };
        for char in line[from..].chars() {
            match char {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets = brackets.saturating_sub(1),
                ';' if braces == 0 && brackets == 0 => return None,
                '{' => braces += 1,
                '}' if braces == 1 => return Some(index),
                '}' => braces = braces.saturating_sub(1),
                _ => {}
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let file = SourceFile { path: path.into(), text: text.into() };
        check(&file).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_good_file_has_no_findings() {
        let text = "//! Head.\n\n/// Not unsafe.\nfn a() {}\nconst B: &str = \"todo!()\";\n";
        assert!(findings("libos/src/a.rs", text).is_empty());
    }

    #[test]
    fn finds_unsafe_code_outside_of_the_list() {
        let text = "//! Head.\nfn a() {\n    unsafe { b() }\n}\n";
        assert_eq!(
            findings("drivers/src/a.rs", text),
            ["drivers/src/a.rs:3: unsafe code is not allowed in this file"]
        );
        assert!(findings("boot/src/a.rs", text).is_empty());
        let attribute = "//! Head.\n#![forbid(unsafe_code)]\n";
        assert!(findings("drivers/src/lib.rs", attribute).is_empty());
    }

    #[test]
    fn finds_long_lines_and_files() {
        let long = format!("//! {}\n", "x".repeat(97));
        assert_eq!(findings("a.rs", &long), ["a.rs:1: 101 columns are more than 100"]);
        let many = "// x\n".repeat(501);
        assert!(findings("a.ld", &many)[0].contains("501 lines"));
        assert!(findings("a.ld", &"// x\n".repeat(500)).is_empty());
    }

    #[test]
    fn finds_missing_heads() {
        assert!(findings("a.rs", "fn a() {}\n")[0].contains("module comment"));
        assert!(findings("a.S", ".code32\n").is_empty());
    }

    #[test]
    fn finds_leftovers() {
        let text = "//! Head.\nfn a() {\n    todo!()\n}\n// TODO: b\n";
        let found = findings("a.rs", text);
        assert_eq!(found, ["a.rs:3: leftover `todo!`", "a.rs:5: leftover `TODO`"]);
    }

    #[test]
    fn finds_long_functions() {
        let body = "    b();\n".repeat(69);
        let text = format!("//! Head.\npub fn a(x: [u8; 4]) -> u8 {{\n{body}}}\n");
        assert_eq!(findings("a.rs", &text), ["a.rs:2: a has 71 lines, more than 70"]);
        let body = "    b();\n".repeat(68);
        let text = format!("//! Head.\nfn a() {{\n{body}}}\ntrait T {{\n    fn c();\n}}\n");
        assert!(findings("a.rs", &text).is_empty());
    }
}
