"""Times that no calendar has: the first and the last day, in a zone that moves them further."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from koodrive_async.emulator import Fault
from tests.cli.talking import talk

FIRST, LAST = "0001-01-01T00:00:00+08:00", "9999-12-31T23:59:59-08:00"
DATES = (FIRST, LAST, "1969-12-31T23:59:59Z", "2262-04-12T00:00:00Z", "-9223372036854775808")
_TIME = re.compile(rb'("(?:createTime|endTime)": ?)(?:"[^"]*"|\d+)')


class Service(ThreadingHTTPServer):
    """Another service, with times of its own."""

    def __init__(self, target):
        super().__init__(("127.0.0.1", 0), Rewriting)
        self.target = target


class Rewriting(BaseHTTPRequestHandler):
    """Hands requests on and sends the answers back with other times."""

    server: Service

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = urllib.request.Request(
            self.server.target + self.path, body or None, dict(self.headers), method=self.command
        )
        try:
            with urllib.request.urlopen(request) as found:
                status, said = found.status, found.read()
        except urllib.error.HTTPError as error:
            status, said = error.code, error.read()
        dates = iter(DATES * len(said))
        said = _TIME.sub(lambda found: found[1] + f'"{next(dates)}"'.encode(), said)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815 - as http.server has it

    def log_message(self, format, *args):  # noqa: A002 - the same
        """Say nothing."""


@pytest.fixture
def far_dates(environment, monkeypatch):
    """The service of the environment sends the first and the last day of the calendar."""
    with Service(environment["KOODRIVE_ENDPOINT"]) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("KOODRIVE_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("far_dates", "kept_journal")
@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/Lima"])
def test_no_date_breaks_a_listing_or_a_resume(
    start, invoke, tree, koodrive_emulator, monkeypatch, zone
):
    monkeypatch.setenv("TZ", zone)
    full = Fault("error", "files.create", status=400, code="13000311")
    koodrive_emulator.faults.add(full)
    for _ in range(len(DATES)):
        assert invoke("backup", tree, "--journal", "off").exit_code == 4
    koodrive_emulator.faults.clear()
    lines = invoke("records")
    assert lines.exit_code == 0
    assert lines.stderr.startswith(f"{len(DATES)} records are unfinished: ")
    created = [line.split("\t")[2] for line in lines.stdout.splitlines()]
    assert {FIRST, LAST, "1969-12-31T23:59:59+00:00", "-"} <= set(created)
    listed = invoke("records", "--json")
    created = [json.loads(line)["created"] for line in listed.stdout.splitlines()]
    assert "0001-01-01T00:00:00.000+08:00" in created
    assert "1969-12-31T23:59:59.000Z" in created
    assert None in created
    with talk(start, "records") as talking:
        assert talking.end() == 0
        assert "0001-01-01 00:00:00" in talking.written
        assert "9999-12-31 23:59:59" in talking.written
    assert invoke("devices").exit_code == 0
    done = invoke("backup", tree, "--resume", "--journal", "off")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("resume\trecord ")
    (record,) = [each for each in koodrive_emulator.records() if each.status == 1]
    assert {file.record_id for file in koodrive_emulator.files()} == {record.record_id}
