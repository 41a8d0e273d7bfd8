"""WebSocket routes with python3-websockets. Usage: websockets_client.py ws://HOST:PORT"""
import asyncio
import sys

import websockets

URL = sys.argv[1]


async def closed(conn, code):
    try:
        while True:
            await asyncio.wait_for(conn.recv(), 20)
    except websockets.ConnectionClosed as e:
        assert e.rcvd and e.rcvd.code == code, e


async def main():
    async with websockets.connect(URL + "/websocket", compression="deflate") as c:
        assert await c.recv() == "Welcome to the WebSocket server!"
        long = "é" * 100_000
        await c.send(long)
        assert await c.recv() == "You said: " + long
        await c.send(["in ", "three ", "fragments"])
        assert await c.recv() == "You said: in three fragments"
        await (await c.ping())
        await c.send(b"\x00")
        await closed(c, 1003)
    try:
        await websockets.connect(URL + "/websocket", origin="https://evil.example")
        raise AssertionError("a foreign page got in")
    except websockets.InvalidStatusCode as e:
        assert e.status_code == 403, e
    for path, status in ("/backpressure?n=x", 400), ("/asyncio?ms=-1", 400), ("/channels/.broadcast", 400), ("/channels/a?since=z", 400), ("/", 200):
        try:
            await websockets.connect(URL + path)
            raise AssertionError(path)
        except websockets.InvalidStatusCode as e:
            assert e.status_code == status, (path, e)
    c = await websockets.connect(URL + "/channels/a")
    await c.recv()
    await c.send("talk")
    await closed(c, 1008)
    print("ok")


asyncio.run(main())
