"""Tests of the two drivers."""
