"""Tests on the real Dagster."""
