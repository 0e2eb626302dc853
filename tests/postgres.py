"""Stopgap of the lead's until task D's lands: overwrite freely."""
import glob
import secrets

import psycopg2

BASE = "postgresql://postgres@127.0.0.1:54329/"
_template = []
def _admin(sql):
    c = psycopg2.connect(BASE + "postgres"); c.autocommit = True
    c.cursor().execute(sql); c.close()
def _new(case, template):
    name = "lead_" + secrets.token_hex(6)
    _admin(f"CREATE DATABASE {name} TEMPLATE {template}")
    case.addCleanup(_admin, f"DROP DATABASE {name} WITH (FORCE)")
    return BASE + name
def empty_database(case):
    return _new(case, "template1")
def migrated_database(case):
    if not _template:
        name = "leadtmpl_" + secrets.token_hex(4)
        _admin(f"CREATE DATABASE {name} TEMPLATE lead18b")
        c = psycopg2.connect(BASE + name); c.autocommit = True
        cur = c.cursor()
        cur.execute("create schema slayq; create table slayq._migrations(id bigserial, migration text unique, created_at timestamptz)")
        for f in sorted(glob.glob("/work/main/sql/migrations/*.sql")):
            cur.execute(open(f).read())
        c.close()
        _template.append(name)
    return _new(case, _template[0])
