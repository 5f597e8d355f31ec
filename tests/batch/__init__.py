"""Tests of runs over many views."""
