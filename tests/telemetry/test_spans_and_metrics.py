"""What a client tells OpenTelemetry, seen by its in-memory exporters."""

from __future__ import annotations

import contextvars
import subprocess
import sys

import anyio
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from koodrive_async import BearerToken, Module, PartRejected, sync
from koodrive_async.emulator import Fault
from koodrive_async.tasks import task_group
from koodrive_async.telemetry import SILENT, Telemetry, instruments
from koodrive_async.testing import connect
from tests.sample import sample

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024


class Seen:
    """Spans and metrics that were exported."""

    def __init__(self):
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.telemetry = Telemetry(tracer_provider=self.tracers, meter_provider=self.meters)

    def spans(self, name):
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def one(self, name):
        (span,) = self.spans(name)
        return span

    def points(self, name):
        data = self.reader.get_metrics_data()
        return [
            point
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def total(self, name):
        return sum(point.value for point in self.points(name))


@pytest.fixture
def seen():
    found = Seen()
    yield found
    found.tracers.shutdown()
    found.meters.shutdown()


@pytest.fixture
async def drive(koodrive_emulator, seen):
    async with connect(koodrive_emulator, telemetry=seen.telemetry) as client:
        yield client


def parent_of(span):
    return span.parent and span.parent.span_id


async def test_a_file_is_a_tree_of_spans(drive, device_id, seen):
    async with drive.backup(device_id, Module.FOLDER) as session:
        await session.upload(sample(12 * MIB), name="a.bin", description="d", part_size=5 * MIB)
    whole, upload = seen.one("koodrive.session"), seen.one("koodrive.upload")
    assert parent_of(whole) is None
    assert parent_of(upload) == whole.context.span_id
    inner = ["koodrive.hash", "koodrive.create", "koodrive.part", "koodrive.complete"]
    for span in [each for name in inner for each in seen.spans(name)]:
        assert parent_of(span) == upload.context.span_id
        assert upload.start_time <= span.start_time <= span.end_time <= upload.end_time
    assert len(seen.spans("koodrive.part")) == 3
    assert dict(upload.attributes) == {
        "koodrive.name": "a.bin",
        "koodrive.description": "d",
        "koodrive.outcome": "uploaded",
        "koodrive.size": 12 * MIB,
        "koodrive.file": seen.one("koodrive.create").attributes["koodrive.file"],
    }
    assert dict(whole.attributes) == {
        "koodrive.module": "folder",
        "koodrive.device": device_id,
        "koodrive.record": session.record.record_id,
    }
    assert all(span.status.is_unset for span in seen.exporter.get_finished_spans())


async def test_bytes_parts_and_lag_are_counted(drive, device_id, seen):
    async with drive.backup(device_id, Module.FOLDER) as session:
        await session.upload(sample(12 * MIB), name="a.bin", part_size=5 * MIB)
    assert seen.total("koodrive.upload.bytes") == 12 * MIB
    assert seen.total("koodrive.upload.parts") == 3
    assert seen.points("koodrive.retries") == []
    (lag,) = seen.points("koodrive.loop.lag")
    assert lag.count > 0
    assert lag.min >= 0


async def test_what_is_sent_again_is_counted_and_its_failure_told(
    drive, device_id, seen, koodrive_emulator
):
    koodrive_emulator.faults.add(Fault("reset", "part.put", moment="middle", times=2))
    koodrive_emulator.faults.add(Fault("error", "records.get", status=503, times=1))
    async with drive.backup(device_id, Module.FOLDER) as session:
        await session.upload(sample(100_000), name="a.bin")
        await drive.records.get(session.record.record_id)
    *failed, last = seen.spans("koodrive.part")
    assert [span.attributes["koodrive.attempt"] for span in (*failed, last)] == [1, 2, 3]
    assert [span.attributes["error.type"] for span in failed] == ["ConnectionFailed"] * 2
    assert "part 1" in failed[0].status.description
    assert last.status.is_unset
    assert seen.total("koodrive.retries") == 3


async def test_a_refreshed_url_is_a_span_of_its_own(drive, device_id, seen, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("expired-url", times=1))
    async with drive.backup(device_id, Module.FOLDER) as session:
        await session.upload(sample(100_000), name="a.bin")
    refresh = seen.one("koodrive.refresh")
    assert refresh.attributes["koodrive.parts"] == 1


async def test_a_failure_is_told_on_every_level_without_a_traceback(
    drive, device_id, seen, koodrive_emulator
):
    koodrive_emulator.faults.add(Fault("error", "part.put", status=400, code="Bad"))
    with pytest.raises(PartRejected):
        async with drive.backup(device_id, Module.FOLDER) as session:
            await session.upload(b"x", name="a.bin")
    for name in ("koodrive.part", "koodrive.upload", "koodrive.session"):
        span = seen.one(name)
        assert span.attributes["error.type"] == "PartRejected"
        assert "Bad" in span.status.description
        assert span.events == ()


async def test_uploads_belong_to_the_span_that_asks_for_them(drive, device_id, seen):
    tracer = seen.tracers.get_tracer("test")

    async def of_a_request(session):
        with tracer.start_as_current_span("request"):
            await session.upload(b"y", name="y")

    async with drive.backup(device_id, Module.FOLDER) as session, task_group() as group:
        group.start_soon(of_a_request, session)
    upload = seen.one("koodrive.upload")
    assert parent_of(upload) == seen.one("request").context.span_id


async def test_uploads_of_tasks_without_a_span_belong_to_the_session(drive, device_id, seen):
    async with task_group() as group:
        ready = drive.backup(device_id, Module.FOLDER)

        async def elsewhere():
            await ready.upload(b"y", name="y")

        empty = contextvars.Context()
        with seen.tracers.get_tracer("test").start_as_current_span("request"):
            async with ready:
                empty.run(group.start_soon, elsewhere)
    assert parent_of(seen.one("koodrive.upload")) == seen.one("koodrive.session").context.span_id


async def test_uploads_of_tasks_older_than_the_session_belong_to_it(drive, device_id, seen):
    tracer = seen.tracers.get_tracer("test")
    ready = drive.backup(device_id, Module.FOLDER)
    entered = anyio.Event()

    async def elsewhere():
        await entered.wait()
        await ready.upload(b"y", name="y")

    with tracer.start_as_current_span("request"):
        async with task_group() as group:
            group.start_soon(elsewhere)
            async with ready:
                entered.set()
    session = seen.one("koodrive.session")
    assert parent_of(seen.one("koodrive.upload")) == session.context.span_id
    assert parent_of(session) == seen.one("request").context.span_id


def test_synchronous_uploads_belong_to_their_session(koodrive_emulator, seen):
    client = sync.KooDrive(
        koodrive_emulator.url,
        auth=BearerToken(koodrive_emulator.token),
        user_id=koodrive_emulator.user_id,
        journal=None,
        proxy=None,
        telemetry=seen.telemetry,
    )
    with seen.tracers.get_tracer("test").start_as_current_span("request"), client as drive:
        device = drive.devices.bind("machine", name="test", os="linux")
        with drive.backup(device.device_id, Module.FOLDER) as session:
            session.upload(b"y", name="y")
    whole = seen.one("koodrive.session")
    assert parent_of(seen.one("koodrive.upload")) == whole.context.span_id
    assert parent_of(whole) == seen.one("request").context.span_id


async def test_a_cancelled_upload_ends_its_spans_and_says_so(drive, device_id, seen, caplog):
    async with drive.backup(device_id, Module.FOLDER) as session:
        with anyio.CancelScope() as scope:
            await session.upload(
                sample(100_000), name="a.bin", on_progress=lambda _: scope.cancel()
            )
    upload = seen.one("koodrive.upload")
    assert upload.attributes["koodrive.cancelled"] is True
    assert upload.status.is_unset
    assert "koodrive.cancelled" not in seen.one("koodrive.session").attributes
    assert "detach" not in caplog.text


def test_samplers_see_what_a_span_begins_with():
    seen = []

    class Looking(Sampler):
        def should_sample(self, *about):
            seen.append(about[4])
            return ALWAYS_ON.should_sample(*about)

        def get_description(self):
            return "looking"

    told = instruments(Telemetry(tracer_provider=TracerProvider(Looking(), shutdown_on_exit=False)))
    with told.span("part", size=7):
        pass
    assert seen == [{"koodrive.size": 7}]


async def test_no_secret_is_told(drive, device_id, seen, koodrive_emulator):
    koodrive_emulator.faults.add(Fault("reset", "part.put", moment="middle", times=1))
    async with drive.backup(device_id, Module.FOLDER) as session:
        await session.upload(sample(100_000), name="a.bin")
    told = "".join(span.to_json() for span in seen.exporter.get_finished_spans())
    assert koodrive_emulator.token not in told
    assert "Signature" not in told
    assert "http://" not in told


def test_nothing_is_told_without_opentelemetry():
    assert instruments(None) is SILENT
    with SILENT.span("anything", size=1) as span:
        span.add(more=2)


def test_global_providers_are_used_by_programs_that_have_loaded_it():
    assert instruments("auto") is not SILENT  # as this one has


def test_the_api_alone_tells_nothing_and_harms_nothing():
    code = (
        "import sys\n"
        "sys.modules['opentelemetry.sdk'] = None\n"
        "from opentelemetry import trace\n"
        "from koodrive_async.telemetry import SILENT, instruments\n"
        "told = instruments('auto')\n"
        "assert told is not SILENT\n"
        "with told.span('session') as whole, told.span('upload', whole, size=1) as span:\n"
        "    span.add(more=2)\n"
        "told.arrived(1), told.retried(), told.late(0.1)\n"
        "assert trace.get_current_span() is trace.INVALID_SPAN\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)


def test_others_are_not_made_to_load_it():
    code = (
        "import sys\n"
        "from koodrive_async import KooDrive, BearerToken\n"
        "from koodrive_async.telemetry import SILENT, instruments\n"
        "assert instruments('auto') is SILENT\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=50)


def test_telemetry_that_is_wanted_and_missing_is_told_with_the_extra():
    code = (
        "import sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "from koodrive_async.telemetry import Telemetry, instruments\n"
        "try:\n"
        "    instruments(Telemetry())\n"
        "except ModuleNotFoundError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=50, capture_output=True, text=True
    )
    assert "koodrive-async[otel]" in done.stdout
