// Keeps the compiled form of every module between starts: without it each start strips the types of all of MESH and
// compiles it anew. The cache is in this project and nowhere that others could write to, for what stands in it is run;
// where this project cannot be written to there is none. https://nodejs.org/api/module.html#module-compile-cache
import { enableCompileCache } from 'node:module'
import { join } from 'node:path'

enableCompileCache(join(import.meta.dirname, '../node_modules/.cache/mesh'))
