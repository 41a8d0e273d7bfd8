"""Every WebSocket route with Tornado's client. Usage: tornado_client.py ws://HOST:PORT"""
import asyncio
import json
import sys

from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

URL = sys.argv[1]
HTTP = URL.replace("ws", "http", 1)


async def want(conn, text):
    got = await asyncio.wait_for(conn.read_message(), 20)
    assert got == text, (got, text)


async def main():
    c = await websocket_connect(URL + "/websocket", ping_interval=1)
    await want(c, "Welcome to the WebSocket server!")
    await c.write_message("héllo")
    await want(c, "You said: héllo")
    c.close(4000, "enough")
    await want(c, None)

    beat = await websocket_connect(URL + "/heartbeat")
    began = asyncio.get_running_loop().time()
    await want(beat, "Connected to Heartbeat WebSocket server!")

    a = await websocket_connect(URL + "/broadcast")
    b = await websocket_connect(URL + "/broadcast")
    for c in a, b:
        await want(c, "Connected to Broadcast WebSocket server!")
    for i in range(20):
        await a.write_message(str(i))
    for c in a, b:
        for i in range(20):
            await want(c, "Broadcast: %d" % i)

    c = await websocket_connect(URL + "/backpressure?n=3000&ms=0")
    await want(c, "Connected to Backpressure WebSocket server!")
    for i in range(3000):
        await want(c, "Message %d" % i)

    c = await websocket_connect(URL + "/asyncio?n=20&ms=20")
    await want(c, "Connected to Asyncio WebSocket server!")
    await c.write_message("now")
    got = [await asyncio.wait_for(c.read_message(), 20) for _ in range(21)]
    assert "You said: now" in got[:20], got
    got.remove("You said: now")
    assert got == ["Message %d" % i for i in range(20)], got

    c = await websocket_connect(URL + "/channels/tornado")
    hello = json.loads(await c.read_message())
    assert hello["event"] == "subscribed", hello
    await AsyncHTTPClient().fetch(HTTPRequest(HTTP + "/publish/tornado", method="POST", body="news"))
    message = json.loads(await c.read_message())
    assert message == {"channel": "tornado", "seq": hello["seq"] + 1, "data": "news"}, message

    await want(beat, "heartbeat")
    passed = asyncio.get_running_loop().time() - began
    assert 9 <= passed <= 11, passed
    print("ok")


asyncio.run(main())
