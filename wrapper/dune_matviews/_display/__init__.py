"""Times and pictures: the spans of a run, its page of HTML, and the displays of a notebook.

This room must not know how the values that it shows are made.
"""
