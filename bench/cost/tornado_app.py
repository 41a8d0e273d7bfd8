"""The routes of the comparison on Tornado: tornado_app.py PORT PROCESSES UPSTREAM."""
import asyncio
import sys

import tornado.httpclient
import tornado.httpserver
import tornado.netutil
import tornado.process
import tornado.web


class Hello(tornado.web.RequestHandler):
    def get(self):
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.write(self.get_argument("greeting", "Hello") + ", friendly user!")


class Delay(tornado.web.RequestHandler):
    async def get(self):
        await asyncio.sleep(float(self.get_argument("s", "1")))
        self.write("Hello, world!")


class Fetch(tornado.web.RequestHandler):
    async def get(self):
        response = await tornado.httpclient.AsyncHTTPClient().fetch(sys.argv[3])
        self.write("<div>Time Cost</div><div>%s</div>" % response.request_time)


async def main(sockets):
    app = tornado.web.Application([("/", Hello), ("/delay", Delay), ("/fetch", Fetch)])
    tornado.httpserver.HTTPServer(app).add_sockets(sockets)
    await asyncio.Event().wait()


sockets = tornado.netutil.bind_sockets(int(sys.argv[1]), "127.0.0.1", backlog=4096)
if int(sys.argv[2]) > 1:
    tornado.process.fork_processes(int(sys.argv[2]))
asyncio.run(main(sockets))
