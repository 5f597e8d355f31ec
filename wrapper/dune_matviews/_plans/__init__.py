"""Plan files: how they are written, and where their mistakes are.

This room must not know how views are refreshed, nor that there is a command line.
"""
