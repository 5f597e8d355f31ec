"""Races that no test can stage: interruptions, crowds, faults and forks at random moments, for minutes.

`make soak` runs them and writes RESULT.md beside this file. Client and server are processes of their own, so that
Ctrl-C hits the client alone, and the server's ledger is beyond doubt.
"""
