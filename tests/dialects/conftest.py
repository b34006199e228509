"""What the dialect tests share."""

from __future__ import annotations

import pytest

from tests.dialects.scenario import Certificates


@pytest.fixture(scope="session")
def certificates():
    return Certificates.made()
