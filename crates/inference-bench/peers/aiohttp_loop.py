#!/usr/bin/env python3
"""The read loop of Python's clients for streams of tokens, held against an emitter.

    inference-bench emit                                    # prints its URL
    python aiohttp_loop.py URL --streams 512 --tokens 200   # needs aiohttp and uvloop

Stamps are taken as those clients take them: per event, when it is parsed. Prints one JSON line with the
error of the gaps, |measured gap - emitted gap| in microseconds.
"""

import argparse
import asyncio
import json
import resource
import time

import aiohttp
import uvloop


async def stream(session, url, tokens, errors, counts):
    body = {"model": "test", "prompt": "x", "max_tokens": tokens, "stream": True}
    emitted = before = None
    async with session.post(f"{url}/v1/completions", json=body) as reply:
        buffer = b""
        async for chunk in reply.content.iter_any():
            buffer += chunk
            while b"\n\n" in buffer:
                message, buffer = buffer.split(b"\n\n", 1)
                if message.startswith(b": t="):
                    emitted = int(message[4:])
                elif message.startswith(b"data: ") and message != b"data: [DONE]":
                    event = json.loads(message[6:])
                    now = time.perf_counter_ns()
                    if not event["choices"] or not event["choices"][0]["text"]:
                        continue
                    counts["events"] += 1
                    if before is not None:
                        gap = now - before[0]
                        counts["coalesced"] += gap < 100_000
                        errors.append(abs(gap - (emitted - before[1])) / 1000)
                    before = (now, emitted)


async def run(arguments):
    errors, counts = [], {"events": 0, "coalesced": 0}
    timeout = aiohttp.ClientTimeout(total=None)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        tasks = (
            stream(session, arguments.url, arguments.tokens, errors, counts)
            for _ in range(arguments.streams)
        )
        await asyncio.gather(*tasks)
    errors.sort()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    quantile = lambda p: errors[min(len(errors) - 1, int(p * len(errors)))]
    print(json.dumps({
        "streams": arguments.streams,
        "gap_err_p50_us": round(quantile(0.5), 1),
        "gap_err_p99_us": round(quantile(0.99), 1),
        "gaps_below_100us_pct": round(100 * counts["coalesced"] / max(1, len(errors)), 2),
        "cpu_us_per_event": round(1e6 * (usage.ru_utime + usage.ru_stime) / counts["events"], 1),
    }))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--streams", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=200)
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
