"""WS /websocket and /broadcast on Tornado, in one process."""
import asyncio
import sys

import tornado.web
import tornado.websocket


class Echo(tornado.websocket.WebSocketHandler):
    def open(self):
        self.write_message("Welcome to the WebSocket server!")

    def on_message(self, message):
        self.write_message("You said: " + message)


class Broadcast(tornado.websocket.WebSocketHandler):
    clients = set()

    def open(self):
        self.clients.add(self)
        self.write_message("Connected to Broadcast WebSocket server!")

    def on_message(self, message):
        for client in self.clients:
            client.write_message("Broadcast: " + message)

    def on_close(self):
        self.clients.discard(self)


async def main():
    handlers = [("/websocket", Echo), ("/broadcast", Broadcast)]
    tornado.web.Application(handlers).listen(int(sys.argv[1]), "127.0.0.1", backlog=4096)
    await asyncio.Event().wait()


asyncio.run(main())
