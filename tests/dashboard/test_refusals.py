"""What is odd lets nobody in, what is open says nothing, and who is refused stands in the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from redisflow import RedisFlow
from redisflow.dashboard.access.credentials import BasicAuth
from redisflow.dashboard.access.roles import NEEDS, Identity, Role
from redisflow.dashboard.services import DashboardOptions
from tests.dashboard.browsing import browsing
from tests.dashboard.test_access import PASSWORDS, USERS, V1, basic, check_refused


@pytest.mark.parametrize("odd", [False, True, "basic:ann:secret", {"ann": "secret"}, 0], ids=repr)
def test_an_auth_that_cannot_be_asked_is_refused_at_once_and_not_shown(odd: Any):
    with pytest.raises(TypeError, match="auth is BasicAuth") as raised:
        DashboardOptions(auth=odd)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("odd", [False, True, 0, 3, "admin", ("ann", Role.ADMIN)], ids=repr)
async def test_an_auth_that_answers_oddly_lets_nobody_in(make_client, caplog, odd: Any):
    async with make_client(auth=lambda _request: odd) as client:
        for path in ("/page", f"{V1}/runs"):
            check_refused(await client.get(path), 500)
    assert "auth failed: NoIdentity" in caplog.text


def test_a_role_that_is_none_is_refused():
    for role in (True, 3, "admin", None):
        odd: Any = role
        with pytest.raises(TypeError, match="is a Role"):
            Identity("ann", odd)


async def test_what_is_open_to_everybody_says_nothing_in_any_method(shop: RedisFlow):
    async with browsing(shop, auth=BasicAuth(USERS)) as browser:
        for path in ("/healthz", "/readyz"):
            for method in ("OPTIONS", "POST", "PUT", "DELETE", "TRACE", "PATCH"):
                answer = await browser.client.request(method, path)
                assert answer.status_code in {403, 405}
                assert len(answer.text) < 200
                assert shop.namespace not in answer.text
                assert "set-cookie" not in answer.headers


async def test_who_is_refused_stands_in_the_log_without_what_is_secret(make_client, caplog):
    async with make_client(auth=BasicAuth(USERS)) as client:
        await client.get(f"{V1}/runs?q=a-secret", headers={**basic("ada"), "Host": "evil.example"})
        await client.post("/form?x=a-secret", headers={**basic("ada"), "Origin": "http://evil.example"})
        await client.post(f"{V1}/runs?x=a-secret", json={"workflow": "a-secret"}, headers=basic("vera"))
    refused = [line for line in caplog.messages if line.startswith("refused")]
    assert [line.partition(" from ")[0] for line in refused] == [
        f"refused GET '{V1}/runs'",
        "refused POST '/form'",
        f"refused POST '{V1}/runs'",
    ]
    assert "400, this host" in refused[0]
    assert "403, this comes from another origin" in refused[1]
    assert "403, this needs the role operator, and vera has less" in refused[2]
    assert [secret for secret in ("a-secret", *PASSWORDS) if secret in caplog.text] == []


async def test_a_path_makes_no_second_line_of_the_log(make_client, caplog):
    async with make_client() as client:
        await client.get("/a%0aforged%1b[31m" + "x" * 5000, headers={"Host": "evil.example"})
    (line,) = [line for line in caplog.messages if line.startswith("refused")]
    assert line.isprintable()
    assert len(line) < 500


def test_the_documentation_says_what_each_role_may():
    text = (Path(__file__).parents[2] / "docs" / "dashboard.md").read_text(encoding="utf-8")
    for role in (Role.OPERATOR, Role.ADMIN):
        row = text.partition(f"| {role.name.lower()} | ")[2].partition(" |")[0].removesuffix(" as well")
        assert set(row.split(", ")) == {action for action, least in NEEDS.items() if least is role}
