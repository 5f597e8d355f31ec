"""Tests of the sandbox: its world, its server, and the fixture for users."""
