import type { ReplyInfo, WholeReply } from '../reply.ts'
import { renderTaskUsage } from '../task-usage.ts'

/** Puts scores into a list, the best first, and the texts beside them where they were asked for. */
export function rerankReply(info: ReplyInfo): WholeReply {
  const task = info.task?.type === 'rank' ? info.task : undefined
  const scores: { readonly index: number; readonly score: number }[] = []
  return {
    event(event) {
      if (event.type === 'score') scores.push({ index: event.index, score: event.score })
    },
    finish({ usage, routing }) {
      const results = scores
        .sort((a, b) => b.score - a.score || a.index - b.index)
        .slice(0, task?.resultsMax)
        .map(({ index, score }) => ({
          index,
          relevance_score: score,
          ...(task?.returnDocuments ? { document: { text: task.documents[index] ?? '' } } : {}),
        }))
      const { model = null, provider = null } = info.served ?? {}
      return (
        `{"id":${JSON.stringify(info.id)},"model":${JSON.stringify(model)},"provider":${JSON.stringify(provider)},` +
        `"results":${JSON.stringify(results)},"usage":${renderTaskUsage(usage)},"routing":${JSON.stringify(routing)}}`
      )
    },
  }
}
