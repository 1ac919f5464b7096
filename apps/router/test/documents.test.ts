import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { ROOT } from './support/doc-snippets.ts'
import { createRawClient, errorCodeOf, type RawClient } from './support/raw-http.ts'
import { startTestRouter, type TestRouter } from './support/test-router.ts'

let mesh: TestRouter
let raw: RawClient

before(async () => {
  mesh = await startTestRouter()
  raw = createRawClient(mesh.url, 1)
})
after(async () => {
  raw?.close()
  await mesh?.stop()
})

test('every page of docs/ is served as the text that it is, and the index names all that are pages', async () => {
  const index = await mesh.request('GET', '/llms.txt')
  assert.match(index.headers.get('content-type') ?? '', /^text\/plain/)
  assert.equal((await mesh.request('GET', '/docs')).text, index.text)
  const pages = globSync(['docs/*.md', 'docs/decisions/*.md'], { cwd: ROOT })
  assert.ok(pages.length > 20)
  for (const page of pages) {
    const { status, text, headers } = await mesh.request('GET', `/${page}`)
    assert.equal(status, 200, page)
    assert.equal(headers.get('content-type'), 'text/markdown; charset=utf-8')
    assert.equal(text, readFileSync(join(ROOT, page), 'utf8'))
    if (!page.includes('decisions')) assert.ok(index.text.includes(`(/${page})`), page)
  }
  for (const [, path = ''] of index.text.matchAll(/\]\(([^)]+)\)/g)) {
    assert.ok(path.startsWith('/'), path)
    assert.equal((await mesh.request('GET', path)).status, 200, path)
  }
  // What is said of a page is a sentence of it: no row of a table, and nothing that was cut within code.
  for (const line of index.text.split('\n')) {
    assert.ok(!line.includes('|') && line.split('`').length % 2 === 1, line)
  }
})

test('every link between pages that are served leads to one that is', async () => {
  for (const page of globSync('docs/*.md', { cwd: ROOT })) {
    const prose = readFileSync(join(ROOT, page), 'utf8').replaceAll(/^```[\s\S]*?^```$/gm, '')
    const links = [...prose.matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)].map(([, link = '']) => link)
    for (const path of new Set(links.map((link) => new URL(link, `${mesh.url}/${page}`).pathname))) {
      assert.equal((await mesh.request('GET', path)).status, 200, `${page} leads to ${path}`)
    }
  }
})

test('a page is not sent again to whoever has it', async () => {
  const first = await mesh.request('GET', '/docs/quickstart.md')
  const etag = first.headers.get('etag') ?? ''
  assert.match(etag, /^"[\w-]{22}"$/)
  assert.equal(first.headers.get('cache-control'), 'public, max-age=300')
  for (const known of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
    const again = await mesh.request('GET', '/docs/quickstart.md', { headers: { 'if-none-match': known } })
    assert.deepEqual([again.status, again.text, again.headers.get('etag')], [304, '', etag], known)
  }
  const other = await mesh.request('GET', '/docs/quickstart.md', { headers: { 'if-none-match': '"other"' } })
  assert.equal(other.status, 200)
})

test('no path leads out of docs/', async () => {
  const ways = ['..', '%2e%2e', '.%2e', '..%2f..', '%2e%2e%2f', '..%5c', 'decisions/..', '/', '%2f', '.', '']
  const files = ['package.json', 'README.md', 'etc/passwd', 'docs/quickstart.md', 'quickstart.md%00', '%00']
  for (const way of ways) {
    for (const file of files) {
      const path = `/docs/${way}/${file}`
      const answer = await raw.send('GET', path, [])
      assert.ok(answer.status === 404 || answer.status === 400, `${path} is ${answer.status}`)
      assert.ok(errorCodeOf(answer), path)
    }
  }
})
