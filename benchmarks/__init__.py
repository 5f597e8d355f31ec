"""Measures the SDK beside raw httpx, the generated client alone and dune-client; `make bench` runs all of it.

This package must not be needed by anything else, and asserts nothing: what must hold on every machine is a test's.
"""
