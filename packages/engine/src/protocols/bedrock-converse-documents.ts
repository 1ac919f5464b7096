/** Gives each document of one request a name that Converse takes: no two are the same. */
export interface DocumentNames {
  next(filename: string | undefined): string
}

const FOREIGN = /[^a-zA-Z0-9\s()[\]-]+/g
const WHITE_SPACE = /\s+/g
const EXTENSION = /\.[a-zA-Z0-9]{1,5}$/
const NAME_CHARACTERS_MAX = 160

/**
 * Letters, digits, single spaces, hyphens, brackets: whatever else a file is called becomes a space, and its extension
 * goes, for the format says it. What has no name is numbered.
 * https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_DocumentBlock.html
 */
export function documentNames(): DocumentNames {
  const used = new Set<string>()
  let documents = 0
  return {
    next(filename) {
      documents += 1
      const plain = plainName(filename ?? '') || `Document ${documents}`
      const name = used.has(plain) ? `${plain} (${documents})` : plain
      used.add(name)
      return name
    },
  }
}

function plainName(filename: string): string {
  const bare = filename.replace(EXTENSION, '').replace(FOREIGN, ' ').replace(WHITE_SPACE, ' ').trim()
  return bare.slice(0, NAME_CHARACTERS_MAX).trim()
}
