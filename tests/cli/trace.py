#!/usr/bin/env python3
"""Checks a file of `pmapc --trace` against the Trace Event Format, and against what pmapc promises of it.

trace.py FILE ITEMS [SLOTS]: items 1..ITEMS each have exactly one event; SLOTS: the numbers of the rows that they must be in,
with commas between them (any, from 1). Prints for each row its name and how many items are there; exits with 1 and says
what is wrong.
"""
import collections
import json
import sys

# The colours that the format has names for, of which we use few.
COLOURS = {"good", "bad", "terrible", "generic_work", "grey"}
ASIDE = 65536


class Wrong(Exception):
    pass


def need(condition, what, event=None):
    if not condition:
        raise Wrong(what if event is None else f"{what}: {json.dumps(event)}")


def number(event, key):
    value = event.get(key)
    need(type(value) in (int, float), f"'{key}' is no number", event)
    return value


def ns(event, key):
    """A time in whole nanoseconds, which a double must still hold."""
    value = number(event, key)
    need(value >= 0, f"'{key}' is negative", event)
    need(abs(value * 1000 - round(value * 1000)) < 0.01, f"'{key}' is no whole nanosecond", event)
    return round(value * 1000)


def check_common(event):
    need(isinstance(event, dict), "an event is no object", event)
    need(isinstance(event.get("name"), str) and event["name"], "an event without a name", event)
    need(event.get("ph") in ("X", "i", "M"), "a phase that pmapc does not write", event)
    need(type(event.get("pid")) is int, "no 'pid'", event)
    need(isinstance(event.get("args"), dict), "no 'args'", event)
    if "cname" in event:
        need(event["cname"] in COLOURS, "a colour that the format does not know", event)


def check_metadata(event, names, order):
    kinds = {"process_name": ("name", str), "thread_name": ("name", str), "thread_sort_index": ("sort_index", int)}
    need(event["name"] in kinds, "metadata that the format does not know", event)
    key, kind = kinds[event["name"]]
    need(type(event["args"].get(key)) is kind, f"metadata without '{key}'", event)
    where = (event["name"], event["pid"], None if event["name"] == "process_name" else event.get("tid"))
    need(where not in names, "metadata twice", event)
    names[where] = event["args"][key]
    if event["name"] == "thread_sort_index":
        order[event["tid"]] = event["args"]["sort_index"]


def check_item(event, items, rows):
    need(isinstance(event.get("cat"), str), "no 'cat'", event)
    need(type(event.get("tid")) is int, "no 'tid'", event)
    args = event["args"]
    need(type(args.get("seq")) is int and isinstance(args.get("item"), str), "args without seq or item", event)
    need(event["name"] == f"item {args['seq']}", "its name is another's", event)
    need(args["seq"] not in items, "an item twice", event)
    need(args.get("attempts", 0) >= 1 and isinstance(args.get("status"), str), "attempts, status", event)
    failed = args["status"] != "done"
    need(failed == ("error" in args) == ("cname" in event), "failed, or not?", event)
    if "cpu_ms" in args:
        number(args, "cpu_ms")
    items.add(args["seq"])
    begin = ns(event, "ts")
    if event["ph"] == "i":
        need(event.get("s") in ("g", "p", "t"), "an instant without its scope", event)
        need(event["tid"] == ASIDE and "dur" not in event, "an instant in a slot's row", event)
        rows[ASIDE].append((begin, begin, event))
    else:
        need(1 <= event["tid"] < ASIDE, "a row that is no slot", event)
        rows[event["tid"]].append((begin, begin + ns(event, "dur"), event))


def check(path, count, slots):
    with open(path, encoding="utf-8", errors="strict") as file:
        trace = json.load(file, parse_constant=lambda word: need(False, f"{word} is no JSON"))
    need(isinstance(trace, dict) and isinstance(trace.get("traceEvents"), list), "no traceEvents")
    need(trace.get("displayTimeUnit") in ("ms", "ns"), "displayTimeUnit")
    names, order, items, rows = {}, {}, set(), collections.defaultdict(list)
    for event in trace["traceEvents"]:
        check_common(event)
        if event["ph"] == "M":
            check_metadata(event, names, order)
        else:
            need(event["pid"] == 1, "another process", event)
            check_item(event, items, rows)
    need(items == set(range(1, count + 1)), f"items {sorted(items)[:20]}... instead of 1 to {count}")
    for tid, events in sorted(rows.items()):
        name = names.get(("thread_name", 1, tid))
        need(name == ("in no slot" if tid == ASIDE else f"slot {tid}"), f"row {tid} has the name {name}")
        need(order.get(tid) == tid, f"row {tid} has no place")
        need(tid == ASIDE or slots is None or tid in slots, f"nothing should run in slot {tid}")
        events.sort(key=lambda e: (e[0], e[1]))
        for (_, end, before), (begin, _, event) in zip(events, events[1:]):
            need(end <= begin, f"overlaps {json.dumps(before)}", event)
        print(f"{name}: {len(events)}")
    named = {tid for kind, _, tid in names if kind == "thread_name"}
    need(named == set(rows), f"rows {named} have names, and {set(rows)} have events")
    process = names.get(("process_name", 1, None))
    need(process is not None, "the job has no name")
    print(process)


try:
    check(sys.argv[1], int(sys.argv[2]), {int(n) for n in sys.argv[3].split(",")} if len(sys.argv) > 3 else None)
except (Wrong, ValueError, OSError) as wrong:
    sys.exit(f"{sys.argv[1]}: {wrong}")
