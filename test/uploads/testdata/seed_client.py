"""The seed application's own requests, by urllib and by http.client.

python3 seed_client.py URL DIRECTORY LIBRARY  prints the code of each answer.
"""

import http.client
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

BASE, DIRECTORY, LIBRARY = sys.argv[1:]
FORM = "application/x-www-form-urlencoded"


def by_urllib(method, path, kind, body):
    headers = {"Content-Type": kind} if kind else {}
    request = urllib.request.Request(BASE + path, data=body, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read()


def by_http_client(method, path, kind, body):
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(BASE).netloc)
    connection.request(method, path, body, {"Content-Type": kind} if kind else {})
    answer = connection.getresponse()
    try:
        return answer.status, answer.read()
    finally:
        connection.close()


send = {"urllib": by_urllib, "http.client": by_http_client}[LIBRARY]


def show(name, method, kind, body, path="/upload"):
    status, text = send(method, path, kind, body)
    print(name, json.loads(text)["code"], status)


def multipart(*parts):
    body = b""
    for disposition, content in parts:
        body += b"--frontier\r\nContent-Disposition: form-data; " + disposition.encode() + b"\r\n\r\n" + content + b"\r\n"
    return "multipart/form-data; boundary=frontier", body + b"--frontier--\r\n"


def form(**fields):
    return FORM, urllib.parse.urlencode(fields).encode()


CONTENT = bytes(range(256)) * 40
FILE = multipart((f'name="{DIRECTORY}"; filename="a.mp3"', CONTENT))
show("form", "POST", *FILE)
show("again", "POST", *FILE)
show("no-file", "POST", *multipart(('name="x"', b"y")))
show("fields", "POST", *form(directory=DIRECTORY, filename="b.wav", body=CONTENT))
show("fields-again", "POST", *form(directory=DIRECTORY, filename="b.wav", body=CONTENT))
show("no-directory", "POST", *form(filename="c.wav", body=b"x"))
show("no-filename", "POST", *form(directory=DIRECTORY, body=b"x"))
show("text", "POST", *form(directory=DIRECTORY, filename="c.txt", body=b"x"))
show("delete", "DELETE", *form(directory=DIRECTORY, filename="a.mp3"))
show("delete-again", "DELETE", None, None, "/upload?" + urllib.parse.urlencode({"directory": DIRECTORY, "filename": "a.mp3"}))
show("delete-nothing", "DELETE", *form(directory=DIRECTORY))
show("form-once-more", "POST", *FILE)
with urllib.request.urlopen(f"{BASE}/upload/{DIRECTORY}/b.wav") as answer:
    print("same", answer.read() == CONTENT, answer.status)
