"""Flows on a real Prefect: its server, its runner and its processes."""
