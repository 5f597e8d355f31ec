"""Dune's API: operations to requests, responses to values.

This room is the only one that imports the generated code. It must not know when requests are made, or how they travel.
"""
