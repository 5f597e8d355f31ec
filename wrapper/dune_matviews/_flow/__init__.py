"""Effects, flows, and the two drivers that carry them out: the only code that sleeps or awaits a flow. And the log.

This room must not know anything of Dune, of HTTP, or of the decisions that flows make.

A *flow* is a plain generator. It yields effects (send this request, sleep so long) and receives their results; a
failed call is thrown into it, so that flows are written with ordinary `try` and `except`. Each policy is thus written
once, and serves the synchronous and the asynchronous client alike.
Two rules: a flow yields nothing while it is being closed, and nothing after an exception that is not an `Exception`
(Ctrl-C, a task's cancellation) was thrown into it.
"""
