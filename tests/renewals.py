#!/usr/bin/env python3
"""How fast renewals are charged that fall due at once, while merchants go on paying through the API.

    cargo build --release
    tests/renewals.py                        # PostgreSQL, a cluster of its own, two processes of the gateway
    tests/renewals.py --sqlite               # one process
    tests/renewals.py --subscriptions 1000   # a quick look

One subscription is made through the API and its row copied by SQL, each copy with one of --cards stored cards; all copies fall
due in the same millisecond. Payments come at --rate a second whether or not earlier answers are there; their time is counted
from when each was due. In the end the books are held against each other; exit 1 when one of the checks fails.
"""
import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlparse

ROOT = Path(__file__).resolve().parent.parent
API = "/api/v1/server-to-server-interface/"
ADDRESS = {
    "country": "JP", "email": "hanako@example.jp", "phone_number": "0312345678", "address1": "1-2-3 Shinjuku",
    "city": "Shinjuku-ku", "state": "Tokyo", "postal_code": "1600022",
}
PLAN = {
    "plan_name": "月額", "plan_desc": "毎月のお支払い", "cycle_type": "MONTHLY", "cycle_interval": 1,
    "subscription_end_type": "FOREVER", "has_trial_period": False, "has_discount": False,
}
RENEW = 6  # the job's kind
APPROVED = 3  # a transaction's state
PURCHASE = 2  # kind of an operation in the bank's books; its state 1 is approved
GIVE_UP_S = 120  # without a renewal more


class Refused(Exception):
    """What ends the run, in words."""


