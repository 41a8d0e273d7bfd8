// Uploads with undici's FormData: node undici.mjs URL FILE...
import { openAsBlob } from 'node:fs'
import { basename } from 'node:path'
import { fetch, FormData, File } from 'undici'

const [base, ...files] = process.argv.slice(2)
const form = new FormData()
form.set('comment', 'a field is no file')
for (const path of files) {
  form.append('undici/ünï', new File([await openAsBlob(path)], basename(path)))
}
const answer = await fetch(`${base}/upload`, { method: 'POST', body: form })
console.log(JSON.stringify(await answer.json()))
