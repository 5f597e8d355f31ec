"""Tests on the real engines, each in an environment of its own."""
