"""A standby takes over: the URL names both hosts, and every process finds the one that takes writes."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from psycopg import sql

from tests.conftest import wait_until
from tests.gateway.conftest import begin_gateway
from tests.gateway.streams import Reader
from tests.postgres.cluster import cluster, standby
from tests.postgres.test_failures import APP, all_end, start_many

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Hitl
    from tests.postgres.cluster import Cluster

BOTH = "?target_session_attrs=read-write"


@contextmanager
def pair(hitl: Hitl) -> Iterator[tuple[Cluster, Cluster]]:
    """A server and a standby of it; hitl's URL names both."""
    (hitl.folder / "app.py").write_text(APP)
    with cluster() as primary:
        primary.prepare_template()
        url = primary.create_installed()
        with standby(primary) as second:
            hitl.use(url.replace(f":{primary.port}/", f":{primary.port},127.0.0.1:{second.port}/") + BOTH)
            yield primary, second


def test_with_synchronous_replication_nothing_is_lost(hitl: Hitl) -> None:
    with pair(hitl) as (primary, second):
        primary.execute(sql.SQL("ALTER SYSTEM SET synchronous_standby_names = 'standby'").format())
        primary.execute(sql.SQL("SELECT pg_reload_conf()").format())
        worker = hitl.worker("--app", "app.py")
        gateway = begin_gateway(hitl)
        hitl.workers.append(gateway)
        asks = start_many(hitl, "asks", 20)
        hitl.waiting(20)
        heard: list[str] = []
        half = threading.Event()

        def decide() -> None:
            for id in asks:
                if hitl.run("approve", id).returncode == 0:
                    heard.append(id)
                if len(heard) >= 5:
                    half.set()

        with Reader(gateway) as reader:
            reader.wait_for("ready")
            deciding = threading.Thread(target=decide)
            deciding.start()
            assert half.wait(60)
            primary.stop("immediate")
            second.promote()
            deciding.join()
            waiting = {item["id"].partition(":")[0] for item in hitl.json("pending", "--all")}
            assert not waiting & set(heard)
            for id in waiting:
                hitl.ok("approve", id)
            all_end(hitl, asks)
            all_end(hitl, start_many(hitl, "quick", 20))
            reader.wait_for("look")
            wait_until(lambda: gateway.get("/ready").status == 200)
        assert worker.stop() == 0


def test_without_it_a_decision_that_was_not_copied_is_asked_for_again(hitl: Hitl) -> None:
    with pair(hitl) as (primary, second):
        hitl.worker("--app", "app.py")
        (id,) = start_many(hitl, "asks", 1)
        hitl.waiting()
        wait_until(lambda: waits_in(second, hitl))
        second.stop("fast")
        hitl.ok("approve", id)
        all_end(hitl, [id])
        primary.stop("immediate")
        second.start()
        second.promote()
        hitl.waiting()
        hitl.ok("approve", id)
        all_end(hitl, [id])


def test_a_standby_alone_lists_and_takes_no_writes(hitl: Hitl) -> None:
    with pair(hitl) as (primary, second):
        hitl.ok("ask", "Later?", "--id", "later", "--no-wait")
        wait_until(lambda: waits_in(second, hitl))
        database = hitl.url.partition("?")[0].rpartition("/")[2]
        hitl.fails(6, "worker", "-S", second.url(database) + BOTH, code="read-only")
        hitl.use(second.url(database))
        assert [item["id"] for item in hitl.json("pending", "--all")] == ["later"]
        hitl.ok("show", "later")
        hitl.fails(6, "approve", "later", code="read-only")
        hitl.fails(6, "start", "x", code="read-only")
        hitl.fails(6, "worker", "--app", "app.py", code="read-only")
        primary.stop("immediate")
        second.promote()
        hitl.ok("approve", "later")


def waits_in(server: Cluster, hitl: Hitl) -> bool:
    """Whether a request waits in a server."""
    name = hitl.url.partition("?")[0].rpartition("/")[2]
    listed = hitl.run("pending", "--all", "--json", "-S", server.url(name))
    return listed.returncode == 0 and len(listed.stdout) > 5
