"""What concurrent clients did to single points, and whether some order of it explains all that they were told.

A point is a register: absent, or (version, tag). `upsert` writes (version, 0), `delete` takes it away, `tag` changes the tag of one that exists.
Each operation has an interval; it took effect at one moment inside it. One whose outcome is unknown did so at any time after it began, or never.
"""

import dataclasses
import heapq
import itertools
import threading
import time

OK, UNKNOWN = "ok", "unknown"
FOREVER = float("inf")


@dataclasses.dataclass(eq=False)
class Operation:
    client: object
    kind: str  # upsert, delete, tag, read
    key: object
    argument: object = None  # upsert: version; tag: the tag
    result: object = None  # read: the state; delete, tag: whether the point was there; None: not told
    begin: float = 0.0
    end: float = FOREVER
    status: str = UNKNOWN
    note: str = ""

    def apply(self, state):
        """The state after it, and whether it may have been answered so from `state`."""
        if self.kind == "upsert":
            return (self.argument, 0), True
        if self.kind == "read":
            return state, self.result == state
        fits = self.result is None or self.result == (state is not None)
        if self.kind == "delete":
            return None, fits
        return (None if state is None else (state[0], self.argument)), fits

    def __str__(self):
        end = "…" if self.end == FOREVER else f"{self.end:.4f}"
        told = "" if self.status != OK or self.kind == "upsert" else f" → {self.result}"
        given = "" if self.argument is None else f" {self.argument}"
        return f"[{self.begin:.4f} – {end}] client {self.client}: {self.kind} {self.key}{given}{told} {self.status} {self.note}".rstrip()


class History:
    """Records operations of several threads. Times are seconds since it was made, of one monotonic clock."""

    def __init__(self):
        self.operations, self.lock, self.began = [], threading.Lock(), time.monotonic()

    def now(self):
        return time.monotonic() - self.began

    def invoke(self, client, kind, key, argument=None):
        """Call this before anything is sent."""
        operation = Operation(client, kind, key, argument, begin=self.now())
        with self.lock:
            self.operations.append(operation)
        return operation

    def complete(self, operation, result=None, note=""):
        operation.end, operation.result, operation.status, operation.note = self.now(), result, OK, note

    def by_key(self):
        """Reads that were not answered say nothing."""
        told = [one for one in self.operations if one.kind != "read" or one.status == OK]
        keys = {}
        for operation in sorted(told, key=lambda one: one.begin):
            keys.setdefault(operation.key, []).append(operation)
        return keys


class Violation(AssertionError):
    pass


def check_register(operations, initial=None, explain=12):
    """Raises Violation when no order explains the operations, which are all of one key.

    Just-in-time linearization (Lowe, "Testing for linearizability", 2017): walks through beginnings and ends in time, and keeps every pair of
    a state and the operations that took effect although they have not ended. At an end, the operation must have taken effect. Of two
    pairs that differ only in that one has used up more of the operations of unknown outcome, the other can do all that it can: it alone is kept.
    """
    events = [(one.begin, 0, number, one) for number, one in enumerate(operations)]
    events += [(one.end, 1, number, one) for number, one in enumerate(operations) if one.status == OK]
    events.sort(key=lambda event: event[:3])
    alike = _alike(operations)
    # Those of unknown outcome by what they can do.
    known, unknown = [], {}
    # (state, of those under way that are known to succeed the ones that took effect) → sets of the unknown ones that did
    worlds = {(initial, frozenset()): [frozenset()]}
    for _, is_end, _, operation in events:
        if not is_end:
            if operation.status == OK:
                known.append(operation)
            elif alike[operation] is not None:
                unknown.setdefault(alike[operation], []).append(operation)
            continue
        before = worlds
        worlds = _after(operation, worlds, known, unknown, alike)
        known.remove(operation)
        if not worlds:
            raise Violation(_explanation(operation, before, operations, explain))


