/**
 * Reviews the catalogue: `npm run catalog:check`, with an operator's settings file to review what that lays over it.
 * What cannot be loaded is told as the router would tell it at its start; then come units, orders of magnitude, limits
 * that contradict each other, and facts without a source or a date. Exit code 1 where there is anything to mend.
 */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import sources from '../packages/catalog/data/sources.json' with { type: 'json' }
import { type Finding, lintCatalog, sourcesFile } from '../packages/catalog/src/catalog-lint.ts'
import { buildCatalog, type CatalogFiles, catalogFiles } from '../packages/catalog/src/load.ts'
import { catalogOverlay, overlaid } from '../packages/catalog/src/overlay.ts'

const HELP = `Usage: npm run catalog:check -- [FILE] [--help]

Reviews packages/catalog/data: units and orders of magnitude of prices and limits, tiers, hours, dates, sources.
Each row with something to mend is named, with what to do. Exit code 1 where there is one.

  FILE   a settings file, as MESH_SETTINGS names it: what its "catalog" lays over the data is reviewed too
`

/** The data, with what a settings file lays over it. @throws Error that says what is wrong with the file. */
function filesWith(settings: string | undefined): CatalogFiles {
  if (settings === undefined) return catalogFiles
  // npm runs scripts in the project's folder; a path is meant where it was typed.
  const path = resolve(process.env.INIT_CWD ?? '.', settings)
  const read: unknown = JSON.parse(readFileSync(path, 'utf8'))
  const overlay = catalogOverlay.safeParse(Reflect.get(Object(read), 'catalog') ?? {})
  if (overlay.success) return overlaid(catalogFiles, overlay.data)
  const faults = overlay.error.issues.map(
    ({ path, message }) => `- ${['catalog', ...path].join('.')}: ${message}`,
  )
  throw new Error(`${settings} cannot be read:\n${faults.join('\n')}`)
}

function sentence({ row, problem, remedy }: Finding): string {
  return `- ${row}: ${problem}. ${remedy}`
}

function main(): number {
  const { values, positionals } = parseArgs({
    options: { help: { type: 'boolean', short: 'h' } },
    allowPositionals: true,
  })
  if (values.help) {
    process.stdout.write(HELP)
    return 0
  }
  const files = filesWith(positionals[0])
  const { models, providers } = buildCatalog(files)
  const findings = lintCatalog(files, sourcesFile.parse(sources), new Date().toISOString().slice(0, 10))
  const endpoints = models.flatMap((model) => model.endpoints).length
  console.log(
    `${models.length} models, ${endpoints} endpoints, ${providers.length} providers: ${findings.length} to mend`,
  )
  for (const finding of findings) console.log(sentence(finding))
  return findings.length === 0 ? 0 : 1
}

try {
  process.exitCode = main()
} catch (error) {
  console.error(error instanceof Error ? error.message : 'The catalogue cannot be read.')
  process.exitCode = 1
}
