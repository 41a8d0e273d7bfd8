// Uploads a file with tus-js-client: node tus.mjs URL FILE DIRECTORY PARALLEL BYTES_PER_SECOND [ENDPOINT] [CHUNK]
//
// The stream is slowed down, so that there is time to break something under it.
// Each progress is a line on stdout; the last line is the result.
import { createReadStream, statSync } from 'node:fs'
import { basename } from 'node:path'
import { Transform } from 'node:stream'
import { Upload, DefaultHttpStack } from 'tus-js-client'

const [base, path, directory, parallel, rate, endpoint = `${base}/tus/`, chunk] = process.argv.slice(2)
const began = Date.now()
let allowed = 0

// A body at the rate that was asked for, over all connections together.
class SlowStack extends DefaultHttpStack {
  createRequest(method, url) {
    const request = super.createRequest(method, url)
    const send = request.send.bind(request)
    request.send = (body) => {
      if (!body || typeof body.pipe !== 'function') return send(body)
      const slow = new Transform({
        transform(chunk, _, done) {
          allowed += chunk.length
          const wait = (allowed / Number(rate)) * 1000 - (Date.now() - began)
          setTimeout(() => done(null, chunk), Math.max(0, wait))
        },
      })
      slow.size = body.size // Content-Length is computed from it
      body.on('error', (err) => slow.destroy(err))
      return send(body.pipe(slow))
    }
    return request
  }
}

let retries = 0
const options = {
  endpoint,
  ...(chunk ? { chunkSize: Number(chunk) } : {}),
  retryDelays: Array(60).fill(200),
  httpStack: new SlowStack(),
  metadata: { filename: basename(path), directory, filetype: 'application/octet-stream' },
  onShouldRetry: () => { retries++; return true },
  ...(Number(parallel) > 1 ? { parallelUploads: Number(parallel) } : { uploadSize: statSync(path).size }),
  onProgress: (sent, total) => console.log(`progress ${sent} ${total}`),
  onError: (err) => { console.log(`failed ${err}`); process.exit(1) },
  onSuccess: () => { console.log(`done ${upload.url} ${retries}`); process.exit(0) },
}
const upload = new Upload(createReadStream(path), options)
upload.start()
