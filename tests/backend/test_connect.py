from __future__ import annotations

import pytest

from redisflow.backend.connect import Credentials, is_same_place, mask_url, read_url
from redisflow.backend.redis_backend import RedisBackend
from redisflow.errors import BackendError, InvalidName

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("url", "hosts", "db"),
    [
        ("redis://localhost", (("localhost", 6379),), 0),
        ("redis://10.0.0.1:7000/3", (("10.0.0.1", 7000),), 3),
        ("redis://h?db=4", (("h", 6379),), 4),
        ("redis://", (("localhost", 6379),), 0),
        ("redis://[::1]:7000/1", (("::1", 7000),), 1),
        ("redis://[fe80::1]", (("fe80::1", 6379),), 0),
        ("redis+cluster://a,b:7001", (("a", 6379), ("b", 7001)), 0),
        ("redis+sentinel://a,b:26380/mymaster/2", (("a", 26379), ("b", 26380)), 2),
    ],
)
def test_a_url_names_hosts_and_a_database(url, hosts, db):
    target = read_url(url)
    assert (target.hosts, target.db) == (hosts, db)


@pytest.mark.parametrize(
    ("url", "kind", "tls"),
    [
        ("redis://h", "single", False),
        ("rediss://h", "single", True),
        ("unix:///tmp/r.sock?db=2", "single", False),
        ("redis+sentinel://h/m", "sentinel", False),
        ("rediss+sentinel://h/m", "sentinel", True),
        ("redis+cluster://h", "cluster", False),
        ("rediss+cluster://h", "cluster", True),
        ("memory://shop", "memory", False),
    ],
)
def test_a_url_names_a_kind_of_server(url, kind, tls):
    target = read_url(url)
    assert (target.kind, target.tls) == (kind, tls)


@pytest.mark.parametrize(
    ("url", "other", "is_same"),
    [
        ("redis://localhost", "redis://LocalHost:6379/0", True),
        ("redis://me:secret@host/1", "redis://host:6379?db=1", True),
        ("redis+cluster://a,b:6380", "redis+cluster://b:6380,a:6379", True),
        ("redis://host/0", "redis://host/1", False),
        ("redis://host", "redis://host:6380", False),
        ("redis://host", "rediss://host", False),
        ("redis+sentinel://host/one", "redis+sentinel://host/two", False),
    ],
)
def test_urls_lead_to_the_same_place_however_they_are_written(url: str, other: str, is_same: bool):
    assert is_same_place(url, other) is is_same


def test_the_parts_that_only_some_urls_have():
    assert read_url("unix:///run/a%20b.sock?db=2").path == "/run/a b.sock"
    assert read_url("redis+sentinel://h/my-master").service == "my-master"
    assert read_url("memory://shop").name == "shop"
    assert read_url("memory://").name == ""
    sentinel = read_url("redis+sentinel://u:p@h/m?sentinel_username=su&sentinel_password=sp")
    assert sentinel.credentials == Credentials(username="u", password="p")
    assert sentinel.sentinel_credentials == Credentials(username="su", password="sp")


@pytest.mark.parametrize(
    ("userinfo", "credentials"),
    [
        ("u:p%40%3A%2F@", Credentials(username="u", password="p@:/")),
        (":p@", Credentials(password="p")),
        ("u@", Credentials(username="u")),
        ("u:@", Credentials(username="u", password="")),
        ("", Credentials()),
    ],
)
def test_credentials_are_decoded(userinfo, credentials):
    assert read_url(f"redis://{userinfo}h").credentials == credentials


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("localhost:6379", "scheme"),
        ("http://h", "scheme"),
        ("redis://h:port", "port"),
        ("redis://h:0", "port"),
        ("redis://h:99999", "port"),
        ("redis://h/x", "database"),
        ("redis://h/-1", "database"),
        ("redis://h/0/1", "path"),
        ("unix://", "path"),
        ("redis+sentinel://h", "service"),
        ("redis+cluster://h/1", "database 0"),
        ("redis://h?retries=5", "unknown option"),
        ("redis://h?ssl_ca_certs=/x", "rediss://"),
        ("rediss://h?ssl_cert_reqs=none", "unverified"),
        ("memory://a b", "memory server"),
    ],
)
def test_a_bad_url_is_refused_with_what_is_wrong(url, why):
    with pytest.raises(InvalidName, match=why):
        read_url(url)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@h:6379/0",
        f"redis://user:{SECRET}@h",
        f"redis://user:{SECRET}@h:bad",
        f"rediss+sentinel://u:{SECRET}@a,b/m/0?sentinel_password={SECRET}&sentinel_username=su",
        f"unix://u:{SECRET}@/tmp/x.sock",
        f"redis://h?password={SECRET}",
        f"nonsense://x:{SECRET}@h",
    ],
)
def test_no_password_is_ever_shown(url):
    assert SECRET not in mask_url(url)
    try:
        shown = f"{read_url(url)!r} {RedisBackend(url)!r}"
    except InvalidName as error:
        shown = str(error)
    assert SECRET not in shown


def test_a_missing_certificate_file_is_named():
    target = read_url("rediss://h?ssl_ca_certs=/no/such/file.pem")
    with pytest.raises(BackendError, match="TLS files"):
        target.ssl_context()


def test_tls_is_verified():
    import ssl

    context = read_url("rediss://h").ssl_context()
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
