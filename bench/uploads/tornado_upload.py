"""The seed application's upload, on Tornado: python3 tornado_upload.py PORT FOLDER."""

import os
import sys

import tornado.concurrent
import tornado.httpserver
import tornado.ioloop
import tornado.web

PORT, FOLDER = int(sys.argv[1]), sys.argv[2]


class Upload(tornado.web.RequestHandler):
    executor = tornado.concurrent.futures.ThreadPoolExecutor(5)

    @tornado.concurrent.run_on_executor
    def store(self):
        for directory, files in self.request.files.items():
            for content in files:
                path = os.path.join(FOLDER, directory, content["filename"])
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "wb") as file:
                    file.write(content["body"])

    async def post(self):
        await self.store()
        self.write({"code": 200, "reason": "OK"})


class Hello(tornado.web.RequestHandler):
    def get(self):
        self.write("Hello, world!")


limit = 4 << 30
server = tornado.httpserver.HTTPServer(tornado.web.Application([("/upload", Upload), ("/", Hello)]), max_buffer_size=limit, max_body_size=limit)
server.listen(PORT, "127.0.0.1")
tornado.ioloop.IOLoop.current().start()
