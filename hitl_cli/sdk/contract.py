"""The private names of resonate-sdk that this package uses, and the check that they exist.

A patch release of the SDK may rename any of them. A worker would notice it at its first request, after it has
acquired a task; so it checks before. `make contract` tests what these names do, not only that they exist.
"""

from __future__ import annotations

import inspect
from importlib import import_module

from hitl_cli.errors import UnsupportedSdk

NEEDED = (
    "resonate.codec:Codec.decode_promise(promise)",
    "resonate.codec:Codec.encode(value)",
    "resonate.codec:Codec.encryptor",
    "resonate.connections.http:HttpConnection._conn_limit",
    "resonate.connections.http:HttpConnection._ensure_session()",
    "resonate.connections.http:HttpConnection._session",
    "resonate.connections.http:HttpConnection._stopped",
    "resonate.connections.sse:SSEConnection._ensure_session()",
    "resonate.connections.sse:SSEConnection._session",
    "resonate.connections.sse:SSEConnection._stopped",
    "resonate.context:Context._next_id()",
    "resonate.context:Context._state",
    "resonate.context:Context.flush_local_work()",
    "resonate.context:Context.invoke_with_retry(df, payload, policy, coerce_args)",
    "resonate.context:Context.opts",
    "resonate.context:Context.rpc(fn, args, kwargs)",
    "resonate.context:Context.run(fn, args, kwargs)",
    "resonate.context:Context.tree",
    "resonate.context:DurableFunction(fn)",
    "resonate.context:ResonateFuture.__await__()",
    "resonate.context:ResonateFuture._id",
    "resonate.context:ResonateFuture._task",
    "resonate.context:_State.clock",
    "resonate.context:_State.effects",
    "resonate.context:_State.id",
    "resonate.context:_State.origin_id",
    "resonate.context:_State.parent_id",
    "resonate.context:_State.registry",
    "resonate.context:_State.spawned_locals",
    "resonate.context:_State.spawned_remote",
    "resonate.context:_State.spawned_remote_tasks",
    "resonate.context:_State.target_resolver",
    "resonate.context:_State.workflow",
    "resonate.context:SpawnedLocal.handle",
    "resonate.core:Core.codec",
    "resonate.core:Core.execute_until_blocked_inner(promise, effects)",
    "resonate.core:Core.fencing",
    "resonate.core:Core.registry",
    "resonate.core:Core.sender",
    "resonate.durable:DurableFunction._user_sig",
    "resonate.effects:ResonateEffects.cache",
    "resonate.effects:ResonateEffects.codec",
    "resonate.effects:ResonateEffects.create_promise(req)",
    "resonate.effects:ResonateEffects.sender",
    "resonate.effects:ResonateEffects.settle_promise(id, result)",
    "resonate.effects:ResonateEffects.task_id",
    "resonate.effects:ResonateEffects.task_version",
    "resonate.heartbeat:Heartbeat.shutdown()",
    "resonate.heartbeat:Heartbeat.start(task_id, task_version)",
    "resonate.heartbeat:Heartbeat.stop(task_id)",
    "resonate.ids:join_id(ancestor, segment)",
    "resonate.observability:BackgroundTaskFailed(cause)",
    "resonate.observability:Dropped",
    "resonate.observability:logging_observer(event)",
    "resonate.registry:Registry.get(name, version)",
    "resonate.registry:Registry.reverse(fn)",
    "resonate.resonate:Resonate._core",
    "resonate.resonate:Resonate._sender",
    "resonate.send:PromiseFencing.task_fence_create(id, version, req)",
    "resonate.send:PromiseFencing.task_fence_settle(id, version, req)",
    "resonate.send:Redirect(preload)",
    "resonate.send:TaskAcquireResult(task, promise, preload)",
    "resonate.send:TaskFenceResult(promise, preload)",
    "resonate.send:TaskLifecycle.task_acquire(id, version, pid, ttl)",
    "resonate.send:TaskLifecycle.task_fulfill(id, version, action)",
    "resonate.send:TaskLifecycle.task_release(id, version)",
    "resonate.send:TaskLifecycle.task_suspend(id, version, actions)",
    "resonate.tree:Tree.get(id)",
    "resonate.tree:Tree.settle(id)",
    "resonate.types:PromiseCreateReq(id, timeout_at, param, tags)",
    "resonate.types:PromiseRecord(id, state, param, value, tags, timeout_at, created_at, settled_at)",
    "resonate.types:PromiseSettleReq(id, state, value)",
    "resonate.types:TaskData(func, args, kwargs, version)",
    "resonate.types:TaskRecord(id, state, version, resumes, ttl, pid)",
    "resonate.types:Value(headers, data)",
)
"""`module:name`, with the parameters of its calls."""

PORTS = ("resonate.heartbeat:Heartbeat", "resonate.send:PromiseFencing", "resonate.send:TaskLifecycle")
"""Protocols that this package implements. The SDK may require only the members that `NEEDED` lists."""


def check_sdk() -> None:
    """Raise UnsupportedSdk, with a line for each name that is missing or has changed."""
    differs = [name for name in NEEDED if not _is_there(name)]
    if not differs:
        differs = [f"{name} (hitl does not offer it)" for port in PORTS for name in _asked_besides(port)]
    if not differs:
        return
    from importlib.metadata import requires, version  # takes longer than the check

    [supported] = [each for each in requires("resonate-hitl") or () if each.startswith("resonate-sdk")]
    raise UnsupportedSdk(
        f"resonate-sdk {version('resonate-sdk')} lacks or has changed names that hitl uses; hitl supports"
        f" {supported} (pip install '{supported}')",
        [name.replace(":", ".") for name in differs],
    )


def _is_there(name: str) -> bool:
    """Whether the SDK has a name, and it can be called with the given parameters."""
    path, called, parameters = name.rstrip(")").partition("(")
    path, _, last = path.rpartition(".") if "." in path.partition(":")[2] else path.rpartition(":")
    try:
        owner = _found(path)
    except (ImportError, AttributeError):
        return False
    if not called:
        # Instances may have it from their class's `__init__` on.
        code = getattr(getattr(owner, "__init__", None), "__code__", None)
        return hasattr(owner, last) or (code is not None and last in code.co_names)
    function = getattr(owner, last, None)  # a worker in this process may have replaced some by wrappers
    return _takes(getattr(function, "__wrapped__", function), parameters)


def _found(path: str) -> object:
    """Return a module, or the object that `module:name` names. Raises ImportError, AttributeError."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name) if name else import_module(module)


def _takes(function: object, parameters: str) -> bool:
    """Whether a function can be called with these parameters, and needs no others."""
    if not callable(function):
        return False
    given = set(parameters.split(", ")) if parameters else set()
    own = {name: each for name, each in inspect.signature(function).parameters.items() if name != "self"}
    needed = {
        name
        for name, each in own.items()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    }
    return needed <= given <= own.keys()


def _asked_besides(port: str) -> list[str]:
    """Return the members of an SDK protocol that are not listed above."""
    asked = [f"{port}.{name}" for name, member in vars(_found(port)).items() if inspect.isfunction(member)]
    offered = {name.partition("(")[0] for name in NEEDED}
    return [name for name in asked if "._" not in name and name not in offered]
