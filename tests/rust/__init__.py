"""The Rust example, built with cargo. `make rust` runs it."""
