"""Tests of notebooks and pages."""
