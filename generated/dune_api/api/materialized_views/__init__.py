"""Contains endpoint functions for accessing the API, and what builds their requests, each imported when first used"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .delete_materialized_view import _get_kwargs as delete_materialized_view_request
    from .get_materialized_view import _get_kwargs as get_materialized_view_request
    from .list_materialized_views import _get_kwargs as list_materialized_views_request
    from .refresh_materialized_view import _get_kwargs as refresh_materialized_view_request
    from .upsert_materialized_view import _get_kwargs as upsert_materialized_view_request
else:
    from importlib import import_module

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module("." + name.removesuffix("_request"), __name__)
        globals()[name] = builder = module._get_kwargs
        return builder


__all__ = (
    "refresh_materialized_view_request",
    "list_materialized_views_request",
    "upsert_materialized_view_request",
    "get_materialized_view_request",
    "delete_materialized_view_request",
)
