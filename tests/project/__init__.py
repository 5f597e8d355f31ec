"""Tests of what surrounds the package: environments, builds, workflows and benchmarks."""
