//! The examples say what they promise.

use std::process::Command;

/// What an example prints. It was built beside this test.
fn printed(example: &str, arguments: &[&str]) -> Vec<String> {
    let this = std::env::current_exe().unwrap();
    let target = this.parent().unwrap().parent().unwrap();
    let program = target.join("examples").join(example);
    let output = Command::new(&program).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// A modification and a removal in one go, on each profile.
#[test]
fn last_word() {
    assert_eq!(printed("last_word", &[]), ["MODIFY", "DELETE_SELF", "IGNORED"]);
    assert_eq!(printed("last_word", &["linux71"]), ["MODIFY"], "no lookup, no dentry death");
    assert_eq!(printed("last_word", &["linux70"]), ["MODIFY"]);
}

/// Every DELETE_SELF on one mark of the super block.
#[test]
fn superblock() {
    let lines = printed("superblock", &[]);
    let (end, events) = lines.split_last().unwrap();
    assert_eq!(end, "removed 9 files");
    assert_eq!(events.len(), 12);
    assert!(events.iter().all(|line| line.starts_with("DELETE_SELF ")));
}
