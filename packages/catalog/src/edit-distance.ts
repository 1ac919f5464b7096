/** Levenshtein's distance, one row at a time: work and memory are bounded by the two lengths. */
export function editDistance(from: string, to: string): number {
  let above = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let row = 1; row <= from.length; row++) {
    const current = [row]
    let left = row
    for (let column = 1; column <= to.length; column++) {
      const substituted = (above[column - 1] ?? 0) + (from[row - 1] === to[column - 1] ? 0 : 1)
      left = Math.min(substituted, (above[column] ?? 0) + 1, left + 1)
      current.push(left)
    }
    above = current
  }
  return above[to.length] ?? 0
}
