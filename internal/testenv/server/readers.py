"""The readers of a lake, for tests: one request a line on standard input, one answer a line on descriptor 3.

Values are answered as text in the normal form that normal.go describes, except numbers with a floating point, which it finishes.
Every request runs in a thread, so a slow query holds up nobody. The process ends when its input does.
"""
import datetime as dt
import decimal
import glob
import json
import os
import sys
import threading
import uuid

answers = os.fdopen(3, "w", encoding="utf-8", newline="\n")
writing = threading.Lock()
connections = {}


def duckdb_open():
    import duckdb

    con = duckdb.connect(config={"allow_unsigned_extensions": "true"})
    packages = os.path.dirname(os.path.dirname(duckdb.__file__))
    for name in ("avro", "httpfs", "iceberg"):  # iceberg needs the other two
        (file,) = glob.glob(os.path.join(packages, f"duckdb_extension_{name}", "extensions", "*", f"{name}.duckdb_extension"))
        con.execute(f"LOAD '{file}'")
    con.execute("SET TimeZone='UTC'")
    return con


def normal(v):
    if v is None:
        return None
    if isinstance(v, bool):
        return "true" if v else "false"
    if isinstance(v, (bytes, bytearray, memoryview)):
        return "0x" + bytes(v).hex()
    if isinstance(v, dt.datetime):
        text = v.astimezone(dt.timezone.utc).replace(tzinfo=None) if v.tzinfo else v
        return text.isoformat(timespec="microseconds") + ("Z" if v.tzinfo else "")
    if isinstance(v, (dt.date, dt.time)):
        return v.isoformat()
    if isinstance(v, decimal.Decimal):
        return format(v, "f")
    if isinstance(v, float):
        return repr(v)
    if isinstance(v, uuid.UUID):
        return str(v)
    if isinstance(v, dict):
        return json.dumps({str(k): normal(x) for k, x in v.items()})
    if isinstance(v, (list, tuple)):
        return json.dumps([normal(x) for x in v])
    return str(v)


def plain(v):
    """What JSON can carry, of what Python code returned."""
    if isinstance(v, dict):
        return {str(k): plain(x) for k, x in v.items()}
    if isinstance(v, (list, tuple, set)):
        return [plain(x) for x in v]
    return v if v is None or isinstance(v, (bool, int, float, str)) else normal(v)


def catalog(uri, **settings):
    from pyiceberg.catalog import load_catalog

    return load_catalog("rest", type="rest", uri=uri, **settings)


def handle(request):
    op = request["op"]
    if op == "ping":
        return {}
    if op == "duckdb open":
        connections[request["id"]] = duckdb_open()
        return {"conn": request["id"]}
    if op == "duckdb close":
        connections.pop(request["conn"]).close()
        return {}
    if op == "duckdb":
        cursor = connections[request["conn"]].cursor()
        try:
            cursor.execute(request["text"])
            types = [str(column[1]) for column in cursor.description or []]
            rows = cursor.fetchall() if types else []
            return {"types": types, "rows": [[normal(v) for v in row] for row in rows]}
        finally:
            cursor.close()
    if op == "python":
        names = {"catalog": catalog, "json": json}
        exec(request["text"], names)
        return {"value": plain(names.get("result"))}
    raise ValueError(f"unknown request {op!r}")


def serve(request):
    try:
        answer = handle(request)
    except BaseException as e:  # the caller is to hear of everything
        answer = {"error": f"{type(e).__name__}: {e}"}
    with writing:
        answers.write(json.dumps({"id": request["id"], **answer}) + "\n")
        answers.flush()


for line in sys.stdin:
    threading.Thread(target=serve, args=(json.loads(line),), daemon=True).start()
os._exit(0)
