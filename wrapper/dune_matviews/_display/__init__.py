"""The spans of a run, its report as a page of HTML, and the displays of a notebook.

This room must not know how the values that it shows are made.
"""