def run(command, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **more)
    if done.returncode != 0:
        raise Refused(f"{Path(command[0]).name} {command[1]}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


class Postgres:
    """A throwaway cluster with the server's own settings: what it commits is on the disk."""

    def __init__(self, folder):
        servers = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
        initdb = servers[-1] if servers else shutil.which("initdb")
        if initdb is None:
            raise Refused("no PostgreSQL server was found; ./test installs one")
        self.bin, self.data = Path(initdb).parent, folder / "cluster"
        self.data.mkdir()
        self.as_postgres = []
        if os.getuid() == 0:
            self.as_postgres = ["runuser", "-u", "postgres", "--"]
            shutil.chown(self.data, "postgres")
        self.ctl("initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8")
        with open(self.data / "postgresql.conf", "a", encoding="utf-8") as settings:
            settings.write(f"listen_addresses = '127.0.0.1'\nunix_socket_directories = '{self.data}'\n")
        for _ in range(8):
            self.port = random.randrange(20_000, 32_000)
            with contextlib.suppress(Refused):
                self.ctl("pg_ctl", "start", "-l", str(self.data / "server.log"), "-w", "-o", f"-p {self.port}")
                break
        else:
            raise Refused(f"PostgreSQL does not start, see {self.data}/server.log")
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres"

    def ctl(self, program, *args):
        # A server that inherits a pipe would keep it open.
        command = [*self.as_postgres, str(self.bin / program), "-D", str(self.data), *args]
        with open(self.data.parent / "log", "a+", encoding="utf-8") as log:
            if subprocess.run(command, stdout=log, stderr=log, cwd="/tmp").returncode != 0:
                raise Refused(f"{program} failed, see {log.name}")

    def rows(self, sql):
        out = run([self.bin / "psql", "-XqAt", "-F", "\t", "-v", "ON_ERROR_STOP=1", self.url, "-c", sql])
        return [line.split("\t") for line in out.splitlines()]

    def stop(self):
        self.ctl("pg_ctl", "stop", "-m", "immediate", "-w")

    random_id = "uuid_send(gen_random_uuid())"

    def columns(self, table):
        return [row[0] for row in self.rows(f"SELECT column_name FROM information_schema.columns WHERE table_name = '{table}'")]

    def bytes(self, hexadecimal):
        return f"'\\x{hexadecimal}'::bytea"

    def hex(self, column):
        return f"encode({column}, 'hex')"

    def numbers(self, count):
        return f"generate_series(0, {count - 1}) AS numbers (n)"


class Sqlite:
    url = None
    random_id = "randomblob(16)"

    def __init__(self, folder):
        self.path = folder / "data" / "fuda.db"

    def rows(self, sql):
        with contextlib.closing(sqlite3.connect(self.path, timeout=60)) as db, db:
            return [[str(value) if value is not None else "" for value in row] for row in db.execute(sql)]

    def stop(self):
        pass

    def columns(self, table):
        return [row[0] for row in self.rows(f"SELECT name FROM pragma_table_info('{table}')")]

    def bytes(self, hexadecimal):
        return f"x'{hexadecimal}'"

    def hex(self, column):
        return f"lower(hex({column}))"

    def numbers(self, count):
        return (f"(WITH RECURSIVE counted (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counted WHERE n < {count - 1}) "
                "SELECT n FROM counted) AS numbers")


class Gateway:
    """One serving process."""

    def __init__(self, fuda, log):
        with open(log, "w", encoding="utf-8") as err:
            self.process = subprocess.Popen([*fuda, "serve", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=err,
                                            stdin=subprocess.DEVNULL, text=True)
        for line in self.process.stdout:
            if line.startswith("Fuda listens on "):
                self.url, self.idle = urlparse(line.split()[3]), []
                return
        raise Refused(f"the gateway did not start, see {log}")

    async def post(self, path, body, headers):
        # The gateway closes what is idle for 10 s.
        while self.idle and self.idle[-1][0] < time.monotonic() - 5:
            self.idle.pop()[2].close()
        _, reader, writer = self.idle.pop() if self.idle else (0, *await asyncio.open_connection(self.url.hostname, self.url.port))
        payload = json.dumps(body).encode()
        head = f"POST {API}{path} HTTP/1.1\r\nHost: {self.url.netloc}\r\nContent-Type: application/json\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"{head}Content-Length: {len(payload)}\r\n\r\n".encode() + payload)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(re.search(r"(?im)^content-length: *(\d+)", head)[1])
        answer = await reader.readexactly(length)
        self.idle.append((time.monotonic(), reader, writer))
        return int(head.split()[1]), answer

    def user_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        """Whether it ended well."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(60) == 0
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return False


class Merchant:
    def __init__(self, made):
        self.id = made["merchant_id"]
        secret = made["secret_key"]
        self.headers = {"x-api-key": made["api_key"], "Authorization": f"Basic {secret}"}

    def card(self, number, **more):
        card = {"number": number, "expiry_month": "12", "expiry_year": "2030", "cvc": "123", "name": "YAMADA HANAKO"}
        method = {"type": "scheme", "store_payment_method": True}
        return {"amount": "1000", "currency": "JPY", "merchant_id": self.id, "card": card, "payment_method": method,
                "billing_address": ADDRESS, **more}

    def token(self, token):
        method = {"type": "scheme", "stored_payment_method_id": token}
        return {"amount": "1000", "currency": "JPY", "merchant_id": self.id, "payment_method": method,
                "billing_address": ADDRESS}


def pan(number):
    """A Visa number that ends in its check digit."""
    digits = f"49999900{number:07d}"
    doubled = [int(digit) * (2 - at % 2) for at, digit in enumerate(digits)]
    return digits + str(-sum(value - 9 * (value > 9) for value in doubled) % 10)


def found(answer, name):
    """The first value of that name, however deep."""
    if isinstance(answer, list):
        return next((value for value in (found(one, name) for one in answer) if value), None)
    if not isinstance(answer, dict):
        return None
    return answer.get(name) or found(list(answer.values()), name)


async def made(gateway, merchant, path, body):
    status, answer = await gateway.post(path, body, merchant.headers)
    if status != 201:
        raise Refused(f"{path} answered {status}: {answer.decode()[:1000]}")
    return json.loads(answer)


async def stored_cards(gateway, merchant, count):
    tokens, numbers = [], iter(range(count))

    async def client():
        for number in numbers:
            answer = await made(gateway, merchant, "payment", merchant.card(pan(number)))
            tokens.append(found(answer, "stored_payment_method_id"))

    await asyncio.gather(*(client() for _ in range(16)))
    return tokens


def copy(db, original, tokens, count, due):
    """`count` subscriptions like the original, and the jobs that `subscription::rows::plan` would have made."""
    columns = [name for name in db.columns("subscriptions") if name not in ("number", "id", "token_id", "due_at", "running")]
    same = ", ".join(columns)
    drawn = ", ".join(f"({at}, {db.bytes(token.replace('-', ''))})" for at, token in enumerate(tokens))
    db.rows(f"WITH cards (place, token) AS (VALUES {drawn}) "
            f"INSERT INTO subscriptions (id, token_id, due_at, {same}) SELECT {db.random_id}, cards.token, {due}, "
            f"{', '.join('s.' + column for column in columns)} FROM {db.numbers(count)} "
            f"JOIN cards ON cards.place = n % {len(tokens)} JOIN subscriptions s ON s.id = {original}")
    db.rows("INSERT INTO jobs (kind, subject, clock, lane, due_at, run_at, attempts) "
            f"SELECT {RENEW}, id, entity_id, 'test', due_at, due_at, 0 FROM subscriptions WHERE id <> {original} AND due_at = {due}")
    # As the server does by itself within a minute.
    db.rows("ANALYZE")


class Load:
    """Payments at an even pace, whatever becomes of those before."""

    def __init__(self, gateways, merchant, token, rate):
        self.gateways, self.merchant, self.rate = gateways, merchant, rate
        self.body, self.taken, self.approved, self.other = merchant.token(token), [], 0, []

    async def pay(self, number, due):
        try:
            status, answer = await self.gateways[number % len(self.gateways)].post("payment", self.body, self.merchant.headers)
            approved = status == 201 and json.loads(answer)["success"] is True
            said = f"{status} {answer.decode()[:300]}"
        except (OSError, asyncio.IncompleteReadError) as error:
            approved, said = False, repr(error)
        self.taken.append((due, (time.time() - due) * 1000))
        self.approved += approved
        if not approved:
            self.other.append(said)

    async def go_on(self, stop):
        begin, number, running = time.time(), 0, set()
        while not stop.is_set():
            due = begin + number / self.rate
            await asyncio.sleep(max(0, due - time.time()))
            task = asyncio.create_task(self.pay(number, due))
            running.add(task)
            task.add_done_callback(running.discard)
            number += 1
        await asyncio.gather(*running)

    def between(self, begin, end):
        """The line to print, and the 99th percentile in milliseconds."""
        taken = sorted(ms for due, ms in self.taken if begin <= due < end)
        if not taken:
            return "none", 0
        p50, p99 = (taken[min(int(len(taken) * part), len(taken) - 1)] for part in (0.5, 0.99))
        return f"{len(taken)}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {taken[-1]:.1f} ms", p99


async def all_charged(db, original, count, due):
    """Waits until nothing is due or on its way any more."""
    before, since = -1, max(time.time(), due / 1000)
    while True:
        await asyncio.sleep(2)
        # Of the copies, of which none has a charge before.
        sql = f"SELECT COUNT(*) FROM subscription_charges WHERE subscription_id <> {original}"
        charged = int((await asyncio.to_thread(db.rows, sql))[0][0])
        if charged >= count:
            sql = f"SELECT COUNT(*) FROM subscriptions WHERE running IS NOT NULL OR due_at <= {due}"
            if int((await asyncio.to_thread(db.rows, sql))[0][0]) == 0:
                return
        if charged != before:
            before, since = charged, max(time.time(), due / 1000)
            print(f"  {charged} of {count}", file=sys.stderr)
        if time.time() > since + GIVE_UP_S:
            print(f"nothing more was charged within {GIVE_UP_S} s", file=sys.stderr)
            return


def bank_references(bank):
    with contextlib.closing(sqlite3.connect(f"file:{bank}?mode=ro", uri=True, timeout=60)) as book:
        sql = "SELECT reference FROM operations WHERE kind = ? AND state = 1"
        return {reference for (reference,) in book.execute(sql, (PURCHASE,))}


def checks(db, original, count, due, bank, paid):
    """Each as a line and whether it holds. `paid`: charges that the API approved, the original's first among them."""
    def number(sql):
        return int(db.rows(sql)[0][0])

    copies = f"id <> {original}"
    charges = f"subscription_charges c JOIN transactions t ON t.id = c.transaction_id WHERE c.subscription_id <> {original}"
    sent = [row[0] for row in db.rows(
        f"SELECT a.reference FROM attempts a JOIN subscription_charges c ON c.transaction_id = a.transaction_id "
        f"WHERE c.subscription_id <> {original}")]
    booked = bank_references(bank)
    once = (f"SELECT COUNT(*) FROM (SELECT subscription_id FROM subscription_charges WHERE subscription_id <> {original} "
            "GROUP BY subscription_id HAVING COUNT(*) = 1) AS one")
    ended = (f"SELECT COUNT(*) FROM subscriptions WHERE {copies} AND status = 1 AND completed = 2 AND last_paid = 1 "
             f"AND failures = 0 AND delays = 0 AND running IS NULL AND due_at > {due}")
    approved = f"SELECT COUNT(*) FROM {charges} AND t.state = {APPROVED} AND c.cycle = 2"
    ours = number(f"SELECT COUNT(*) FROM transactions WHERE state = {APPROVED} AND kind = 2")
    return [
        ("copies with exactly one charge", number(once), count),
        ("charges of copies", number(f"SELECT COUNT(*) FROM {charges}"), count),
        ("of them approved, of the second cycle", number(approved), count),
        ("copies that wait for their next date", number(ended), count),
        ("messages to the bank for them", len(sent), count),
        ("purchases that the bank booked for them", len(booked.intersection(sent)), count),
        ("purchases that the bank booked in all", len(booked), count + paid),
        ("payments that Fuda booked in all", ours, count + paid),
        ("jobs that are due", number(f"SELECT COUNT(*) FROM jobs WHERE kind = {RENEW} AND due_at <= {due}"), 0),
    ]


async def measure(args, db, fuda, folder, gateways):
    add = ["merchant", "add", "--legal-name", "アイベック株式会社", "--country", "JP", "--currency", "JPY", "--json"]
    merchant = Merchant(json.loads(run([*fuda, *add])))
    gateways += [Gateway(fuda, folder / f"gateway-{number}.log") for number in range(1 if args.sqlite else 2)]
    tokens = await stored_cards(gateways[0], merchant, args.cards)
    answer = await made(gateways[0], merchant, "subscription/payment", merchant.card(pan(args.cards), subscription=PLAN))
    original = db.bytes(found(answer, "subscription_details")["id"].replace("-", ""))
    due = int(time.time() + args.wait + args.subscriptions / 10_000) * 1000
    copy(db, original, tokens, args.subscriptions, due)
    early = due / 1000 - time.time()
    if early < 15:
        raise Refused(f"copying took so long that they are due in {early:.0f} s: take a longer --wait")
    print(f"{args.subscriptions} subscriptions are due in {early:.0f} s", file=sys.stderr)
    load, stop = Load(gateways, merchant, tokens[0], args.rate), asyncio.Event()
    paying = asyncio.create_task(load.go_on(stop))
    await asyncio.sleep(max(0, due / 1000 - time.time()))
    spent = sum(gateway.user_seconds() for gateway in gateways)
    await all_charged(db, original, args.subscriptions, due)
    spent = sum(gateway.user_seconds() for gateway in gateways) - spent
    stop.set()
    await paying
    return original, due, load, spent


def report(args, db, original, due, load, spent):
    first, last = (int(value or 0) for value in db.rows(
        "SELECT MIN(a.sent_at), MAX(a.answered_at) FROM attempts a JOIN subscription_charges c "
        f"ON c.transaction_id = a.transaction_id WHERE c.subscription_id <> {original}")[0])
    if last <= first:
        raise Refused("nothing was charged")
    done = int(db.rows(f"SELECT COUNT(*) FROM subscription_charges WHERE subscription_id <> {original}")[0][0])
    engine = "SQLite, one process" if args.sqlite else "PostgreSQL, two processes"
    print(f"{engine}: {done} renewals in {(last - first) / 1000:.1f} s, {done * 1000 / (last - first):.0f} renewals/s; the first "
          f"{first - due} ms after it was due, the last {(last - due) / 1000:.1f} s")
    print(f"CPU of the gateway for each, payments included: {spent * 1e6 / done:.0f} µs")
    print(f"API payments at {args.rate}/s while nothing is due: {load.between(0, due / 1000)[0]}")
    line, p99 = load.between(first / 1000, last / 1000)
    print(f"API payments at {args.rate}/s while renewals run:   {line}")
    if load.other:
        print(f"API payments that were not approved: {len(load.other)}, the first of them: {load.other[0]}")
    return p99


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subscriptions", type=int, default=100_000, metavar="N")
    parser.add_argument("--sqlite", action="store_true", help="one process on SQLite")
    parser.add_argument("--cards", type=int, default=1_000, metavar="N", help="stored cards that the copies share")
    parser.add_argument("--rate", type=float, default=20, help="API payments a second")
    parser.add_argument("--p99", type=float, metavar="MS", help="exit 1 when payments beside them take as long, at the 99th percentile")
    parser.add_argument("--wait", type=int, default=60, metavar="SECONDS", help="until they are due, at least 30")
    parser.add_argument("--fuda", default=ROOT / "target/release/fuda", metavar="PATH")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="fuda-renewals."))
    folder.chmod(0o711)
    db, gateways, good = None, [], False
    try:
        db = Sqlite(folder) if args.sqlite else Postgres(folder)
        fuda = [str(args.fuda), "--data", str(folder / "data"), *(["--database-url", db.url] if db.url else [])]
        original, due, load, spent = asyncio.run(measure(args, db, fuda, folder, gateways))
        p99 = report(args, db, original, due, load, spent)
        stopped = [gateway.stop() for gateway in gateways]
        gateways.clear()
        found_wrong = not all(stopped) or bool(load.other)
        if args.p99 and p99 >= args.p99:
            print(f"WRONG API payments beside them took {p99:.1f} ms, not under {args.p99} ms")
            found_wrong = True
        for what, is_so, should in checks(db, original, args.subscriptions, due, folder / "data/sandbox-bank.db",
                                          args.cards + 1 + load.approved):
            print(f"{'ok   ' if is_so == should else 'WRONG'} {what}: {is_so}" + ("" if is_so == should else f", not {should}"))
            found_wrong |= is_so != should
        print(run([*fuda, "ledger", "verify"]).strip())
        good = not found_wrong
    except Refused as refused:
        print(f"renewals.py: {refused}", file=sys.stderr)
    finally:
        for gateway in gateways:
            gateway.stop()
        if db:
            db.stop()
        if good:
            shutil.rmtree(folder)
        else:
            print(f"what is left is in {folder}", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
