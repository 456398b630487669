"""Speed and memory benchmarks; docs/design/performance.md has their results."""
