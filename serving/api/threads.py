"""Running what waits for the disk, or computes for long, beside the event loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio.to_thread
from starlette.requests import Request

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


async def in_thread(
    request: Request,
    function: Callable[Arguments, Result],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Result:
    """Call a function in one of the app's threads and return its result.

    Parameters
    ----------
    request : Request
        Of the app whose threads are used.
    function : callable
        The function to call.
    *args, **kwargs
        Its arguments.

    Returns
    -------
    object
        What the function returns.
    """
    call = partial(function, *args, **kwargs)
    return await anyio.to_thread.run_sync(call, limiter=request.app.state.limiter)
