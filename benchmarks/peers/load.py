"""A load of its own process.

Connections that ask one after the other, different bodies in turn.

Run: ``python benchmarks/peers/load.py PORT PATH BODIES.json CONNECTIONS SECONDS
[STOP]``; prints JSON. It ends early where the file STOP appears.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import count
from pathlib import Path

ADMIN_KEY = "benchmark-admin-key"  # ours asks for one; to the peers it means nothing


async def ask(
    port: int,
    requests: list[bytes],
    turn: count[int],
    end: float,
    times: list[float],
    stop: Path | None,
) -> int:
    """Ask over one connection until the end; returns how many answers were no 200."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    failed = 0
    while time.perf_counter() < end and not (stop and stop.exists()):
        start = time.perf_counter()
        writer.write(requests[next(turn) % len(requests)])
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        size = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(size)
        times.append(time.perf_counter() - start)
        failed += b" 200 " not in head.split(b"\r\n")[0]
    writer.close()
    return failed


async def main(
    port: int,
    path: str,
    bodies: list[str],
    connections: int,
    seconds: float,
    stop: Path | None,
) -> None:
    """Print requests a second and the times of the answers, in milliseconds."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    )
    head += f"Authorization: Bearer {ADMIN_KEY}\r\nContent-Length: "
    requests = [f"{head}{len(body.encode())}\r\n\r\n{body}".encode() for body in bodies]
    turn, times, start = count(), list[float](), time.perf_counter()
    failed = await asyncio.gather(
        *(
            ask(port, requests, turn, start + seconds, times, stop)
            for _ in range(connections)
        )
    )
    taken = time.perf_counter() - start
    times.sort()
    figures = {
        "rps": len(times) / taken,
        "failed": sum(failed),
        "n": len(times),
        "max": times[-1] * 1000,
    }
    figures |= {
        f"p{share}": times[int(len(times) * share / 100)] * 1000 for share in (50, 99)
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    words = sys.argv[1:]
    stop_file = Path(words[5]) if len(words) > 5 else None
    asyncio.run(
        main(
            int(words[0]),
            words[1],
            json.loads(Path(words[2]).read_text()),
            int(words[3]),
            float(words[4]),
            stop_file,
        )
    )
