"""Tests of the way from Dune's spec to the generated client."""
