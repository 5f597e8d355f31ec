"""Many views: their order, how many at once, budgets, freshness, and what a failure blocks.

This room must not know how an execution is started, found again or polled, nor who drives its flows.
"""
