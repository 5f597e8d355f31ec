"""The way to Dune and back: settings, connections, one exchange, responses, redaction of the key.

This room is the only one that imports httpx by hand. It must not know operations, flows or policies: it is handed
requests as plain data, sends each of them once, and returns successes as plain data or raises.
"""
