"""A host that nothing can be called is a wrong setting, not a ``UnicodeError`` of Python."""

from __future__ import annotations

import pytest

from koodrive_async import BearerToken, ConfigurationError, KooDrive
from koodrive_async.transport.dialing import Dialer
from koodrive_async.transport.proxy import Proxies, is_host

pytestmark = pytest.mark.anyio

NONE = ["..", "a..b", ".a", "a" * 64 + ".com", "a" * 300, "xn--", "xn--a.invalid", "XN--a.invalid"]
HOSTS = [
    "localhost",
    "localhost.",
    "a.b",
    "a" * 63 + ".com",
    "127.0.0.1",
    "::1",
    "xn--bcher-kva.de",
]


@pytest.mark.parametrize("host", HOSTS)
def test_names_and_addresses_are_hosts(host):
    assert is_host(host)


@pytest.mark.parametrize("host", NONE)
async def test_what_is_no_host_is_refused_wherever_it_stands(host):
    assert not is_host(host)
    with pytest.raises(ConfigurationError, match="endpoint must look like"):
        KooDrive(f"https://{host}", auth=BearerToken("x"), user_id="1")
    with pytest.raises(ConfigurationError, match="must be the URL of a proxy"):
        Proxies(f"http://{host}:8080")
    with pytest.raises(OSError, match="no host can be called"):
        await Dialer().dial(False, host, 80, None)
