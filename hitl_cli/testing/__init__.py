"""Test workflows, and programs that ask people: `hitl_test` (docs/guides/testing.md)."""

from hitl_cli.testing.harness import HitlTest, TestedRun, hitl_test
from hitl_cli.testing.person import NotAsked, Person
from hitl_cli.testing.test_backend import StillWaiting

__all__ = ["HitlTest", "NotAsked", "Person", "StillWaiting", "TestedRun", "hitl_test"]
