"""WS /websocket on Tornado, in one process."""
import asyncio
import sys

import tornado.web
import tornado.websocket


class Echo(tornado.websocket.WebSocketHandler):
    def open(self):
        self.write_message("Welcome to the WebSocket server!")

    def on_message(self, message):
        self.write_message("You said: " + message)


async def main():
    tornado.web.Application([("/websocket", Echo)]).listen(int(sys.argv[1]), "127.0.0.1", backlog=4096)
    await asyncio.Event().wait()


asyncio.run(main())
