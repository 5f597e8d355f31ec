"""Tests of the sandbox, which never use the SDK: it judges without it."""
