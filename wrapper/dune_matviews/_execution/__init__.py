"""One execution: started at most once for each intent, found again where its response is lost, polled to its end.

This room must not know the order of views, nor who drives its flows, nor how requests travel.
"""
