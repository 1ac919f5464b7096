import type { Candidate } from '@mesh/engine/plan.ts'
import { type PrivacyReport, privacyHeader } from './privacy.ts'

/** What an answer's headers say of who gave it. `served` is absent where that is not known yet, or nobody did. */
export function servedHeaders(served: Candidate | undefined, privacy: PrivacyReport): Record<string, string> {
  return {
    ...(served ? { 'x-mesh-model': served.endpoint.model, 'x-mesh-provider': served.endpoint.provider } : {}),
    'x-mesh-privacy': privacyHeader(privacy),
  }
}
