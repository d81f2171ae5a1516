"""Benchmarks of training and video speed."""
