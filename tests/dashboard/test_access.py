"""Who comes in, and what for: each rule has a test that fails without it."""

from __future__ import annotations

import base64
import logging
import re
from typing import Any

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Mount

from redisflow import RedisFlow
from redisflow.dashboard.access.credentials import AnyOf, BasicAuth, BearerAuth
from redisflow.dashboard.access.given_auth import read_auth
from redisflow.dashboard.access.hosts import without_port
from redisflow.dashboard.access.roles import NEEDS, Identity, Role, may
from redisflow.dashboard.access.throttle import Throttle
from redisflow.dashboard.services import DashboardOptions, Services
from tests.dashboard.apps import application

V1 = "/api/v1"
USERS = {
    "vera": ("see-no-evil", Role.VIEWER),
    "otto": ("operate-it", Role.OPERATOR),
    "ada": ("delete-it-all", Role.ADMIN),
}
PASSWORDS = [password for password, _ in USERS.values()]


def basic(name: str, password: str | None = None) -> dict[str, str]:
    sent = f"{name}:{USERS[name][0] if password is None else password}"
    return {"Authorization": f"Basic {base64.b64encode(sent.encode()).decode()}"}


def check_refused(answer: Any, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"
    for word in words:
        assert word in answer.text


# -- who it is --------------------------------------------------------------------------------------------------------


async def test_who_has_no_password_is_asked_for_it(make_client):
    async with make_client(auth=BasicAuth(USERS)) as client:
        for path in ("/page", f"{V1}/runs", f"{V1}/openapi.json", "/static/app.css", "/nowhere"):
            answer = await client.get(path)
            check_refused(answer, 401)
            assert answer.headers["www-authenticate"].startswith('Basic realm="redisflow"')
        for path in ("/healthz", "/readyz"):
            assert (await client.get(path)).status_code == 200


async def test_a_right_password_comes_in_and_no_other(make_client):
    async with make_client(auth=BasicAuth(USERS)) as client:
        answer = await client.get("/page", headers=basic("vera"))
        assert answer.text.split()[1] == "vera"
        wrong = [
            basic("vera", "operate-it"),
            basic("vera", ""),
            {"Authorization": "Basic " + base64.b64encode(b"nobody:see-no-evil").decode()},
            {"Authorization": "Basic " + base64.b64encode(b"vera").decode()},
            {"Authorization": "Basic no base64!"},
            {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe:x").decode()},
            {"Authorization": "Basic " + "A" * 5000},
            {"Authorization": "Bearer see-no-evil"},
            {"Authorization": "Basic"},
        ]
        for headers in wrong:
            check_refused(await client.get("/page", headers=headers), 401)


async def test_tokens_come_in_and_have_names(make_client):
    auth = BearerAuth({"t0ken": Role.VIEWER, "s3cret": Identity("deploy", Role.OPERATOR)})
    async with make_client(auth=auth) as client:
        for token, name in (("t0ken", "token-1"), ("s3cret", "deploy")):
            answer = await client.get("/page", headers={"Authorization": f"bearer {token}"})
            assert answer.text.split()[1] == name
        for headers in ({}, {"Authorization": "Bearer t0ke"}, {"Authorization": "Bearer"}, basic("ada")):
            answer = await client.get("/page", headers=headers)
            check_refused(answer, 401)
            assert answer.headers["www-authenticate"] == 'Bearer realm="redisflow"'


async def test_either_of_several_ways_comes_in(make_client):
    async with make_client(auth=AnyOf([BasicAuth(USERS), BearerAuth({"t0ken": Role.VIEWER})])) as client:
        assert (await client.get("/page", headers=basic("otto"))).status_code == 200
        assert (await client.get("/page", headers={"Authorization": "Bearer t0ken"})).status_code == 200
        answer = await client.get("/page")
        check_refused(answer, 401)
        assert "Basic" in answer.headers["www-authenticate"]
        assert "Bearer" in answer.headers["www-authenticate"]


async def test_an_auth_of_ones_own_may_answer_a_role_an_identity_or_nobody(make_client):
    async def auth(request: Request) -> Role | Identity | None:
        known: dict[str, Role | Identity] = {"1": Role.VIEWER, "2": Identity("zoe", Role.ADMIN)}
        return known.get(request.headers.get("x-badge", ""))

    async with make_client(auth=auth) as client:
        assert (await client.get("/page", headers={"X-Badge": "1"})).text.split()[1] == "anonymous"
        assert (await client.get("/page", headers={"X-Badge": "2"})).text.split()[1] == "zoe"
        check_refused(await client.get("/page"), 401)
        check_refused(await client.post(f"{V1}/runs", json={"workflow": "order"}, headers={"X-Badge": "1"}), 403)


SECRET = "the-pass-word"
"""Not written where it is raised: a traceback shows that line."""


async def test_an_auth_that_fails_lets_nobody_in_and_says_no_words(make_client, caplog):
    def auth(_request: Request) -> Role:
        raise RuntimeError(SECRET)

    async with make_client(auth=auth) as client:
        for path in ("/page", f"{V1}/runs"):
            answer = await client.get(path)
            check_refused(answer, 500)
            assert SECRET not in answer.text + caplog.text
    assert "auth failed: RuntimeError" in caplog.text


def test_a_name_that_would_make_two_lines_of_a_log_is_none():
    for name in ("", "a\nb", "a\x1b[31m", "x" * 201):
        with pytest.raises(ValueError, match="printable"):
            Identity(name, Role.VIEWER)


# -- guessing ---------------------------------------------------------------------------------------------------------


async def test_whoever_guesses_has_to_wait_also_with_the_right_password(make_client):
    now = [1000.0]
    throttle = Throttle(most=3, window_s=60, clock=lambda: now[0])
    async with make_client(auth=BasicAuth(USERS, throttle=throttle)) as client:
        for _ in range(3):
            check_refused(await client.get("/page", headers=basic("ada", "guess")), 401)
        now[0] += 10
        answer = await client.get("/page", headers=basic("ada"))
        check_refused(answer, 429, "too many failed attempts")
        assert answer.headers["retry-after"] == "50"
        now[0] += 50
        assert (await client.get("/page", headers=basic("ada"))).status_code == 200


def test_attempts_are_counted_by_address_and_bounded():
    now = [0.0]
    throttle = Throttle(most=2, window_s=60, remembered=3, clock=lambda: now[0])
    for _ in range(2):
        throttle.count("a")
    throttle.count("b")
    assert throttle.wait_s("a") == 60
    assert throttle.wait_s("b") == throttle.wait_s("c") == 0
    for number in range(3):
        throttle.count(str(number))
    assert throttle.wait_s("a") == 0
    for _ in range(2):
        throttle.count("d")
    now[0] += 1000
    assert throttle.wait_s("d") == 0
    throttle.count("d")
    assert throttle.wait_s("d") == 0, "a new minute begins with a new count"


async def test_tokens_cannot_be_guessed_either(make_client):
    auth = BearerAuth({"t0ken": Role.ADMIN}, throttle=Throttle(most=1))
    async with make_client(auth=auth) as client:
        check_refused(await client.get("/page", headers={"Authorization": "Bearer guess"}), 401)
        check_refused(await client.get("/page", headers={"Authorization": "Bearer t0ken"}), 429)


# -- secrets ----------------------------------------------------------------------------------------------------------


async def test_no_secret_and_no_payload_is_in_a_log(make_client, working: RedisFlow, caplog):
    caplog.set_level(logging.DEBUG)
    async with make_client(auth=AnyOf([BasicAuth(USERS), BearerAuth({"t0ken-t0ken": Role.ADMIN})])) as client:
        await client.get("/page", headers=basic("ada", "wr0ng-guess"))
        await client.get("/page", headers={"Authorization": "Bearer wr0ng-t0ken"})
        sent = {"workflow": "echo", "input": "the-pay-load", "key": "the-key"}
        run_id = (await client.post(f"{V1}/runs", json=sent, headers=basic("otto"))).json()["id"]
        stream = {"Accept": "text/event-stream", **basic("vera")}
        assert "the-pay-load" in (await client.get(f"{V1}/runs/{run_id}/events", headers=stream)).text
        await client.post(f"{V1}/runs/{run_id}:signal", json={"name": "x", "data": "the-da-ta"}, headers=basic("otto"))
        await client.post(f"{V1}/runs", json={"workflow": "order", "input": "the-bad-input"}, headers=basic("otto"))
    words = [*PASSWORDS, "wr0ng", "t0ken", "the-pay-load", "the-key", "the-da-ta", "the-bad-input"]
    lines = [record.getMessage() + str(record.exc_info or "") for record in caplog.records]
    assert any("start of workflow 'echo' by 'otto' (operator): done" in line for line in lines)
    assert [word for word in words if any(word in line for line in lines)] == []


def test_what_knows_secrets_does_not_show_them():
    auth = read_auth(["basic:ada:delete-it-all", "bearer:t0ken:viewer"])
    shown = repr(auth) + repr(DashboardOptions(auth=auth)) + repr(vars(BasicAuth(USERS))) + repr(vars(auth))
    assert "ada" in shown
    assert [secret for secret in (*PASSWORDS, "t0ken") if secret in shown] == []


# -- what stands behind --auth ----------------------------------------------------------------------------------------


def credentials(sent: str) -> Request:
    return Request({"type": "http", "headers": [(b"authorization", sent.encode())], "client": ("127.0.0.1", 1)})


def basic_of(name: str, password: str) -> Request:
    return credentials("Basic " + base64.b64encode(f"{name}:{password}".encode()).decode())


@pytest.mark.parametrize(
    ("text", "password", "role"),
    [
        ("basic:ada:pw", "pw", Role.ADMIN),
        ("basic:ada:pw:viewer", "pw", Role.VIEWER),
        ("basic:ada:p:w:operator", "p:w", Role.OPERATOR),
        ("basic:ada:admin", "admin", Role.ADMIN),
        ("basic:ada:p:w", "p:w", Role.ADMIN),
    ],
)
def test_a_user_may_be_said_in_words(text: str, password: str, role: Role):
    auth = read_auth([text])
    assert auth(basic_of("ada", password)) == Identity("ada", role)
    assert auth(basic_of("ada", password + "!")) is None


def test_secrets_may_stand_in_a_file_and_in_the_environment(tmp_path):
    file = tmp_path / "users"
    file.write_text("# who may come in\n\nbasic:ada:pw\n  bearer:t0ken:viewer  \n")
    auth = read_auth([f"@{file}", "env:MORE"], {"MORE": "basic:otto:pw2:operator"})
    assert auth(basic_of("ada", "pw")) == Identity("ada", Role.ADMIN)
    assert auth(basic_of("otto", "pw2")) == Identity("otto", Role.OPERATOR)
    assert auth(credentials("Bearer t0ken")) == Identity("token-1", Role.VIEWER)


@pytest.mark.parametrize(
    "texts",
    [[], ["s3cret"], ["basic:s3cret"], ["basic::s3cret"], ["basic:s3cret:"], ["bearer:"], ["@/no/such"], ["env:NONE"]],
)
def test_what_says_nobody_is_refused_without_repeating_it(texts: list[str]):
    with pytest.raises(ValueError) as told:
        read_auth(texts, {})
    assert "s3cret" not in str(told.value)


# -- roles ------------------------------------------------------------------------------------------------------------


def calls(run_id: str) -> dict[Role, list[tuple[str, str, Any]]]:
    """For each role, what it may do and the one before may not."""
    return {
        Role.VIEWER: [("GET", f"/runs/{run_id}", None), ("GET", "/queues", None), ("GET", "/bulk", None)],
        Role.OPERATOR: [
            *(("POST", f"/runs/{run_id}:{verb}", None) for verb in ("cancel", "retry", "rerun", "pause", "resume")),
            ("POST", f"/runs/{run_id}:fork", {"from_step": "charge"}),
            ("POST", f"/runs/{run_id}:signal", {"name": "x"}),
            ("POST", "/runs", {"workflow": "order", "input": 1}),
            ("POST", "/queues/default:pause", None),
            ("POST", "/queues/default:resume", None),
            ("POST", "/workflows/order:pause", None),
            ("POST", "/workflows/order:resume", None),
            ("POST", "/schedules/nightly:pause", None),
            ("POST", "/schedules/nightly:resume", None),
            ("POST", "/schedules/nightly:trigger", None),
            ("POST", "/bulk", {"verb": "cancel", "ids": [run_id]}),
        ],
        Role.ADMIN: [
            ("POST", "/bulk", {"verb": "delete", "ids": [run_id]}),
            ("DELETE", f"/runs/{run_id}", None),
            ("DELETE", "/schedules/nightly", None),
            ("POST", "/workers/nobody:drain", None),
        ],
    }


async def test_each_role_may_do_its_own_and_what_those_before_may(make_client, shop: RedisFlow):
    names = {role: name for name, (_, role) in USERS.items()}
    async with make_client(auth=BasicAuth(USERS)) as client:
        for role, name in names.items():
            run_id = (await shop.run_workflow("order", 1)).id
            await shop.schedules.create("nightly", "order", input=1, cron="0 3 * * *")
            for needed, requests in calls(run_id).items():
                for method, path, body in requests:
                    answer = await client.request(method, V1 + path, json=body, headers=basic(name))
                    assert (answer.status_code == 403) == (role < needed), (name, method, path, answer.text)
                    assert answer.status_code != 401


async def test_who_may_not_is_told_so_before_anything_is_looked_at(make_client, shop: RedisFlow):
    async with make_client(auth=BasicAuth(USERS)) as client:
        for path, body in (("/runs", {"nonsense": 1}), ("/bulk", {}), (f"/runs/{'0' * 32}:signal", None)):
            answer = await client.post(V1 + path, json=body, headers=basic("vera"))
            check_refused(answer, 403, "operator")


async def test_what_is_not_permitted_changes_nothing_and_stands_in_the_log(make_client, shop: RedisFlow, caplog):
    caplog.set_level(logging.INFO, logger="redisflow.dashboard.audit")
    run = await shop.run_workflow("approval")
    services = Services.of(shop)
    with pytest.raises(Exception, match="needs the role operator"):
        await services.actions.cancel(Identity("vera", Role.VIEWER), run.id)
    assert (await run.get()).status == "pending"
    assert caplog.messages == [f"cancel of run {run.id!r} by 'vera' (viewer): not permitted"]


def test_a_page_can_ask_what_to_offer():
    assert [action for action in NEEDS if may(Identity("v", Role.VIEWER), action, read_only=False)] == []
    assert not may(Identity("o", Role.OPERATOR), "delete", read_only=False)
    assert may(Identity("a", Role.ADMIN), "delete", read_only=False)
    assert not may(Identity("a", Role.ADMIN), "cancel", read_only=True)


async def test_a_read_only_dashboard_changes_nothing_whoever_asks(make_client, shop: RedisFlow):
    run = await shop.run_workflow("approval")
    async with make_client(read_only=True) as client:
        for requests in calls(run.id).values():
            for method, path, body in requests:
                answer = await client.request(method, V1 + path, json=body)
                assert (answer.status_code == 403) == (method != "GET"), (method, path)
        check_refused(await client.post("/form", data={"a": "b"}), 403, "read-only")
    assert (await run.get()).status == "pending"
    # Also for a caller that no middleware stands before.
    services = Services.of(shop, DashboardOptions(read_only=True))
    with pytest.raises(Exception, match="read-only"):
        await services.actions.cancel(Identity("ada", Role.ADMIN), run.id)
    with pytest.raises(Exception, match="read-only"):
        services.bulk_jobs.start("cancel", [run.id], Identity("ada", Role.ADMIN))


# -- forged requests --------------------------------------------------------------------------------------------------


async def token_of(client: httpx2.AsyncClient) -> str:
    """As a page shows it; the client keeps the cookie."""
    token: str = (await client.get("/page")).text.split()[0]
    assert client.cookies["redisflow_csrf"] == token
    return token


async def test_a_form_of_ours_is_taken_and_read(client):
    token = await token_of(client)
    answer = await client.post("/form", data={"csrf": token, "input": "{}"})
    assert (answer.status_code, answer.text) == (200, f"csrf={token}&input=%7B%7D")
    assert (await client.post("/form", data={"a": "b"}, headers={"X-CSRF-Token": token})).text == "a=b"
    assert (await client.get("/page")).text.split()[0] == token, "it stays the same for all of one's pages"


async def test_a_form_without_the_token_is_refused(client):
    check_refused(await client.post("/form", data={"csrf": "x" * 43}), 403, "token")
    token = await token_of(client)
    for data in ({}, {"csrf": ""}, {"csrf": "x" * 43}, {"csrf": [token, token]}, {"CSRF": token}):
        check_refused(await client.post("/form", data=data), 403, "token")
    check_refused(await client.post("/form", data={"csrf": token}, headers={"X-CSRF-Token": "x" * 43}), 403)
    check_refused(await client.post(f"/form?csrf={token}"), 403)
    check_refused(await client.post("/form", content=f"csrf={token}", headers={"Content-Type": "text/plain"}), 403)
    check_refused(await client.post("/form", data={"csrf": token, "x": "y" * (3 << 20)}), 413)
    client.cookies.clear()
    check_refused(await client.post("/form", data={"csrf": token}), 403, "token")


async def test_another_site_is_refused_even_with_the_token(client):
    token = await token_of(client)
    for site in ("cross-site", "same-site", "nonsense"):
        answer = await client.post("/form", data={"csrf": token}, headers={"Sec-Fetch-Site": site})
        check_refused(answer, 403, "another site")
        answer = await client.post(f"{V1}/runs", json={}, headers={"Sec-Fetch-Site": site, "X-CSRF-Token": token})
        check_refused(answer, 403, "another site")
    for origin in ("http://evil.example", "http://localhost:8000", "http://localhost.evil.example", "null"):
        check_refused(await client.post("/form", data={"csrf": token}, headers={"Origin": origin}), 403, "origin")
    for headers in (
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://localhost"},
    ):
        assert (await client.post("/form", data={"csrf": token}, headers=headers)).status_code == 200


async def test_the_api_wants_the_token_of_browsers_and_of_nobody_else(make_client, shop: RedisFlow):
    body = {"workflow": "order", "input": 1}
    async with make_client(auth=BasicAuth(USERS)) as client:
        curl = await client.post(f"{V1}/runs", json=body, headers=basic("otto"))
        assert curl.status_code == 201
        for of_a_browser in (
            {"Sec-Fetch-Site": "same-origin"},
            {"Origin": "http://localhost"},
            {"Referer": "http://localhost/page"},
            {"Cookie": "session=1"},
        ):
            answer = await client.post(f"{V1}/runs", json=body, headers={**basic("otto"), **of_a_browser})
            check_refused(answer, 403, "token")
        token = (await client.get("/page", headers=basic("otto"))).text.split()[0]
        headers = {**basic("otto"), "Sec-Fetch-Site": "same-origin", "X-CSRF-Token": token}
        assert (await client.post(f"{V1}/runs", json=body, headers=headers)).status_code == 201
        # Pages are for browsers only.
        client.cookies.clear()
        check_refused(await client.post("/form", data={"a": "b"}, headers=basic("otto")), 403, "token")


async def test_a_bearer_token_is_enough(make_client, shop: RedisFlow):
    async with make_client(auth=BearerAuth({"t0ken": Role.OPERATOR})) as client:
        headers = {"Authorization": "Bearer t0ken", "Cookie": "session=1", "Sec-Fetch-Site": "cross-site"}
        answer = await client.post(f"{V1}/runs", json={"workflow": "order", "input": 1}, headers=headers)
        assert answer.status_code == 201


async def test_the_cookie_is_for_this_dashboard_alone(client):
    answer = await client.get("/page")
    assert answer.headers["set-cookie"].endswith("; Path=/; SameSite=Strict; HttpOnly")
    assert "set-cookie" not in (await client.get("/page")).headers
    client.cookies.clear()
    secure = await client.get("https://localhost/page")
    assert secure.headers["set-cookie"].endswith("; Secure")
    client.cookies.clear()
    assert "set-cookie" not in (await client.get(f"{V1}/runs")).headers
    forged = await client.get("/page", headers={"Cookie": 'redisflow_csrf=<script>"'})
    assert "<script>" not in forged.text


@pytest.mark.parametrize("paths", [("/ops/ns/b", "/ops"), ("/ops", "/ops/ns/b")])
async def test_tabs_of_dashboards_below_each_other_do_not_take_each_others_token(
    shop: RedisFlow, paths: tuple[str, str]
):
    inside = Services.of(shop, DashboardOptions())
    whole = Starlette(routes=[Mount("/ops/ns/b", application(inside)), Mount("/ops", application(inside))])
    jar: list[tuple[str, str]] = []
    tabs: list[tuple[str, str]] = []
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=whole), base_url="http://localhost") as client:

        def sent(path: str) -> dict[str, str]:
            """What a browser sends there: the cookies of longer paths first."""
            fit = sorted((each for each in jar if path.startswith(each[0])), key=lambda each: -len(each[0]))
            return {"Cookie": "; ".join(["session=1", *(f"redisflow_csrf={token}" for _, token in fit)])}

        for path in (*paths, *paths):
            page = await client.get(f"{path}/page", headers=sent(path))
            if found := re.match("redisflow_csrf=([^;]+); Path=([^;]+);", page.headers.get("set-cookie", "")):
                jar.append((found[2], found[1]))
            client.cookies.clear()
            tabs.append((path, page.text.split()[0]))
        for path, token in tabs:
            answer = await client.post(f"{path}/form", data={"csrf": token}, headers=sent(path))
            assert answer.status_code == 200
            check_refused(await client.post(f"{path}/form", data={"csrf": "x" * 43}, headers=sent(path)), 403, "token")
            check_refused(await client.post(f"{path}/form", data={"csrf": token}, headers={"Cookie": "s=1"}), 403)
    assert len(jar) == (2 if paths[0] == "/ops/ns/b" else 1), "what is above is known below, and not the other way"


