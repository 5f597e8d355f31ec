"""Tests on a real Airflow, with SQLite."""