def _alike(operations):
    """Of unknown operations those that can do the same: deletions, upserts that nobody read, and each tag. None for what can do nothing to tell."""
    read = {one.result for one in operations if one.kind == "read" and one.result is not None}
    versions, tags = {version for version, _ in read}, {tag for _, tag in read}
    alike = {}
    for one in operations:
        if one.status == OK:
            continue
        if one.kind == "delete":
            alike[one] = "delete"
        elif one.kind == "upsert":
            alike[one] = one.argument if one.argument in versions else "unread"
        else:
            alike[one] = ("tag", one.argument) if one.argument in tags else None
    return alike


def _after(operation, worlds, known, unknown, alike):
    """The worlds in which `operation` has taken effect. Those that used up least come first, so that the others are dropped at once."""
    reached, todo, done, order = {}, [], {}, itertools.count()

    def add(state, effective, used):
        if operation in effective:
            _add(done, (state, effective - {operation}), used)
        elif _add(reached, (state, effective), used):
            heapq.heappush(todo, (len(used), next(order), state, effective, used))

    for (state, effective), sets in worlds.items():
        for used in sets:
            add(state, effective, used)
    while todo:
        _, _, state, effective, used = heapq.heappop(todo)
        for one in known:
            if one not in effective:
                after, fits = one.apply(state)
                if fits:
                    add(after, effective | {one}, used)
        for kind, ones in unknown.items():
            # Of those that are alike the one that began first stands for all.
            one = next((one for one in ones if one not in used), None)
            if one is None:
                continue
            after, _ = one.apply(state)
            after = ("unread", 0) if kind == "unread" else after
            if after != state:
                add(after, effective, used | {one})
    return done


def _add(worlds, key, used):
    """Keeps the smallest sets only; false when there is one that is no larger."""
    sets = worlds.setdefault(key, [])
    if any(other <= used for other in sets):
        return False
    sets[:] = [other for other in sets if not used <= other] + [used]
    return True


def _explanation(operation, worlds, operations, limit):
    states = sorted({str(state) for state, _ in worlds})
    near = [one for one in operations if one.begin <= operation.end]
    # What was under way, and what came last before it.
    shown = [one for one in near if one.end >= operation.begin and one.status == OK]
    shown += [one for one in near if one.status != OK][-limit:] + [one for one in near if one.end < operation.begin][-limit:]
    lines = [str(one) for one in sorted(set(shown), key=lambda one: one.begin)]
    return "\n".join([f"no order explains: {operation}", f"possible states before it: {', '.join(states[:20])}", *lines])


def check(history):
    """Violations of the single keys, at most five."""
    found = []
    for operations in history.by_key().values():
        try:
            check_register(operations)
        except Violation as violation:
            found.append(str(violation))
            if len(found) == 5:
                break
    return found


class Session:
    """What one client has seen on replicas of its choice: its states never go back, and include what it wrote.

    Holds for every replica that it was answered by: the sequences of its shards rise, and so do the sequences of each point that is there.
    """

    def __init__(self, client):
        self.client, self.token = client, b""
        self.shards, self.points, self.violations = {}, {}, []

    def wrote(self, shards, token):
        for shard, sequence in shards:
            self.shards[shard] = max(sequence, self.shards.get(shard, 0))
        self.token = token

    def read(self, shards, points, token):
        for shard, sequence in shards:
            if sequence < self.shards.get(shard, 0):
                self.violations.append(f"client {self.client}: shard {shard} went back from {self.shards[shard]} to {sequence}")
            self.shards[shard] = max(sequence, self.shards.get(shard, 0))
        for key, sequence in points:
            if sequence < self.points.get(key, 0):
                self.violations.append(f"client {self.client}: point {key} went back from {self.points[key]} to {sequence}")
            self.points[key] = max(sequence, self.points.get(key, 0))
        self.token = token


def brute_force(operations, initial=None):
    """The same question answered by trying all orders, for histories of a few operations."""
    sure = [one for one in operations if one.status == OK]
    unsure = [one for one in operations if one.status != OK and one.kind != "read"]
    for count in range(len(unsure) + 1):
        for chosen in itertools.combinations(unsure, count):
            for order in itertools.permutations(sure + list(chosen)):
                if any(later.end < earlier.begin for number, earlier in enumerate(order) for later in order[number + 1:]):
                    continue
                state = initial
                for one in order:
                    state, fits = one.apply(state)
                    if not fits:
                        break
                else:
                    return True
    return False
