import { z } from 'zod'
import type { Caller } from '../../accounts/caller.ts'
import { MeshError } from '../../errors.ts'
import { isRecordId } from '../../ids.ts'
import { eventView, findEvent, listEvents, type Reader } from '../../records/events.ts'
import { ledgerCsv, ledgerRowView, listLedgerRows } from '../../records/ledger-rows.ts'
import { MONITORING_WINDOWS, type MonitoringWindow, monitoringSummary } from '../../records/monitoring.ts'
import { findReceipt, listReceipts, signedReceipt } from '../../records/receipts.ts'
import type { SigningKey } from '../../records/signing-key.ts'
import { summarizeUsage, USAGE_GROUPS, type UsageGroup } from '../../records/usage.ts'
import type { Database } from '../../storage/database.ts'
import type { Access } from '../authentication.ts'
import { pageQuery, readCursor, toPage } from '../pagination.ts'
import type { Server } from '../server.ts'

export interface RecordRoutesOptions {
  readonly database: Database
  readonly signingKey: SigningKey
  readonly access: Access
  readonly now: () => number
}

const idParams = z.strictObject({ id: z.string().max(64) })
const DAY_MS = 86_400_000
const USAGE_SPAN_DAYS_DEFAULT = 30
const USAGE_SPAN_DAYS_MAX = 400

const instant = z.iso
  .datetime({ offset: true })
  .or(z.iso.date())
  .transform((text) => new Date(text))

const usageQuery = z.strictObject({
  groupBy: z
    .string()
    .max(100)
    .transform((text) => text.split(',').map((part) => part.trim()))
    .pipe(z.array(z.enum(Object.keys(USAGE_GROUPS) as [UsageGroup, ...UsageGroup[]])).max(5))
    .default([]),
  from: instant.optional(),
  to: instant.optional(),
})

const WINDOWS = Object.keys(MONITORING_WINDOWS) as [MonitoringWindow, ...MonitoringWindow[]]
const monitoringQuery = z.strictObject({ window: z.enum(WINDOWS).default('1h') })

/** What calls left behind: events, ledger rows, receipts, and sums of them. All want the scope `usage`. */
export function registerRecordRoutes(server: Server, options: RecordRoutesOptions): void {
  const { database, signingKey, access } = options
  const onRequest = access.authenticated

  server.get('/v1/logs', { onRequest, schema: { querystring: pageQuery } }, async (request) => {
    const reader = readerOf(await access.requireKey(request, 'usage'))
    const { limit, cursor } = request.query
    const rows = await listEvents(database, reader, pageOf(limit, readCursor(cursor, 'req')))
    return toPage(rows, limit, ({ id }) => id, eventView)
  })

  server.get('/v1/logs/:id', { onRequest, schema: { params: idParams } }, async (request) => {
    const reader = readerOf(await access.requireKey(request, 'usage'))
    const { id } = request.params
    const event = isRecordId('req', id) ? await findEvent(database, reader, id) : undefined
    if (!event) throw notFound('request event')
    return eventView(event)
  })

  server.get('/v1/ledger', { onRequest, schema: { querystring: pageQuery } }, async (request, reply) => {
    const reader = readerOf(await access.requireKey(request, 'usage'))
    const { limit, cursor } = request.query
    const rows = await listLedgerRows(database, reader, pageOf(limit, readCursor(cursor, 'led')))
    if (!/\btext\/csv\b/.test(request.headers.accept ?? ''))
      return toPage(rows, limit, ({ id }) => id, ledgerRowView)
    const { next_cursor } = toPage(rows, limit, ({ id }) => id, ledgerRowView)
    if (next_cursor !== null) void reply.header('x-mesh-next-cursor', next_cursor)
    void reply
      .type('text/csv; charset=utf-8')
      .header('content-disposition', 'attachment; filename="ledger.csv"')
    return ledgerCsv(rows.slice(0, limit))
  })

  server.get('/v1/receipts', { onRequest, schema: { querystring: pageQuery } }, async (request) => {
    const reader = readerOf(await access.requireKey(request, 'usage'))
    const { limit, cursor } = request.query
    const rows = await listReceipts(database, reader, pageOf(limit, readCursor(cursor, 'rcpt')))
    const { data, next_cursor } = toPage(
      rows,
      limit,
      ({ id }) => id,
      (row) => row,
    )
    return {
      data: await Promise.all(data.map((row) => signedReceipt(database, row, signingKey))),
      next_cursor,
    }
  })

  server.get(
    '/v1/receipts/:id',
    {
      onRequest,
      schema: {
        params: idParams,
        querystring: z.strictObject({ format: z.enum(['json', 'jws']).default('json') }),
      },
    },
    async (request, reply) => {
      const reader = readerOf(await access.requireKey(request, 'usage'))
      const { id } = request.params
      const row = isRecordId('rcpt', id) ? await findReceipt(database, reader, id) : undefined
      if (!row) throw notFound('receipt')
      const receipt = await signedReceipt(database, row, signingKey)
      if (request.query.format === 'json') return receipt
      void reply.type('application/jose')
      return receipt.jws
    },
  )

  server.get('/v1/usage', { onRequest, schema: { querystring: usageQuery } }, async (request) => {
    const reader = readerOf(await access.requireKey(request, 'usage'))
    const { groupBy, from, to } = request.query
    const until = to ?? new Date(options.now())
    const since = from ?? new Date(until.getTime() - USAGE_SPAN_DAYS_DEFAULT * DAY_MS)
    if (since >= until || until.getTime() - since.getTime() > USAGE_SPAN_DAYS_MAX * DAY_MS) {
      throw new MeshError(
        'invalid_request',
        `from must be before to, and at most ${USAGE_SPAN_DAYS_MAX} days earlier.`,
        {
          param: 'from',
        },
      )
    }
    const data = await summarizeUsage(database, reader, { from: since, to: until }, groupBy)
    return { from: since.toISOString(), to: until.toISOString(), groupBy, data }
  })

  server.get(
    '/v1/monitoring/summary',
    { onRequest, schema: { querystring: monitoringQuery } },
    async (request) => {
      const reader = readerOf(await access.requireKey(request, 'usage'))
      return monitoringSummary(database, reader, request.query.window, options.now())
    },
  )
}

function readerOf(caller: Caller): Reader {
  return { accountId: caller.account.id, livemode: caller.livemode }
}

/** One row more than the page holds says whether there is another page. */
function pageOf(limit: number, before: string | undefined): { limit: number; before?: string } {
  return { limit: limit + 1, ...(before === undefined ? {} : { before }) }
}

function notFound(what: string): MeshError {
  return new MeshError(
    'not_found',
    `This key sees no ${what} with this id. Test keys see test rows, live keys live ones.`,
  )
}
