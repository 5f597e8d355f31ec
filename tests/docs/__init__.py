"""Tests of the documents: their programs and commands run as they stand."""
