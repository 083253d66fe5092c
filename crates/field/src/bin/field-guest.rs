//! In a guest: plays the scripts of `/field/plan.json` before its rivals. Each line on standard output
//! is an [`Entry`] as JSON.

use std::fs;

use anyhow::Result;
use field::{Entry, Plan};

fn main() -> Result<()> {
    // A line for each kill, over an emulated serial port, takes longer than the kill.
    fs::write("/proc/sys/kernel/printk", "1")?;
    let Plan { stages, rivals } = serde_json::from_str(&fs::read_to_string(Plan::PATH)?)?;
    for stage in &stages {
        for rival in &rivals {
            println!("{}", serde_json::to_string(&Entry::new(stage, rival.as_ref()))?);
        }
    }
    Ok(())
}
