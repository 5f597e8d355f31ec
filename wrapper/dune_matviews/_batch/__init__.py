"""Many views: their order, parallelism, budgets, freshness, and the views that a failure blocks.

This room must not know how an execution is started, found again or polled, nor who drives its flows.
"""
