#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""decode.py DIR OUT: decodes the images in DIR by the tables of the well-known format alone (format.tsv), into OUT/*.json.

Neither our own descriptions of the messages nor another reader has a part in it: a field under a wrong number or of a
wrong type shows.  A field that the format does not have, a wrong magic, or bytes left over are errors.
"""
import collections
import json
import os
import re
import struct
import sys

COMMON, SERVICE = 0x54564319, 0x55105940
# how many bytes follow an entry; -1: all the rest
EXTRA = {
    "pipes-data": lambda e: e["bytes"],
    "fifo-data": lambda e: e["bytes"],
    "sk-queues": lambda e: e["length"],
    "tcp-stream": lambda e: e["inq_len"] + e["outq_len"],
    "ghost-file": lambda e: -1,
}
images, enums, messages = {}, collections.defaultdict(dict), collections.defaultdict(dict)


def load(path):
    for line in open(path):
        if line.startswith("#"):
            continue
        row = line.rstrip("\n").split("\t")
        if row[0] == "image":
            images[row[1]] = (int(row[2], 16), row[3].split(","))
        elif row[0] == "enum":
            enums[row[1]][int(row[2])] = row[3]
        else:
            messages[row[0]][int(row[1])] = (row[2], row[3].rstrip("*"), row[3].endswith("*"))


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def scalar(kind, value):
    if kind.startswith("enum:"):
        return enums[kind[5:]].get(value, value)
    if kind in ("sint32", "sint64"):
        return value >> 1 ^ -(value & 1)
    if kind in ("int32", "int64") and value >> 63:
        return value - (1 << 64)
    if kind == "uint32" and value >> 32:
        raise ValueError(f"{value:#x} is no uint32")
    return value


def field(kind, data, at, wire):
    """one value, or the list of a packed field"""
    if wire == 0:
        value, at = varint(data, at)
        return scalar(kind, value), at
    if wire in (1, 5):
        if kind not in ("fixed64", "fixed32"):
            raise ValueError(f"a fixed number where {kind} belongs")
        size = 8 if wire == 1 else 4
        return int.from_bytes(data[at : at + size], "little"), at + size
    if wire != 2:
        raise ValueError(f"wire type {wire}")
    size, at = varint(data, at)
    part, at = data[at : at + size], at + size
    if len(part) != size:
        raise ValueError("cut off")
    if kind in messages:
        return message(kind, part), at
    if kind == "string":
        return part.decode(errors="backslashreplace"), at
    if kind == "bytes":
        return part.hex(), at
    values, inner = [], 0
    while inner < size:
        value, inner = varint(part, inner)
        values.append(scalar(kind, value))
    return values, at


def message(name, data):
    result, at = {}, 0
    while at < len(data):
        key, at = varint(data, at)
        if key >> 3 not in messages[name]:
            raise ValueError(f"{name}: the format has no field {key >> 3}")
        kind, label, repeated = messages[name][key >> 3]
        try:
            value, at = field(kind, data, at, key & 7)
        except ValueError as e:
            raise ValueError(f"{name}.{label}: {e}") from None
        if repeated:
            result.setdefault(label, []).extend(value if isinstance(value, list) else [value])
        else:
            result[label] = value
    return result


def entries(kind, data):
    magic, names = images[kind]
    head = [magic] if kind == "inventory" else [SERVICE if kind.startswith("stats") else COMMON, magic]
    at = 4 * len(head)
    if list(struct.unpack_from(f"<{len(head)}I", data)) != head:
        raise ValueError("wrong magic")
    result = []
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        at += 4
        if at + size > len(data):
            raise ValueError("cut off")
        entry = message(names[min(len(result), len(names) - 1)], data[at : at + size])
        at += size
        extra = EXTRA.get(kind, lambda e: 0)(entry)
        if extra:
            entry["extra"] = data[at:].hex() if extra < 0 else data[at : at + extra].hex()
            at = len(data) if extra < 0 else at + extra
        if at > len(data):
            raise ValueError("cut off in what follows an entry")
        result.append(entry)
    return result


def main():
    load(os.path.join(os.path.dirname(os.path.abspath(__file__)), "format.tsv"))
    source, out = sys.argv[1:]
    for name in sorted(os.listdir(source)):
        stem = re.sub(r"\.img$", "", name)
        kind = re.sub(r"-[0-9a-f]+$", "", stem)
        if kind not in images:
            continue
        with open(os.path.join(source, name), "rb") as f:
            data = f.read()
        try:
            decoded = entries(kind, data)
        except (ValueError, IndexError, KeyError) as e:
            sys.exit(f"{name}: {e!r}")
        with open(os.path.join(out, stem + ".json"), "w") as f:
            json.dump({"entries": decoded}, f)


main()
