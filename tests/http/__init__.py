"""Tests of the way to Dune and back: deadlines, connections, interruptions, processes and loops, secrets."""
