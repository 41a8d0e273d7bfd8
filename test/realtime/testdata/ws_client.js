// What npm's ws makes of the server. Usage: node ws_client.js ws://HOST:PORT
const WebSocket = require('/usr/share/nodejs/ws');
const assert = require('assert');
const url = process.argv[2];

// read opens path and resolves with its first n messages, sending on the way.
function read(path, n, send = [], protocols = []) {
  return new Promise((resolve, reject) => {
    const got = [];
    const c = new WebSocket(url + path, protocols);
    c.on('error', reject);
    c.on('open', () => send.forEach((text) => c.send(text)));
    c.on('close', (code, reason) => reject(new Error(`closed: ${code} ${reason}`)));
    c.on('message', (data) => {
      got.push(data.toString());
      if (got.length === n) {
        c.removeAllListeners('close');
        c.on('close', (code) => (code === 1000 ? resolve(got) : reject(new Error(`closed: ${code}`))));
        c.close(1000, 'done');
      }
    });
  });
}

(async () => {
  assert.deepStrictEqual(await read('/websocket', 3, ['a', 'b']), ['Welcome to the WebSocket server!', 'You said: a', 'You said: b']);
  assert.deepStrictEqual(await read('/heartbeat', 2, ['x']), ['Connected to Heartbeat WebSocket server!', 'You said: x']);
  assert.deepStrictEqual(await read('/broadcast', 2, ['y']), ['Connected to Broadcast WebSocket server!', 'Broadcast: y']);
  const many = await read('/backpressure?n=2000&ms=0', 2001);
  assert.strictEqual(many[2000], 'Message 1999');
  assert.strictEqual((await read('/asyncio?n=5&ms=1', 6)).length, 6);
  assert.strictEqual(JSON.parse((await read('/channels/js', 1))[0]).event, 'subscribed');
  // The client fails a connection if it has offered subprotocols and the server selects none.
  for (const path of ['/websocket', '/channels/js', '/upload']) {
    for (const protocol of ['bearer.s3cret', 'bearer64.YS9iKz0']) {
      const c = new WebSocket(url + path, ['chat.v1', protocol]);
      await new Promise((resolve, reject) => { c.on('open', resolve); c.on('error', reject); });
      assert.strictEqual(c.protocol, protocol);
      c.close();
    }
  }
  console.log('ok');
})().catch((e) => { console.error(e); process.exit(1); });
