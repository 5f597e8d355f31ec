"""Tests of both clients as users call them, over real sockets: calls, faults, and all that a program holds."""
