"""Benchmarks. None of them is a test."""
