"""The checker of histories, which must not pass everything: against histories made by hand, and against trying all orders."""

import pytest
from history import FOREVER, OK, UNKNOWN, History, Operation, Session, Violation, brute_force, check, check_register


def op(kind, begin, end=None, argument=None, result=None):
    status = UNKNOWN if end is None else OK
    return Operation("c", kind, 1, argument, result, begin, FOREVER if end is None else end, status)


def upsert(begin, end, version):
    return op("upsert", begin, end, version)


def read(begin, end, state):
    return op("read", begin, end, None, state)


GOOD = {
    "nothing": [],
    "one after the other": [read(0, 1, None), upsert(2, 3, 1), read(4, 5, (1, 0)), upsert(6, 7, 2), read(8, 9, (2, 0))],
    "a read beside a write sees either": [upsert(0, 1, 1), upsert(2, 6, 2), read(3, 4, (1, 0)), read(3, 5, (2, 0))],
    "writes beside each other in either order": [upsert(0, 5, 1), upsert(0, 5, 2), read(6, 7, (1, 0))],
    "an unknown write that happened late": [upsert(0, 1, 1), upsert(2, None, 2), read(3, 4, (1, 0)), upsert(5, 6, 3), read(7, 8, (2, 0))],
    "an unknown write that never happened": [upsert(0, 1, 1), upsert(2, None, 2), read(3, 4, (1, 0)), read(9, 10, (1, 0))],
    "a deletion": [upsert(0, 1, 1), op("delete", 2, 3, result=True), read(4, 5, None), op("delete", 6, 7, result=False)],
    "an unknown deletion explains an absent point": [upsert(0, 1, 1), op("delete", 2), read(4, 5, (1, 0)), read(6, 7, None)],
    "tags": [upsert(0, 1, 1), op("tag", 2, 3, 7, True), read(4, 5, (1, 7)), upsert(6, 7, 2), read(8, 9, (2, 0))],
    "a tag of nothing": [op("tag", 0, 1, 7, False), read(2, 3, None)],
}
BAD = {
    "a lost write": [upsert(0, 1, 1), upsert(2, 3, 2), read(4, 5, (1, 0))],
    "a lost first write": [upsert(0, 1, 1), read(2, 3, None)],
    "a stale read": [upsert(0, 1, 1), upsert(2, 9, 2), read(3, 4, (2, 0)), read(5, 6, (1, 0))],
    "a read of what nobody wrote": [upsert(0, 1, 1), read(2, 3, (2, 0))],
    "a read before the write began": [read(0, 1, (1, 0)), upsert(2, None, 1)],
    "an unknown write that happened twice":
        [upsert(0, 1, 1), upsert(2, None, 2), read(3, 4, (2, 0)), upsert(5, 6, 3), read(7, 8, (3, 0)), read(9, 10, (2, 0))],
    "readers that disagree on the order": [upsert(0, 9, 1), upsert(0, 9, 2), read(1, 2, (1, 0)), read(3, 4, (2, 0)), read(5, 6, (1, 0))],
    "a deleted point that comes back": [upsert(0, 1, 1), op("delete", 2, 3, result=True), read(4, 5, None), read(6, 7, (1, 0))],
    "two deletions of one point": [upsert(0, 1, 1), op("delete", 2, 5, result=True), op("delete", 2, 5, result=True)],
    "a deletion that missed the point": [upsert(0, 1, 1), op("delete", 2, 3, result=False)],
    "a lost tag": [upsert(0, 1, 1), op("tag", 2, 3, 7, True), read(4, 5, (1, 0))],
    "a tag that survived an upsert": [upsert(0, 1, 1), op("tag", 2, 3, 7, True), upsert(4, 5, 2), read(6, 7, (2, 7))],
}


@pytest.mark.parametrize("name", GOOD)
def test_good_histories_pass(name):
    assert brute_force(GOOD[name])
    check_register(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_bad_histories_are_noticed(name):
    assert not brute_force(BAD[name])
    with pytest.raises(Violation):
        check_register(BAD[name])


def test_it_agrees_with_trying_all_orders(rng):
    kinds, good = ["upsert", "delete", "tag", "read"], 0
    for _ in range(2000):
        operations = []
        for number in range(rng.integers(2, 7)):
            begin = float(rng.random() * 10)
            kind = kinds[rng.integers(4)]
            end = begin + float(rng.random() * 4) if kind == "read" or rng.random() < 0.7 else None
            if kind == "read":
                result = None if rng.random() < 0.3 else (int(rng.integers(3)), int(rng.integers(2)))
            else:
                result = bool(rng.integers(2)) if end is not None and kind != "upsert" and rng.random() < 0.7 else None
            argument = number % 3 if kind == "upsert" else int(rng.integers(1, 2)) if kind == "tag" else None
            operations.append(op(kind, begin, end, argument, result))
        expected = brute_force(operations)
        good += expected
        try:
            check_register(operations)
            assert expected, [str(one) for one in operations]
        except Violation:
            assert not expected, [str(one) for one in operations]
    assert 200 < good < 1900


def test_many_unknown_outcomes_are_checked_quickly():
    operations = [upsert(i, None, 10_000 + i) for i in range(60)]
    for i in range(100, 1100):
        operations += [upsert(2 * i, 2 * i + 3, i), read(2 * i + 0.5, 2 * i + 3.5, (i, 0))]
    operations += [read(3000, 3001, (10_030, 0)), read(3002, 3003, (10_030, 0)), read(3004, 3005, (10_007, 0))]
    check_register(operations)
    with pytest.raises(Violation):
        check_register([*operations, read(3006, 3007, (10_030, 0))])


def test_a_history_names_the_operations_that_contradict_each_other():
    history = History()
    for version in (1, 2):
        history.complete(history.invoke("a", "upsert", 5, version))
    history.invoke("b", "read", 5)
    history.complete(history.invoke("b", "read", 5), (1, 0))
    history.complete(history.invoke("b", "read", 6), None)
    violation, = check(history)
    assert "client b: read 5 → (1, 0) ok" in violation and "client a: upsert 5 2 ok" in violation and "read 6" not in violation


def test_sessions_never_go_back():
    session = Session("a")
    session.wrote([(0, 5)], b"x")
    session.read([(0, 5), (1, 9)], [(7, 3)], b"y")
    session.read([(1, 9)], [(7, 4)], b"z")
    assert not session.violations and session.token == b"z"
    session.read([(0, 4)], [], b"z")
    session.read([(0, 6)], [(7, 3)], b"z")
    assert len(session.violations) == 2
