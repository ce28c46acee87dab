"""What a function says about its values: the annotation of what it returns, or takes as a workflow's input.

None means that it says nothing; NoneType that it says `None`. The hard thing is that a function may be wrapped, partly
applied, bound or a class, and that its annotations may be text: only the one that is asked for is resolved, so that a
name that is missing elsewhere does no harm.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import types
from collections.abc import Awaitable, Callable
from typing import Any, Final, get_args, get_origin, get_type_hints
from weakref import WeakKeyDictionary

from redisflow.errors import InvalidWorkflow

NoneType: Final = type(None)

# An object that makes up attributes as they are asked for would be unwrapped for ever.
_MOST_WRAPPERS: Final = 100

_returns: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def return_annotation(fn: Callable[..., Any]) -> Any:
    """Return what a call of `fn` gives once it is awaited, by its annotation; None if it does not say.

    Raises InvalidWorkflow if the annotation is text that cannot be resolved. Asking again costs a lookup.
    """
    function = _function_of(fn)
    if isinstance(function, type) or isinstance(get_origin(function), type):
        return function
    try:
        return _returns[function]
    except KeyError:
        pass
    except TypeError:
        # Neither hashable nor weakly referable: some callables of C libraries.
        return _return_annotation(function)
    annotation = _returns[function] = _return_annotation(function)
    return annotation


def input_annotation(fn: Callable[..., Any]) -> Any:
    """Return the annotation of the input of a workflow function `(input, step)`; NoneType for `(step)` alone.

    Raises InvalidWorkflow for a function that takes anything else, or that is not async.
    """
    name = _name_of(fn)
    if not _is_async(fn):
        message = f"the workflow function {name} is not async: write `async def`, and put blocking work into steps"
        raise InvalidWorkflow(message)
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except ValueError as error:
        message = f"the parameters of the workflow function {name} cannot be read: {error}"
        raise InvalidWorkflow(message) from error
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    others = [p for p in parameters if p not in positional and p.default is p.empty]
    if len(positional) not in (1, 2) or others:
        shown = ", ".join(str(p.replace(annotation=p.empty)) for p in parameters)
        message = f"the workflow function {name} takes ({shown}): it is called with (input, step), or with (step) alone"
        raise InvalidWorkflow(message)
    if len(positional) == 1:
        return NoneType
    return _resolved(_function_of(fn), positional[0].name, positional[0].annotation)


def _return_annotation(function: Any) -> Any:
    raw = _raw_annotations(function).get("return", inspect.Parameter.empty)
    annotation = _resolved(function, "return", raw)
    if not _is_awaitable(get_origin(annotation) or annotation) or _is_async(function):
        return annotation
    # Awaitable[T], Coroutine[Any, Any, T], Future[T]: what it gives stands last.
    return (get_args(annotation) or (None,))[-1]


def _is_awaitable(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Awaitable)


def _function_of(fn: Any) -> Any:
    """Return the function, or the class, whose annotations speak for a callable."""
    for _ in range(_MOST_WRAPPERS):
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif isinstance(fn, types.MethodType):
            fn = fn.__func__
        elif isinstance(fn, (types.FunctionType, types.BuiltinFunctionType, type)) or get_origin(fn) is not None:
            return fn
        elif hasattr(fn, "__wrapped__"):
            # Not for functions: their wrapper may return something else, and says so.
            fn = fn.__wrapped__
        else:
            call = _call_of(fn)
            return call if isinstance(call, types.FunctionType) else fn
    return fn


def _is_async(fn: Any) -> bool:
    while isinstance(fn, functools.partial):
        fn = fn.func
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(_call_of(fn))


def _call_of(fn: object) -> object:
    return getattr(type(fn), "__call__", None)  # noqa: B004 - the function itself is wanted, not whether it is there


def _raw_annotations(function: Any) -> dict[str, Any]:
    try:
        return getattr(function, "__annotations__", {})
    except NameError as error:
        # From Python 3.14 on, annotations are evaluated when they are asked for.
        raise _unresolved(function, str(error.name), error) from error


def _resolved(function: Any, name: str, annotation: Any) -> Any:
    if annotation is inspect.Parameter.empty:
        return None
    # A holder of this one annotation: get_type_hints resolves all that it finds.
    holder: Any = types.SimpleNamespace(__annotations__={name: annotation})
    inner = inspect.unwrap(function)
    holder.__type_params__ = getattr(inner, "__type_params__", ())
    try:
        names = _closed_over(inner) if isinstance(annotation, str) else None
        return get_type_hints(holder, getattr(inner, "__globals__", {}), names, include_extras=True)[name]
    except (NameError, AttributeError, TypeError, SyntaxError) as error:
        raise _unresolved(function, str(annotation), error) from error


def _closed_over(function: Any) -> dict[str, Any]:
    """What a local function finds around it by now: what it calls may be defined below it, as it is itself."""
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None) or ()
    found: dict[str, Any] = {}
    for name, cell in zip(getattr(code, "co_freevars", ()), cells, strict=True):
        with contextlib.suppress(ValueError):  # an empty cell
            found[name] = cell.cell_contents
    return found


def _unresolved(function: Any, annotation: str, error: Exception) -> InvalidWorkflow:
    return InvalidWorkflow(
        f"the annotation {annotation!r} of {_name_of(function)} cannot be resolved ({error}): its names must exist at "
        "run time, in the function's module (not under TYPE_CHECKING, and not inside another function)"
    )


def _name_of(fn: Any) -> str:
    name = getattr(fn, "__qualname__", None) or type(fn).__qualname__
    return f"{getattr(fn, '__module__', None)}.{name}"
