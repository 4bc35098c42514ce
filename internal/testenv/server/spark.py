"""Runs SQL statements in one Spark session: spark.py DEFAULTS JARS STATEMENTS RESULTS.

DEFAULTS is a file like spark-defaults.conf, STATEMENTS a JSON list; RESULTS gets a JSON list with the rows of each.
"""
import atexit
import json
import sys

from pyspark.sql import SparkSession

defaults, jars, statements, results = sys.argv[1:]
builder = SparkSession.builder.master("local[2]")
settings = {"spark.jars": jars, "spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.memory": "1g", "spark.sql.shuffle.partitions": "2"}
with open(defaults) as f:
    for line in filter(None, map(str.strip, f)):
        key, value = line.split(None, 1)
        if key != "spark.jars.packages":  # they are here
            settings[key] = value
for key, value in settings.items():
    builder = builder.config(key, value)
session = builder.getOrCreate()


@atexit.register
def end():
    """Waits for Java too, which ends when its input does."""
    gateway = session.sparkContext._gateway
    session.stop()
    gateway.shutdown()
    gateway.proc.stdin.close()
    gateway.proc.wait(60)


answers = []
with open(statements) as f:
    for sql in json.load(f):
        print(sql, flush=True)
        answers.append([["NULL" if v is None else str(v) for v in row] for row in session.sql(sql).collect()])
with open(results, "w") as f:
    json.dump(answers, f)
