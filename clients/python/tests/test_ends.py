"""How calls and processes end while something else happens at the same time."""

import os
import threading
import unittest

from gale.errors import ConnectionLost
from gale.transport import Transport
from gale.worker.calls import WaitingCall
from gale.worker.slot import BUSY, ENDING, Slot

from .fakeserver import FakeServer


class CallTest(unittest.TestCase):
    def setUp(self):
        self.server = FakeServer(ttl=30.0)
        self.addCleanup(self.server.close)
        transport = Transport(self.server.url, "", timeout=10.0)
        self.addCleanup(transport.close)
        self.session = transport.call("POST", "/workers/announce", {"worker": "w", "tasks": [{"name": "t"}]})["session"]
        self.call = WaitingCall(transport, "/workers/lease")
        self.body = {"session": self.session, "queues": ["default"], "max": 1, "wait": 0, "holds": []}

    def test_ended_before_it_is_made(self):
        ended = threading.Event()
        ended.set()
        with self.assertRaises(ConnectionLost):
            self.call.send(self.body, 0, ended)
        self.assertNotIn(self.session, self.server.lease_calls)
        self.assertEqual(self.call.send(self.body, 0), {"leases": []})  # this one is made in any case

    def test_interrupted(self):
        ended, result = threading.Event(), []

        def send():
            try:
                result.append(self.call.send({**self.body, "wait": 60}, 60, ended))
            except ConnectionLost as err:
                result.append(err)

        thread = threading.Thread(target=send)
        thread.start()
        ended.set()
        self.call.interrupt()  # whether it waits already or not
        thread.join(60)
        self.assertEqual([type(r) for r in result], [ConnectionLost])


class SlotTest(unittest.TestCase):
    def test_killed_before_its_pid_is_known(self):
        slot = Slot(0)
        for fd in slot.open(0.0):
            os.close(fd)
        self.addCleanup(slot.close)
        slot.state = BUSY
        slot.kill(1.0)
        self.assertEqual((slot.state, slot.killed_at), (ENDING, 1.0))


if __name__ == "__main__":
    unittest.main()
