"""Kernels as a notebook has them, in processes of their own."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager

from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from traitlets.config import Config

PATIENCE = 60.0


def executed(notebook, directory):
    """Run all cells of a notebook, in a folder."""
    where = {"metadata": {"path": str(directory)}}
    with _sockets() as config:
        return NotebookClient(notebook, config=config, timeout=PATIENCE, resources=where).execute()


@contextmanager
def running(directory, environment):
    """Run a kernel, and end it."""
    with _sockets() as config:
        kernels = KernelManager(config=config)
        kernels.start_kernel(cwd=str(directory), env=environment)
        client = kernels.client()
        client.start_channels()
        try:
            client.wait_for_ready(timeout=PATIENCE)
            yield Kernel(kernels, client)
        finally:
            client.stop_channels()
            kernels.shutdown_kernel(now=True)


class Kernel:
    """One that runs."""

    def __init__(self, kernels, client):
        self._kernels = kernels
        self._client = client

    def begin(self, cell):
        """Begin with a cell, and return what tells it from others."""
        return self._client.execute(cell)

    def interrupt(self):
        """Press the button with the square."""
        self._kernels.interrupt_kernel()
        # its event loop does not wake up by that, but when something comes
        self._client.kernel_info()

    def end(self, cell):
        """Wait for a cell; return its reply and what it has shown."""
        shown = []
        while True:
            message = self._client.get_iopub_msg(timeout=PATIENCE)
            if message["parent_header"].get("msg_id") != cell:
                continue
            if message["msg_type"] == "status":
                if message["content"]["execution_state"] == "idle":
                    break
            else:
                shown.append(message["content"])
        while True:
            reply = self._client.get_shell_msg(timeout=PATIENCE)
            if reply["parent_header"].get("msg_id") == cell:
                return reply["content"], shown

    def run(self, cell):
        """Run a cell to its end."""
        return self.end(self.begin(cell))

    def value(self, cell):
        """Return the text of what a cell says at its end."""
        reply, shown = self.run(cell)
        assert reply["status"] == "ok", "\n".join(reply["traceback"])
        (text,) = (each["data"]["text/plain"] for each in shown if "data" in each)
        return text


@contextmanager
def _sockets():
    """Have the kernel listen in a folder, which nobody else can open and whose path is short."""
    with tempfile.TemporaryDirectory() as folder:
        yield Config(KernelManager={"transport": "ipc", "ip": f"{folder}/kernel"})
