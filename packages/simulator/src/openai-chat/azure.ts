import type { Problem } from './refusal.ts'

/*
 * What Azure adds to OpenAI's chat: the findings of its content filter in every answer, and the errors of the gateway
 * in front of the models, which have a code and a message and nothing else.
 * https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter
 */

const CATEGORIES = ['hate', 'self_harm', 'sexual', 'violence'] as const

/** The filter's findings in a harmless text, or in one that is bad in one category. */
function findings(found?: (typeof CATEGORIES)[number]) {
  const severity = (category: string) => ({
    filtered: category === found,
    severity: category === found ? 'high' : 'safe',
  })
  return Object.fromEntries(CATEGORIES.map((category) => [category, severity(category)]))
}

/** Of the prompt: in an answer in one piece, and in the first chunk of a stream, which has no choices. */
export const promptFilterResults = [
  {
    prompt_index: 0,
    content_filter_results: { ...findings(), jailbreak: { filtered: false, detected: false } },
  },
]

/** Of a choice with content. */
export const choiceFilterResults = findings()

/** What stands at the top of the chunk with the findings in the prompt: nothing is known of the answer yet. */
export const promptFilterChunk = {
  choices: [],
  created: 0,
  id: '',
  model: '',
  object: '',
  prompt_filter_results: promptFilterResults,
}

export const filteredPrompt: Problem = {
  status: 400,
  message:
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry. To learn more about our content filtering policies please read our documentation: https://go.microsoft.com/fwlink/?linkid=2198766",
  type: null,
  param: 'prompt',
  code: 'content_filter',
  beside: {
    status: 400,
    innererror: {
      code: 'ResponsibleAIPolicyViolation',
      content_filter_result: { ...findings('violence'), jailbreak: { filtered: false, detected: false } },
    },
  },
}

/** An error of the gateway's own. */
function gatewayProblem(status: number, code: string, message: string): Problem {
  return { status, message, type: null, param: null, code }
}

export const deploymentNotFound = gatewayProblem(
  404,
  'DeploymentNotFound',
  'The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again.',
)

export const accessDenied = gatewayProblem(
  401,
  '401',
  'Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource.',
)

export const azureRefusals = {
  no_such_route: gatewayProblem(404, '404', 'Resource not found'),
  rate_limit: gatewayProblem(
    429,
    '429',
    'Requests to the ChatCompletions_Create Operation under Azure OpenAI API have exceeded call rate limit of your current OpenAI S0 pricing tier. Please retry after 1 second.',
  ),
  overloaded: gatewayProblem(
    503,
    'ServiceUnavailable',
    'The service is temporarily unable to process your request. Please try again later.',
  ),
} as const

/** Whether an error is worded by the gateway rather than by the model behind it. */
export function isGatewayProblem({ type, beside }: Problem): boolean {
  return type === null && beside === undefined
}
