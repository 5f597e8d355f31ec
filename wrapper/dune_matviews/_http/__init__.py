"""The way to Dune and back: settings, connections, one exchange, responses, redaction of the key.

This room is the only one that imports httpx by hand. It must not know operations, flows or policies: it is handed
requests as plain data, sends each of them once, and returns successes as plain data or raises.

Decided once for each client: the settings, and the route (proxy, certificates) that makes its connections. Decided once
for each process or event loop: the pool of idle connections, and twenty slots. Decided once for each request, in this
order: a slot, the deadline, a connection, and the headers with the key; then the response is read to a success, a
refusal, or a failure that says whether the request can have been sent.
"""
