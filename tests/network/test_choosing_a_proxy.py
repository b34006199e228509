"""Which proxy leads to a host: what curl would take from the same environment."""

from __future__ import annotations

import base64
import threading

import anyio
import pytest

from koodrive_async import BearerToken, ConfigurationError, KooDrive
from koodrive_async.transport import proxy as proxy_module
from koodrive_async.transport.proxy import Proxies, Proxy

pytestmark = pytest.mark.anyio

SECRET = "pa55word"


async def found(monkeypatch, host="host.example", *, tls=True, port=443, **environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    proxy = await Proxies("env").toward(tls, host, port)
    return None if proxy is None else proxy.name


async def test_there_is_none_without_variables(monkeypatch):
    assert await found(monkeypatch) is None


@pytest.mark.parametrize(
    ("environment", "secure", "plain"),
    [
        ({"HTTPS_PROXY": "http://a:1", "HTTP_PROXY": "http://b:2"}, "a:1", "b:2"),
        ({"https_proxy": "http://a:1", "http_proxy": "http://b:2"}, "a:1", "b:2"),
        ({"ALL_PROXY": "http://c:3"}, "c:3", "c:3"),
        ({"all_proxy": "http://c:3", "HTTPS_PROXY": "http://a:1"}, "a:1", "c:3"),
        ({"HTTPS_PROXY": "http://a:1", "https_proxy": "http://d:4"}, "d:4", None),
        ({"HTTPS_PROXY": "http://a:1", "https_proxy": ""}, None, None),
        ({"HTTPS_PROXY": "a:1"}, "a:1", None),
        ({"HTTPS_PROXY": "http://a"}, "a:80", None),
        ({"HTTPS_PROXY": "http://[::1]:1/"}, "[::1]:1", None),
    ],
)
async def test_the_variable_for_the_scheme_counts_then_that_for_all(
    monkeypatch, environment, secure, plain
):
    assert await found(monkeypatch, **environment) == secure
    assert await found(monkeypatch, tls=False, port=80) == plain


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
async def test_this_machine_is_no_exception_unless_the_environment_says_so(monkeypatch, host, tls):
    assert await found(monkeypatch, host, tls=tls, ALL_PROXY="http://a:1") == "a:1"
    excepted = "localhost,127.0.0.1,::1"
    assert await found(monkeypatch, host, tls=tls, NO_PROXY=excepted) is None


@pytest.mark.parametrize(
    ("excepted", "host", "port"),
    [
        ("*", "host.example", 443),
        ("foo,*", "host.example", 443),
        (" foo , * ", "::1", 443),
        ("*,foo", "host.example", 8443),
        ("host.example", "host.example", 443),
        ("HOST.EXAMPLE", "host.example", 443),
        ("other, .example", "host.example", 443),
        ("host.example:8443", "host.example", 8443),
        ("::1", "::1", 8443),
        ("[::1]", "::1", 8443),
        ("[::1]:8443", "::1", 8443),
    ],
)
async def test_hosts_of_no_proxy_are_connected_to_directly(monkeypatch, excepted, host, port):
    assert await found(monkeypatch, host, port=port, ALL_PROXY="a:1", no_proxy=excepted) is None
    for other in ("host.example", "*.example", "foo*", "x,*a"):
        assert await found(monkeypatch, "host.test", ALL_PROXY="a:1", no_proxy=other) == "a:1"


async def test_a_header_of_a_cgi_request_names_no_proxy(monkeypatch):
    environment = {"REQUEST_METHOD": "GET", "HTTP_PROXY": "http://evil:1"}
    assert await found(monkeypatch, tls=False, **environment) is None
    assert await found(monkeypatch, tls=False, http_proxy="http://good:2") == "good:2"


async def test_none_is_none_and_a_url_is_for_everything(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "http://a:1")
    monkeypatch.setenv("NO_PROXY", "*")
    assert await Proxies(None).toward(True, "host.example", 443) is None
    for tls in (True, False):
        chosen = await Proxies("http://b:2").toward(tls, "127.0.0.1", 443)
        assert chosen is not None
        assert chosen.name == "b:2"


async def test_a_system_that_does_not_answer_is_waited_for_only_so_long(monkeypatch):
    def hang():
        asked.set()
        answer.wait()
        return {}

    asked, answer = threading.Event(), threading.Event()
    monkeypatch.setattr(proxy_module, "getproxies", hang)
    try:
        with pytest.raises(ConfigurationError, match=r"did not say.*host\.example:443"):
            await Proxies("env", patience=0.05).toward(True, "host.example", 443)
        assert await anyio.to_thread.run_sync(asked.wait, 10)
    finally:
        answer.set()


async def test_the_system_is_asked_once_for_each_origin(monkeypatch):
    def count():
        asked.append(1)
        return {"all": "a:1"}

    asked: list[int] = []
    monkeypatch.setattr(proxy_module, "getproxies", count)
    proxies = Proxies("env")
    for _ in range(3):
        await proxies.toward(True, "host.example", 443)
        await proxies.toward(True, "host.example", 444)
    assert len(asked) == 2


# --- what a proxy may be -----------------------------------------------------------------------


def test_user_and_password_are_taken_from_the_url_and_not_shown():
    proxy = Proxy.of(f"http://me%40corp:{SECRET}%3A%2F@proxy.example:3128")
    expected = base64.b64encode(f"me@corp:{SECRET}:/".encode()).decode()
    assert proxy.headers == {"Proxy-Authorization": f"Basic {expected}"}
    assert proxy.name == "proxy.example:3128"
    assert str(proxy.url) == "http://proxy.example:3128"
    assert SECRET not in repr(proxy)
    assert expected not in repr(proxy)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        (f"socks5://me:{SECRET}@a:1", "names a SOCKS proxy"),
        (f"SOCKS5H://me:{SECRET}@a:1", "names a SOCKS proxy"),
        (f"https://me:{SECRET}@a:1", "over TLS"),
        (f"ftp://me:{SECRET}@a:1", "must be the URL of a proxy"),
        (f"http://me:{SECRET}@a:99999", "must be the URL of a proxy"),
        (f"http://me:12/{SECRET}@a:1", "must be written as %XX"),
        (f"http://me:12#{SECRET}@a:1", "must be written as %XX"),
        (f"http://me:12?{SECRET}@a:1", "must be written as %XX"),
        (f"me:12/{SECRET}@a:1", "must be written as %XX"),
        (f"http://me:{SECRET}@", "must be the URL of a proxy"),
        (f"http://me:{SECRET}@[::1", "must be the URL of a proxy"),
        ("http://", "must be the URL of a proxy"),
        ("", "must be the URL of a proxy"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_refused_without_showing_its_url(
    monkeypatch, url, problem
):
    with pytest.raises(ConfigurationError, match=problem) as error:
        KooDrive("https://host.example", auth=BearerToken("t"), user_id="u", proxy=url)
    assert SECRET not in str(error.value)
    assert str(error.value).startswith("KooDrive(proxy=...)")
    if url:
        monkeypatch.setenv("HTTPS_PROXY", url)
        with pytest.raises(ConfigurationError, match=problem) as error:
            await Proxies("env").toward(True, "host.example", 443)
        assert SECRET not in str(error.value)
        assert str(error.value).startswith("HTTPS_PROXY")


async def test_a_proxy_of_the_system_is_not_said_to_be_of_the_environment(monkeypatch):
    monkeypatch.setattr(proxy_module, "getproxies", lambda: {"https": "socks5://a:1"})
    with pytest.raises(ConfigurationError, match="the system's setting for proxies names"):
        await Proxies("env").toward(True, "host.example", 443)


def test_what_is_not_even_text_is_refused():
    with pytest.raises(ConfigurationError, match="not int"):
        Proxies(3128)  # type: ignore[arg-type]  # what is tested
