"""Compares the SDK with plain httpx, the generated client alone and dune-client. `make bench` runs all of it.

Nothing else may depend on this package. It asserts nothing: facts that hold on every machine belong in tests.
"""
