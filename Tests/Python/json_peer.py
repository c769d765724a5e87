"""The other implementation of protobuf's JSON: makes random messages of the public API, and judges what came of them.

make COUNT SEED OUT: a line a message: its name, its bytes in base64, its JSON.
judge IN: lines of name, bytes, the JSON that was made of the bytes, and the bytes that were made of our JSON; both must mean the same message.
"""

import base64
import json
import random
import sys

import conftest  # noqa: F401  makes the stubs
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor as F
from needletail.v1 import backup_pb2, cluster_pb2, collections_pb2, common_pb2, points_pb2

MESSAGES = [descriptor for module in (backup_pb2, cluster_pb2, collections_pb2, common_pb2, points_pb2)
            for descriptor in module.DESCRIPTOR.message_types_by_name.values()]
TEXTS = ["", "x", "a b", "\"quoted\\ \n\t\x01", "äöü €", "\U0001f600", "key", "\x7f</script>"]


def number(kind, rng):
    def among(low, high):
        return rng.choice([0, 1, low, high, rng.randint(low, high), max(low, -1)])

    if kind in (F.TYPE_INT32, F.TYPE_SINT32, F.TYPE_SFIXED32):
        return among(-2**31, 2**31 - 1)
    if kind in (F.TYPE_UINT32, F.TYPE_FIXED32):
        return among(0, 2**32 - 1)
    if kind in (F.TYPE_INT64, F.TYPE_SINT64, F.TYPE_SFIXED64):
        return among(-2**63, 2**63 - 1)
    if kind in (F.TYPE_UINT64, F.TYPE_FIXED64):
        return among(0, 2**64 - 1)
    if kind == F.TYPE_BOOL:
        return rng.random() < 0.5
    exact = rng.choice([0.0, 1.0, -0.5, 0.1, 3.4e38, 1e-40, 1e300, -0.0, float("inf"), float("-inf"), float("nan"), rng.uniform(-1e6, 1e6)])
    return exact if kind == F.TYPE_DOUBLE or abs(exact) < 3.5e38 or exact in (float("inf"), float("-inf")) or exact != exact else 2.5


def scalar(field, rng):
    if field.type == F.TYPE_STRING:
        return rng.choice(TEXTS)
    if field.type == F.TYPE_BYTES:
        return rng.randbytes(rng.choice([0, 1, 2, 3, 16, 40]))
    if field.type == F.TYPE_ENUM:
        return rng.choice([value.number for value in field.enum_type.values] + [77])
    return number(field.type, rng)


def fill(message, rng, depth=0):
    for field in message.DESCRIPTOR.fields:
        if rng.random() < (0.4 if depth < 3 else 0.8):
            continue
        target = getattr(message, field.name) if field.is_repeated or field.type == F.TYPE_MESSAGE else None
        if field.message_type and field.message_type.GetOptions().map_entry:
            key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
            for _ in range(rng.randint(0, 3)):
                name = scalar(key, rng)
                if value.type != F.TYPE_MESSAGE:
                    target[name] = scalar(value, rng)
                elif depth < 4:
                    fill(target[name], rng, depth + 1)
        elif field.is_repeated:
            for _ in range(rng.randint(0, 3)):
                if field.type != F.TYPE_MESSAGE:
                    target.append(scalar(field, rng))
                elif depth < 4:
                    fill(target.add(), rng, depth + 1)
        elif field.type == F.TYPE_MESSAGE:
            if depth < 4:
                target.SetInParent()
                fill(target, rng, depth + 1)
        elif field.containing_oneof is None or message.WhichOneof(field.containing_oneof.name) is None:
            setattr(message, field.name, scalar(field, rng))


def made(name, content):
    message = message_factory.GetMessageClass(next(d for d in MESSAGES if d.full_name == name))()
    message.ParseFromString(content)
    return message


def same(left, right):
    """Numbers of NaN are not equal to themselves, so bytes are compared."""
    return left.SerializeToString(deterministic=True) == right.SerializeToString(deterministic=True)


def main():
    if sys.argv[1] == "make":
        rng = random.Random(int(sys.argv[3]))
        with open(sys.argv[4], "w") as out:
            for _ in range(int(sys.argv[2])):
                descriptor = rng.choice(MESSAGES)
                message = message_factory.GetMessageClass(descriptor)()
                fill(message, rng)
                # Both spellings of the names are JSON of the message.
                text = json_format.MessageToJson(message, indent=None, ensure_ascii=rng.random() < 0.5, preserving_proto_field_name=rng.random() < 0.5)
                print(descriptor.full_name, base64.b64encode(message.SerializeToString()).decode(), text, sep="\t", file=out)
        return
    count = 0
    for line in open(sys.argv[2]):
        name, content, text, encoded = line.rstrip("\n").split("\t")
        message = made(name, base64.b64decode(content))
        expected = json.loads(json_format.MessageToJson(message))
        assert json.dumps(json.loads(text), sort_keys=True) == json.dumps(expected, sort_keys=True) or same(
            json_format.Parse(text, type(message)()), message), (name, text, expected)
        assert set(json.loads(text)) == set(expected), (name, text, expected)
        assert same(made(name, base64.b64decode(encoded)), message), (name, expected)
        count += 1
    print(count)


main()
