#!/usr/bin/env python3
"""Opens a page of the gateway RATE times a second for SECONDS, whether or not earlier answers are there, each time from
another address, and tells the percentiles of the time from when it was due to its last byte.

    fuda serve --trusted-proxies 127.0.0.1/32       # so that the addresses are believed
    tests/pages.py http://127.0.0.1:8080/HostedPaymentPage/CODE 200 15
"""
import asyncio
import sys
import time
from urllib.parse import urlparse

url, rate, seconds = urlparse(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
idle, taken, other = [], [], 0


async def visit(number, due):
    global other
    await asyncio.sleep(max(0, due - time.perf_counter()))
    reader, writer = idle.pop() if idle else await asyncio.open_connection(url.hostname, url.port)
    address = f"198.51.{number // 250 % 250 + 1}.{number % 250 + 1}"
    writer.write(f"GET {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nX-Forwarded-For: {address}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    await reader.readexactly(int(length.split(b":")[1]))
    taken.append((time.perf_counter() - due) * 1000)
    other += not head.startswith(b"HTTP/1.1 200")
    idle.append((reader, writer))


async def main():
    begin = time.perf_counter() + 0.5
    await asyncio.gather(*(visit(number, begin + number / rate) for number in range(rate * seconds)))
    taken.sort()
    p50, p99 = (taken[int(len(taken) * part) - 1] for part in (0.5, 0.99))
    print(f"{len(taken)} pages, {other} not 200: p50 {p50:.1f} ms, p99 {p99:.1f} ms, most {taken[-1]:.1f} ms")


asyncio.run(main())
