"""rclone: a program of its own, started for the job; its start is part of the time."""

from __future__ import annotations

import os
import subprocess

from benchmarks.contenders import Job, rclone
from benchmarks.meter import Meter


def upload(job: Job, meter: Meter) -> None:
    """Copy the folder of the files to a bucket without looking what is there."""
    program = rclone()
    assert program is not None
    size = f"{job.part_size}B"
    at_a_time = min(job.connections, job.files.count)
    command = [
        program,
        "copy",
        str(job.root / job.files.folder),
        "sink:bucket",
        "--config=/dev/null",
        "--no-check-dest",
        "--ignore-checksum",
        # otherwise it would look for the object that the sink has thrown away
        "--multi-thread-streams=0",
        "--retries=1",
        f"--transfers={at_a_time}",
        f"--s3-upload-concurrency={job.connections // at_a_time}",
        f"--s3-chunk-size={size}",
        f"--s3-upload-cutoff={size}",
        "--s3-no-check-bucket",
        "--s3-no-head",
        "--s3-disable-checksum",
        "--s3-use-unsigned-payload=true",
    ]
    if job.ca is not None:
        command.append(f"--ca-cert={job.ca}")
    remote = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ENDPOINT": job.endpoint,
        "ACCESS_KEY_ID": "benchmark",
        "SECRET_ACCESS_KEY": "benchmark",
        "REGION": "us-east-1",
        "FORCE_PATH_STYLE": "true",
    }
    environment = {f"RCLONE_CONFIG_SINK_{name}": value for name, value in remote.items()}
    with meter.work():
        process = subprocess.Popen(command, env=os.environ | environment)
        meter.watch(process.pid)
        status = process.wait()
    assert status == 0
