"""Annotations: what a function says about its input and its result, however it is wrapped."""

from __future__ import annotations

import asyncio
import functools
import gc
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Annotated, Any, Generic, TypeVar

import pytest

from redisflow.errors import InvalidWorkflow
from redisflow.payload import input_annotation, return_annotation

T = TypeVar("T")
NoneType = type(None)


class Receipt:
    def __init__(self, text: str = "") -> None:
        self.text = text

    def bound(self) -> Receipt:
        return self

    @classmethod
    def made(cls) -> Receipt:
        return cls()

    @staticmethod
    def free() -> Receipt:
        return Receipt()

    def __call__(self, order: str) -> list[Receipt]:
        return [self]


class Later(Awaitable[T], Generic[T]):
    pass


def plain(order: str, number: int = 1) -> Receipt:
    raise NotImplementedError


async def coroutine(order: str) -> Receipt:
    raise NotImplementedError


def returns_none() -> None:
    raise NotImplementedError


def says_nothing(order):
    raise NotImplementedError


def annotated() -> Annotated[int, "positive"]:
    raise NotImplementedError


def awaitable() -> Awaitable[Receipt]:
    raise NotImplementedError


def coroutine_type() -> Coroutine[Any, Any, Receipt]:
    raise NotImplementedError


def future() -> asyncio.Future[Receipt]:
    raise NotImplementedError


def own_awaitable() -> Later[Receipt]:
    raise NotImplementedError


def bare_awaitable() -> Awaitable:
    raise NotImplementedError


async def gives_an_awaitable() -> Awaitable[Receipt]:
    raise NotImplementedError


async def generator() -> AsyncIterator[int]:
    yield await asyncio.sleep(0, 1)


def wrapped(fn: Callable[..., T]) -> Callable[..., T]:
    @functools.wraps(fn)
    def wrapper(*args: Any) -> Any:
        return fn(*args)

    return wrapper


@pytest.mark.parametrize(
    ("fn", "annotation"),
    [
        (plain, Receipt),
        (coroutine, Receipt),
        (returns_none, NoneType),
        (says_nothing, None),
        (annotated, Annotated[int, "positive"]),
        (awaitable, Receipt),
        (coroutine_type, Receipt),
        (future, Receipt),
        (own_awaitable, Receipt),
        (bare_awaitable, None),
        (gives_an_awaitable, Awaitable[Receipt]),
        (generator, AsyncIterator[int]),
        (functools.partial(plain, "x"), Receipt),
        (functools.partial(functools.partial(coroutine), "x"), Receipt),
        (Receipt().bound, Receipt),
        (functools.partial(Receipt().bound), Receipt),
        (Receipt.made, Receipt),
        (Receipt.free, Receipt),
        (Receipt(), list[Receipt]),
        (Receipt, Receipt),
        (wrapped(plain), Receipt),
        (wrapped(wrapped(returns_none)), NoneType),
        (functools.lru_cache(plain), Receipt),
        (len, None),
        ("".join, None),
        ([].append, None),
        (int, int),
        (lambda: 1, None),
    ],
    ids=range(28),
)
def test_the_return_annotation_is_found_behind_every_kind_of_callable(fn, annotation):
    for _ in range(2):
        assert return_annotation(fn) == annotation


def test_a_class_of_the_enclosing_function_is_found_if_the_function_uses_it():
    class Local:
        pass

    def uses() -> Local:
        return Local()

    assert return_annotation(uses) is Local


def test_an_annotation_that_cannot_be_resolved_is_refused_by_its_name():
    def unresolved() -> Nowhere:  # type: ignore[name-defined] # noqa: F821
        raise NotImplementedError

    with pytest.raises(InvalidWorkflow, match=r"'Nowhere'.*unresolved.*TYPE_CHECKING"):
        return_annotation(unresolved)


def test_only_the_annotation_that_is_asked_for_must_be_resolved():
    async def partly(order: Receipt, step: Nowhere) -> int:  # type: ignore[name-defined] # noqa: F821
        raise NotImplementedError

    assert return_annotation(partly) is int
    assert input_annotation(partly) is Receipt


def test_asking_keeps_no_function_alive():
    def body() -> int:
        return 1

    assert return_annotation(body) is int
    reference = weakref.ref(body)
    del body
    gc.collect()
    assert reference() is None


async def with_input(order: Receipt, step: Any) -> int:
    raise NotImplementedError


async def without_input(step: Any) -> int:
    raise NotImplementedError


async def untyped_input(order, step):
    raise NotImplementedError


async def with_options(order: Receipt, step: Any, *, _verbose: bool = False) -> int:
    raise NotImplementedError


class Flows:
    async def bound(self, order: Receipt, step: Any) -> int:
        raise NotImplementedError

    async def __call__(self, step: Any) -> int:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("fn", "annotation"),
    [
        (with_input, Receipt),
        (without_input, NoneType),
        (untyped_input, None),
        (with_options, Receipt),
        (Flows().bound, Receipt),
        (Flows(), NoneType),
        (functools.partial(with_input), Receipt),
        (functools.partial(with_input, Receipt()), NoneType),
    ],
    ids=range(8),
)
def test_the_input_is_the_first_of_two_parameters(fn, annotation):
    assert input_annotation(fn) == annotation


async def takes_nothing() -> None:
    raise NotImplementedError


async def takes_three(order: Receipt, step: Any, _more: int) -> None:
    raise NotImplementedError


async def takes_any(*_everything: Any) -> None:
    raise NotImplementedError


async def takes_options(order: Receipt, step: Any, *, _verbose: bool) -> None:
    raise NotImplementedError


@pytest.mark.parametrize("fn", [takes_nothing, takes_three, takes_any, takes_options])
def test_a_workflow_that_takes_anything_else_is_refused(fn):
    with pytest.raises(InvalidWorkflow, match=rf"{fn.__name__} takes \(.*called with \(input, step\)"):
        input_annotation(fn)


@pytest.mark.parametrize("fn", [plain, generator, wrapped(with_input), len])
def test_a_workflow_that_is_not_async_is_refused(fn):
    with pytest.raises(InvalidWorkflow, match="async def"):
        input_annotation(fn)
