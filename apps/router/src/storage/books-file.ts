import { createHash, type Hash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { constants, createZstdCompress, createZstdDecompress } from 'node:zlib'
import { z } from 'zod'
import { StartupError } from './startup-error.ts'

/**
 * A file of books: one line that says what it is, one line of JSON (the header), and a Zstandard frame. In that are
 * records of a type (one byte), a length (four bytes, big-endian) and so many bytes: `T` names a table, the `R` that
 * follow are its rows as PostgreSQL's COPY writes text, `Z` ends the file with the number of rows of each table and
 * the SHA-256 of everything before it, uncompressed, from the first line on.
 */
const FIRST_LINE = /^MESH books (\d+)\n$/
const FORMAT = 1
const HEAD_BYTES_MAX = 1_048_576
const RECORD_HEAD_BYTES = 5
const RECORD_BYTES_MAX = 1_048_576
const ZLIB_CHUNK_BYTES = 262_144
const LINE_FEED = 0x0a
const TABLE = 'T'
const ROWS = 'R'
const TRAILER = 'Z'

const headerSchema = z.strictObject({
  /** The version of MESH that wrote it. */
  mesh: z.string(),
  /** When the books were as they are here, by their database's clock. */
  takenAt: z.iso.datetime(),
  /** The oldest event of the audit, by which a journal of revocations says that it is of these books. */
  books: z.string().nullable(),
  /** Whether the database was put out of use before: nothing can have happened there since. */
  final: z.boolean(),
  /** The schema, as the steps that made it. */
  migrations: z.array(z.strictObject({ number: z.int(), name: z.string(), sha256: z.string() })).min(1),
  tables: z.array(z.strictObject({ name: z.string(), columns: z.array(z.string()).min(1) })),
  /** Months that have a partition of their own, as in `2026-11`. */
  months: z.array(z.string().regex(/^\d{4}-(0[1-9]|1[0-2])$/)),
  /** Keys that derive the marks of idempotency keys: with another one a repeat is not recognised. */
  signingKeyIds: z.array(z.string()),
})
export type BooksHeader = z.infer<typeof headerSchema>

const trailerSchema = z.strictObject({ rows: z.record(z.string(), z.int()), sha256: z.string() })

/** The rows of one table, as COPY reads and writes them; the pieces end anywhere. */
export interface TableRows {
  readonly table: string
  readonly rows: AsyncIterable<Buffer>
}

/** What was found in a file, or put into one. */
export interface BooksContents {
  readonly rowsByTable: ReadonlyMap<string, number>
  /** In hexadecimal. */
  readonly sha256: string
}

/** A file of books whose header was read. */
export interface BooksFile {
  readonly header: BooksHeader
  /**
   * Its tables, in order; the rows of one are read to their end before the next is asked for. Returns when the whole
   * file was read and is what it was when it was written. Throws `StartupError` where it is not.
   */
  tables(): AsyncGenerator<TableRows, BooksContents>
}

/** Counts what passes: bytes for the digest, rows for the trailer. */
class Tally {
  readonly #hash: Hash = createHash('sha256')
  readonly rowsByTable = new Map<string, number>()

  bytes(bytes: Uint8Array): void {
    this.#hash.update(bytes)
  }

  /** COPY ends each row with a line feed and has none within. */
  rows(table: string, bytes: Buffer): void {
    let count = this.rowsByTable.get(table) ?? 0
    for (let at = bytes.indexOf(LINE_FEED); at >= 0; at = bytes.indexOf(LINE_FEED, at + 1)) count++
    this.rowsByTable.set(table, count)
  }

  contents(): BooksContents {
    return { rowsByTable: this.rowsByTable, sha256: this.#hash.digest('hex') }
  }
}

/** Writes books behind whatever `file` holds, which must be empty. Rejects with the system's errors and those of `tables`. */
export async function writeBooks(
  file: FileHandle,
  header: BooksHeader,
  tables: AsyncIterable<TableRows>,
  { signal, onRows }: { readonly signal: AbortSignal; onRows(table: string, count: number): void },
): Promise<BooksContents> {
  const tally = new Tally()
  const head = Buffer.from(`MESH books ${FORMAT}\n${JSON.stringify(headerSchema.parse(header))}\n`)
  tally.bytes(head)
  await file.appendFile(head)
  let contents: BooksContents | undefined
  const body = async function* (): AsyncGenerator<Buffer> {
    const record = (type: string, content: Buffer): Buffer => {
      const bytes = recordOf(type, content)
      tally.bytes(bytes)
      return bytes
    }
    for await (const { table, rows } of tables) {
      tally.rowsByTable.set(table, 0)
      yield record(TABLE, Buffer.from(table))
      for await (const piece of rows) {
        for (let at = 0; at < piece.length; at += RECORD_BYTES_MAX) {
          yield record(ROWS, piece.subarray(at, at + RECORD_BYTES_MAX))
        }
        tally.rows(table, piece)
        onRows(table, tally.rowsByTable.get(table) ?? 0)
      }
    }
    contents = tally.contents()
    const { rowsByTable, sha256 } = contents
    yield recordOf(TRAILER, Buffer.from(JSON.stringify({ rows: Object.fromEntries(rowsByTable), sha256 })))
  }
  const compress = createZstdCompress({
    chunkSize: ZLIB_CHUNK_BYTES,
    params: { [constants.ZSTD_c_checksumFlag]: 1 },
  })
  const write = async (chunks: AsyncIterable<Buffer>): Promise<void> => {
    for await (const chunk of chunks) await file.appendFile(chunk)
  }
  await pipeline(Readable.from(body(), { objectMode: true, highWaterMark: 1 }), compress, write, { signal })
  if (contents === undefined) throw new Error('books were written without their trailer')
  return contents
}

/** Reads the header of a file of books. Throws `StartupError` for anything else, and for one of a newer MESH. */
export async function openBooks(path: string): Promise<BooksFile> {
  const { text, length, size } = await readHead(path)
  const [firstLine = '', json = ''] = text.split(/(?<=\n)/)
  const format = FIRST_LINE.exec(firstLine)?.[1]
  if (format === undefined) throw new StartupError(`${path} is no export of MESH.`)
  if (Number(format) > FORMAT) {
    throw new StartupError(`${path} was written by a newer MESH, in a form that this one cannot read.`)
  }
  const header = headerSchema.safeParse(parseJson(json))
  if (!header.success) throw damaged(path)
  return {
    header: header.data,
    tables: () => readTables(path, Buffer.from(text), { start: length, size, tables: header.data.tables }),
  }
}

/** Reads a file to its end and says what it holds. Throws `StartupError` where it is not what was written. */
export async function checkBooks(path: string): Promise<BooksContents & { readonly header: BooksHeader }> {
  const { header, tables } = await openBooks(path)
  const reading = tables()
  for (;;) {
    const next = await reading.next()
    if (next.done) return { ...next.value, header }
    for await (const _ of next.value.rows);
  }
}

async function readHead(path: string): Promise<{ text: string; length: number; size: number }> {
  let file: FileHandle
  try {
    file = await open(path, 'r')
  } catch (error) {
    throw new StartupError(`The file ${path} cannot be read.`, error)
  }
  try {
    const { size } = await file.stat()
    const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.min(size, HEAD_BYTES_MAX)))
    const secondLine = buffer.indexOf(LINE_FEED, buffer.indexOf(LINE_FEED) + 1)
    const length = secondLine < 0 ? bytesRead : secondLine + 1
    return { text: buffer.toString('utf8', 0, length), length, size }
  } catch (error) {
    throw new StartupError(`The file ${path} cannot be read.`, error)
  } finally {
    await file.close()
  }
}