# -- hosts, headers, prefixes -----------------------------------------------------------------------------------------


async def test_it_answers_to_its_own_names_only(make_client):
    async with make_client(allowed_hosts=["board.example.com", "*.internal"]) as client:
        for host in ("localhost", "LOCALHOST:8899", "127.0.0.1:1", "[::1]:8899", "board.example.com", "a.b.internal"):
            assert (await client.get("/page", headers={"Host": host})).status_code == 200
        for host in ("evil.example", "localhost.evil.example", "example.com", "internal", "0.0.0.0", "", "localhost:x"):
            check_refused(await client.get("/page", headers={"Host": host}), 400, "allowed_hosts")
            answer = await client.get(f"{V1}/runs", headers={"Host": host})
            check_refused(answer, 400)
            assert answer.headers["content-type"] == "application/problem+json"
        two = await client.get("/page", headers=[("Host", "localhost"), ("Host", "evil.example")])
        check_refused(two, 400)
        assert (await client.get("/healthz", headers={"Host": "10.0.0.7:8899"})).status_code == 200


@pytest.mark.parametrize(
    ("host", "name"),
    [("a:80", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("A.b.", "a.b"), ("a:", "a"), ("a:b", "a:b"), ("", "")],
)
def test_a_port_is_no_part_of_a_name(host: str, name: str):
    assert without_port(host) == name


async def test_each_answer_says_how_a_browser_has_to_treat_it(client):
    for path in ("/page", f"{V1}/runs", f"{V1}/nothing", "/nowhere", "/healthz", "/static/none.css"):
        headers = (await client.get(path)).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"
    assert "immutable" in (await client.get("/static/app.css")).headers["cache-control"]


async def test_it_works_below_any_prefix(shop: RedisFlow):
    services = Services.of(shop)
    outer = Starlette(routes=[Mount("/ops/flows", app=application(services))])
    transport = httpx2.ASGITransport(app=outer)
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        page = await client.get("/ops/flows/page")
        assert page.text.endswith("/ops/flows/page")
        assert "Path=/ops/flows;" in page.headers["set-cookie"]
        client.cookies.clear()
        started = await client.post("/ops/flows/api/v1/runs", json={"workflow": "order", "input": 1})
        assert started.headers["location"] == f"/ops/flows/api/v1/runs/{started.json()['id']}"
        assert (await client.get(started.headers["location"])).status_code == 200
        assert "immutable" in (await client.get("/ops/flows/static/app.css")).headers["cache-control"]
        assert (await client.get("/ops/flows/healthz", headers={"Host": "10.0.0.7"})).status_code == 200


async def test_a_proxys_prefix_is_believed_only_where_that_is_said(make_client):
    async with make_client() as client:
        assert (await client.get("/page", headers={"X-Forwarded-Prefix": "/x"})).text.endswith(" /page")
    async with make_client(trust_prefix=True) as client:
        answer = await client.get("/page", headers={"X-Forwarded-Prefix": "/team/x/"})
        assert answer.text.endswith(" /team/x/page")
        assert "Path=/team/x;" in answer.headers["set-cookie"]
        for prefix in ("//evil.example", "/\\evil.example", "evil", "/a;b", "/a b", "/<x>"):
            client.cookies.clear()
            answer = await client.get("/page", headers={"X-Forwarded-Prefix": prefix})
            assert answer.text.endswith(" /page")


async def test_there_are_no_websockets(shop: RedisFlow):
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/page", "headers": [], "query_string": b"", "root_path": ""}
    await application(Services.of(shop))(scope, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
