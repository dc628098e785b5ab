"""Fixtures of the tests of `deploy/`: those of the integration tests."""

from __future__ import annotations

from tests.integration.conftest import redis_url

__all__ = ["redis_url"]