/** Where the compressed part of a file begins, and where the file ends. */
interface FileBody {
  readonly start: number
  readonly size: number
}

async function* readTables(
  path: string,
  head: Buffer,
  { start, size, tables }: FileBody & Pick<BooksHeader, 'tables'>,
): AsyncGenerator<TableRows, BooksContents> {
  const tally = new Tally()
  tally.bytes(head)
  const records = readRecords(path, { start, size })
  let next = await records.next()
  const rowsOf = async function* (table: string): AsyncGenerator<Buffer> {
    for (; !next.done && next.value.type === ROWS; next = await records.next()) {
      tally.bytes(next.value.bytes)
      tally.rows(table, next.value.content)
      yield next.value.content
    }
  }
  try {
    for (; !next.done && next.value.type === TABLE; ) {
      const table = next.value.content.toString()
      tally.bytes(next.value.bytes)
      tally.rowsByTable.set(table, 0)
      next = await records.next()
      yield { table, rows: rowsOf(table) }
    }
    const trailer = next.done ? undefined : trailerOf(next.value)
    const contents = tally.contents()
    const { rowsByTable, sha256 } = contents
    const asWritten =
      trailer?.sha256 === sha256 &&
      [...rowsByTable.keys()].join() === tables.map(({ name }) => name).join() &&
      JSON.stringify(trailer.rows) === JSON.stringify(Object.fromEntries(rowsByTable))
    if (!asWritten || !(await records.next()).done) throw damaged(path)
    return contents
  } finally {
    await records.return(undefined)
  }
}

interface FileRecord {
  readonly type: string
  readonly content: Buffer
  /** The record with its head. */
  readonly bytes: Buffer
}

function trailerOf({ type, content }: FileRecord): z.infer<typeof trailerSchema> | undefined {
  return type === TRAILER ? trailerSchema.safeParse(parseJson(content.toString())).data : undefined
}

async function* readRecords(path: string, { start, size }: FileBody): AsyncGenerator<FileRecord, undefined> {
  const source = createReadStream(path, { start, highWaterMark: ZLIB_CHUNK_BYTES })
  const plain = createZstdDecompress({ chunkSize: ZLIB_CHUNK_BYTES })
  source.on('error', (error) => plain.destroy(error))
  source.pipe(plain)
  try {
    let rest: Buffer = Buffer.alloc(0)
    for await (const chunk of plain) {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      let at = 0
      for (let length = lengthAt(rest, at); length !== undefined; length = lengthAt(rest, at)) {
        if (length > RECORD_BYTES_MAX) throw damaged(path)
        const end = at + RECORD_HEAD_BYTES + length
        if (end > rest.length) break
        const bytes = rest.subarray(at, end)
        yield { type: bytes.toString('latin1', 0, 1), content: bytes.subarray(RECORD_HEAD_BYTES), bytes }
        at = end
      }
      rest = rest.subarray(at)
    }
    // What stands behind the frame is passed over by the decompressor, and was not written by us.
    if (rest.length > 0 || plain.bytesWritten !== size - start) throw damaged(path)
    return undefined
  } catch (error) {
    throw error instanceof StartupError ? error : damaged(path, error)
  } finally {
    source.destroy()
    plain.destroy()
  }
}

function lengthAt(bytes: Buffer, at: number): number | undefined {
  return bytes.length - at < RECORD_HEAD_BYTES ? undefined : bytes.readUInt32BE(at + 1)
}

function recordOf(type: string, content: Buffer): Buffer {
  const head = Buffer.alloc(RECORD_HEAD_BYTES)
  head.write(type, 'latin1')
  head.writeUInt32BE(content.length, 1)
  return Buffer.concat([head, content])
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function damaged(path: string, cause?: unknown): StartupError {
  return new StartupError(`${path} is damaged or was cut short: take another copy of it.`, cause)
}
