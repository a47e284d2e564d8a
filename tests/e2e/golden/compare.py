#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""compare.py DIR EXPECT…: whether the decoded images DIR/*.json have the fields and values that the lists EXPECT name.

Several images of one kind (core-7, core-8) count together.  A field is the path from the entry to it, "[]" for each
element of a list; "path=value": one of the values there.
"""
import collections
import json
import os
import re
import sys


def walk(value, path, found):
    if isinstance(value, dict):
        for key, inner in value.items():
            walk(inner, f"{path}.{key}" if path else key, found)
    elif isinstance(value, list):
        for inner in value:
            walk(inner, path + "[]", found)
    else:
        found[path].add(str(value))


def main():
    kinds, kind, missing, count = {}, None, [], 0
    for name in os.listdir(sys.argv[1]):
        found = kinds.setdefault(re.sub(r"-[0-9a-f]+$", "", name.removesuffix(".json")), collections.defaultdict(set))
        with open(os.path.join(sys.argv[1], name)) as f:
            for entry in json.load(f)["entries"]:
                walk(entry, "", found)
    for line in (line for expect in sys.argv[2:] for line in open(expect)):
        if line.startswith("#"):
            continue
        if not line.startswith("\t"):
            kind = line.strip().rstrip(":")
            if kind not in kinds:
                missing.append(f"no image {kind}")
            continue
        for want in line.split():
            path, equals, value = want.partition("=")
            found = kinds.get(kind, {}).get(path)
            count += 1
            if found is None:
                missing.append(f"{kind}: no field {path}")
            elif equals and value not in found:
                missing.append(f"{kind}: {path} is {', '.join(sorted(found))[:80]}, none is {value}")
    print(f"{count} fields, {len(missing)} missing", *missing, sep="\n")
    return 1 if missing else 0


sys.exit(main())
