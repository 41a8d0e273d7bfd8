// A producer or a worker of BullMQ's queue noops. Usage, with the address of Redis in REDIS:
//
//   node queue.js enqueue N        enqueues N jobs as fast as it can
//   node queue.js schedule         enqueues a job for each line of stdin, its scheduled time
//   node queue.js work N           runs N jobs, then prints the times of the run as JSON
//
// Times are Unix times in microseconds.
import { Queue, Worker } from 'bullmq'
import { createInterface } from 'node:readline'

const [what, n] = process.argv.slice(2)
const [host, port] = process.env.REDIS.split(':')
const connection = { host, port: Number(port), maxRetriesPerRequest: null }
const concurrency = Number(process.env.CONCURRENCY)
const now = () => Math.round((performance.timeOrigin + performance.now()) * 1000)

if (what === 'work') {
  const run = { First: 0, Last: 0, Latencies: [] }
  const worker = new Worker('noops', async (job) => {
    const at = now()
    run.First ||= at
    run.Latencies.push(at - job.data.at)
    run.Last = at
    if (run.Latencies.length === Number(n)) process.stdout.write(JSON.stringify(run) + '\n')
  }, { connection, concurrency })
  worker.on('error', (e) => { console.error(e); process.exit(1) })
  await worker.waitUntilReady()
  console.log('ready')
} else {
  const queue = new Queue('noops', { connection })
  await queue.waitUntilReady()
  console.log('ready')
  if (what === 'enqueue') {
    let left = Number(n)
    await Promise.all(Array.from({ length: concurrency }, async () => {
      while (left-- > 0) await queue.add('noop', { at: now() })
    }))
  } else {
    const added = []
    for await (const line of createInterface({ input: process.stdin })) added.push(queue.add('noop', { at: Number(line) }))
    await Promise.all(added)
  }
  await queue.close()
}
