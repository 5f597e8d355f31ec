"""Contains endpoint functions for accessing the API, and what builds their requests, each imported when first used"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .get_whoami import _get_kwargs as get_whoami_request
else:
    from importlib import import_module

    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = import_module("." + name.removesuffix("_request"), __name__)
        globals()[name] = builder = module._get_kwargs
        return builder


__all__ = ("get_whoami_request",)
