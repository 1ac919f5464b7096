/** The most router processes of one machine. One PostgreSQL beside them is the bound long before. */
export const WORKERS_MAX = 16

/** Connections that a router process shares among its requests. */
export const POOL_SIZE = 10
/** What a router process opens, and keeps: the pool, one for holds, one for settlements, one that hears of changes. */
export const CONNECTIONS_OF_ROUTER = POOL_SIZE + 3

/** Connections of the process that starts workers and serves no requests itself. */
export const PRIMARY_POOL_SIZE = 3
/** Its pool, and the one that says which key signs. */
export const CONNECTIONS_OF_PRIMARY = PRIMARY_POOL_SIZE + 1

/** For operators' commands, what PostgreSQL keeps for itself, and sessions of a worker that died a moment ago. */
const CONNECTIONS_SPARE = 28

/** What the embedded PostgreSQL allows, so that any number of workers finds room on one that is adopted. */
export const EMBEDDED_CONNECTIONS_MAX =
  WORKERS_MAX * CONNECTIONS_OF_ROUTER + CONNECTIONS_OF_PRIMARY + CONNECTIONS_SPARE

/** How long PostgreSQL may take over one statement of the pool. */
export const STATEMENT_TIMEOUT_MS = 10_000
