"""What the client calls itself, at both sites and to a proxy."""

from __future__ import annotations

import re

import pytest

from koodrive_async import BearerToken, ConfigurationError, KooDrive, Tls, __version__
from koodrive_async.testing import connect
from tests.network.through import upload

pytestmark = pytest.mark.anyio

OURS = rf"koodrive-async/{re.escape(__version__)} python/3\.\d+ aiohttp/\d+\.\d+\S*"


def names(emulator):
    return {each.headers["User-Agent"] for each in emulator.seen.requests()}


@pytest.mark.parametrize(
    ("setting", "pattern"), [(None, OURS), ("myapp/1.0 (site)", rf"myapp/1\.0 \(site\) {OURS}")]
)
async def test_calls_and_parts_name_the_package_after_the_program(
    koodrive_emulator, setting, pattern
):
    async with connect(koodrive_emulator, user_agent=setting) as drive:
        await upload(drive, b"abc")
    assert koodrive_emulator.seen.count("part.put") == 1
    (name,) = names(koodrive_emulator)
    assert re.fullmatch(pattern, name)


async def test_a_proxy_is_told_the_same(secure_emulator, ca_file, proxy):
    tls = Tls(ca_file=ca_file)
    async with connect(secure_emulator, tls=tls, proxy=proxy.url, user_agent="myapp/1.0") as drive:
        await upload(drive, b"abc")
    assert {asked.headers["User-Agent"] for asked in proxy.asked} == names(secure_emulator)


@pytest.mark.parametrize("setting", ["", " ", "a\r\nEvil: yes", "naïve/1.0", " app"])
def test_a_name_that_cannot_stand_in_a_header_is_refused(setting):
    with pytest.raises(ConfigurationError, match="user agent"):
        KooDrive("https://host.example", auth=BearerToken("t"), user_id="u", user_agent=setting)
