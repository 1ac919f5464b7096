import manifest from '../package.json' with { type: 'json' }

/** The version of MESH. */
export const VERSION = manifest.version
