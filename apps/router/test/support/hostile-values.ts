import { CANARY, type HostileCase, head, type Target, withBody } from './hostile-cases.ts'

/** Values of single fields, and of what is in a request's first line. */

/** Numbers that no field takes: beyond what JSON can carry exactly, or beyond all bounds. */
const NUMBERS = [
  '1e400',
  '-1e400',
  '9007199254740993',
  '1e21',
  '-9007199254740993',
  '"1e400"',
  '[1]',
] as const

/** Every field of a call that is a number, as a member of the body. */
const CALL_NUMBERS: readonly ((number: string) => string)[] = [
  ...[
    'max_tokens',
    'max_completion_tokens',
    'n',
    'temperature',
    'top_p',
    'top_k',
    'top_a',
    'min_p',
    'frequency_penalty',
    'presence_penalty',
    'repetition_penalty',
    'seed',
    'top_logprobs',
  ].map((name) => (number: string) => `"${name}":${number}`),
  (number) => `"reasoning":{"max_tokens":${number}}`,
  (number) => `"logit_bias":{"1":${number}}`,
  (number) => `"provider":{"max_price":{"prompt":${number}}}`,
]

/** Every limit that is a number. */
const LIMIT_NUMBERS = [
  'requestsPerMinute',
  'tokensPerMinute',
  'maxConcurrentRequests',
  'monthlyRequestLimit',
  'monthlyTokenLimit',
  'dailyUsdLimit',
  'monthlyUsdLimit',
  'totalUsdLimit',
  'maxUsdPerRequest',
].map((name) => (number: string) => `"limits":{"${name}":${number}}`)

/** Texts that break lines, terminals, encodings and eyes. */
const TEXTS: Readonly<Record<string, string>> = {
  NUL: `a\0${CANARY}`,
  'half a pair': `${CANARY}\ud800`,
  'the other half': `\udc00${CANARY}`,
  'a line break': `${CANARY}\r\nX-Injected: yes`,
  'a line separator': `${CANARY}\u2028{"level":50}`,
  'colours for a terminal': `\u001b[31m${CANARY}\u001b[0m`,
  'text that runs backwards': `\u202e${CANARY}`,
}

const member = (target: Target, text: string) =>
  withBody(target, `${JSON.stringify(target.good).slice(0, -1)},${text}}`)
const changed = (target: Target, more: object) =>
  withBody(target, JSON.stringify({ ...target.good, ...more }))

export function numberCases(target: Target): HostileCase[] {
  const fields = 'messages' in target.good ? CALL_NUMBERS : LIMIT_NUMBERS
  return fields.flatMap((field) =>
    NUMBERS.map((number) => ({
      name: field(number),
      parts: member(target, field(number)),
      answer: 'invalid_request',
    })),
  )
}

/** Every text of a call. What only goes to the provider goes there as it came; what has a form is refused. */
export function callTextCases(target: Target): HostileCase[] {
  return Object.entries(TEXTS).flatMap(([what, text]): HostileCase[] => {
    const tool = (definition: object) => ({ tools: [{ type: 'function', function: definition }] })
    const fields: readonly (readonly [name: string, more: object, answer: HostileCase['answer']])[] = [
      ['the prompt', { messages: [{ role: 'user', content: text }] }, 'ok'],
      [
        'a system prompt',
        {
          messages: [
            { role: 'system', content: [{ type: 'text', text }] },
            { role: 'user', content: 'x' },
          ],
        },
        'ok',
      ],
      ['a participant', { messages: [{ role: 'user', name: text, content: 'x' }] }, 'ok'],
      ['user', { user: text, safety_identifier: text }, 'ok'],
      ['a cache key', { prompt_cache_key: text, session_id: text }, 'ok'],
      ['metadata', { metadata: { [text]: text } }, 'ok'],
      ['an unknown parameter', { [text]: text }, 'ok'],
      ['stop', { stop: [text] }, 'ok'],
      [
        'a description',
        tool({
          name: 'x',
          description: text,
          parameters: { type: 'object', properties: { x: { description: text } } },
        }),
        'ok',
      ],
      ["a tool's name", tool({ name: text }), 'invalid_request'],
      ['a steering', { metadata: { mesh_simulate: text } }, 'invalid_request'],
      ['the model', { model: text }, 'model_not_found'],
      ['models', { models: [text] }, 'model_not_found'],
      ['a provider', { provider: { only: [text] } }, 'no_endpoint'],
      ['a choice', { reasoning_effort: text }, 'invalid_request'],
    ]
    return fields.map(([name, more, answer]) => ({
      name: `${what} in ${name}`,
      parts: changed(target, more),
      answer,
    }))
  })
}

/** Every text of a key, a project and an account. */
export function nameCases(target: Target): HostileCase[] {
  const targets = [target, { ...target, path: '/v1/projects' }]
  const texts = Object.entries(TEXTS).flatMap(([what, text]): HostileCase[] => [
    ...targets.map(
      (each): HostileCase => ({
        name: `${what} in a name at ${each.path}`,
        parts: withBody(each, JSON.stringify({ name: text })),
        answer: 'invalid_request',
      }),
    ),
    ...[
      { projectId: text },
      { scopes: [text] },
      { limits: { allowedModels: [text] } },
      { limits: { allowedProviders: [text] } },
      { limits: { expiresAt: text } },
      { limits: { minimumPrivacyClass: text } },
    ].map(
      (more): HostileCase => ({
        name: `${what} in ${JSON.stringify(Object.keys(more))}`,
        parts: changed(target, more),
        answer: 'invalid_request',
      }),
    ),
  ])
  const rename = head(
    target,
    ['Content-Type: application/json', 'Content-Length: 17'],
    'PATCH /v1/accounts/me HTTP/1.1',
  )
  return [
    ...texts,
    {
      name: 'NUL in the name of an account',
      parts: [rename, '{"name":"\\u0000a"}'.slice(0, 17)],
      answer: 'invalid_request',
    },
  ]
}

/** What stands for an image, a sound or a document, and is none. */
export function mediaCases(target: Target): HostileCase[] {
  const part = (content: object) => ({ messages: [{ role: 'user', content: [content] }] })
  const image = (url: string) => part({ type: 'image_url', image_url: { url } })
  const megabytes = 'A'.repeat(8_000_000)
  const cases: readonly (readonly [name: string, more: object, answer: HostileCase['answer']])[] = [
    ['eight megabytes of base64', image(`data:image/png;base64,${megabytes}`), 'ok'],
    [
      'base64 with one wrong character at its end',
      image(`data:image/png;base64,${megabytes}!AAA`),
      'invalid_request',
    ],
    ['base64 of a wrong length', image('data:image/png;base64,AAAAA'), 'invalid_request'],
    ['no base64 at all', image('data:image/png;base64,'), 'invalid_request'],
    ['padding without end', image(`data:image/png;base64,A${'='.repeat(100_003)}`), 'invalid_request'],
    [
      'a data URL within a data URL',
      image(`data:image/png;base64,data:image/png;base64,${CANARY}`),
      'invalid_request',
    ],
    [
      'parameters without end',
      image(`data:image/png;${'a=b;'.repeat(100_000)}base64,AAAA`),
      'invalid_request',
    ],
    ['an image that can hold a script', image('data:image/svg+xml;base64,AAAA'), 'invalid_request'],
    ['a page', image(`data:text/html,<script>${CANARY}</script>`), 'invalid_request'],
    ['a file of this machine', image(`file:///etc/${CANARY}`), 'invalid_request'],
    ['a script', image(`javascript:${CANARY}`), 'invalid_request'],
    ['a URL beyond all bounds', image(`https://example.com/${CANARY.repeat(1_000)}`), 'invalid_request'],
    [
      'a thousand images',
      {
        messages: [
          {
            role: 'user',
            content: Array(1_000).fill(image('data:image/png;base64,AAAA').messages[0]?.content[0]),
          },
        ],
      },
      'invalid_request',
    ],
    [
      'a sound that is none',
      part({ type: 'input_audio', input_audio: { data: CANARY.repeat(3), format: 'wav' } }),
      'invalid_request',
    ],
    [
      'a document that is none',
      part({ type: 'file', file: { file_data: `data:text/plain;base64,${CANARY}` } }),
      'invalid_request',
    ],
  ]
  const schemas = [
    { type: 'string', pattern: '^(A+)+!$' },
    { type: 'array', minItems: 1e12, items: { type: 'array', minItems: 1e12 } },
    { type: 'string', minLength: 1e12 },
  ]
  return [
    ...cases.map(([name, more, answer]) => ({ name, parts: changed(target, more), answer })),
    ...schemas.map(
      (schema): HostileCase => ({
        name: `a schema that asks for ${JSON.stringify(schema)}`,
        parts: changed(target, {
          response_format: { type: 'json_schema', json_schema: { name: 'x', schema } },
        }),
        answer: 'ok',
      }),
    ),
    ...['\x80', `${CANARY} b`, 'a'.repeat(256), ''].map(
      (text): HostileCase => ({
        name: `an idempotency key of ${JSON.stringify(text.slice(0, 12))}`,
        parts: withBody(target, JSON.stringify(target.good), [
          'Content-Type: application/json',
          `Idempotency-Key: ${text}`,
        ]),
        answer: 'invalid_request',
      }),
    ),
  ]
}

const PATHS: readonly (readonly [path: string, answer: HostileCase['answer']])[] = [
  [`/v1/logs/%00${CANARY}`, 'not_found'],
  ['/v1/logs/..%2f..%2f..%2fetc%2fpasswd', 'not_found'],
  ['/v1/api-keys/../accounts', 'not_found'],
  ['/v1/api-keys/%2e%2e/accounts', 'not_found'],
  ['/../../etc/passwd', 'not_found'],
  ['//example.com/', 'not_found'],
  ['/V1/KEY', 'not_found'],
  ['/v1/key;x=1', 'not_found'],
  [`/v1/models/${CANARY}`, 'model_not_found'],
  ['/v1/models/__proto__', 'model_not_found'],
  [`/v1/models/%F0%9F%92%A9${CANARY}`, 'model_not_found'],
  ['/v1/logs/%zz', 'invalid_request'],
  ['/v1/logs/%c0%af', 'invalid_request'],
  ['/v1/logs/%ed%a0%80', 'invalid_request'],
  ['/%', 'invalid_request'],
  [`/v1/logs/${'a'.repeat(300)}`, 'invalid_request'],
  [`/v1/logs?${'a=1&'.repeat(3_000)}`, 'invalid_request'],
  [`/v1/logs?${'a=1&'.repeat(100_000)}`, 'headers_too_large'],
  ['/v1/logs?__proto__=1', 'invalid_request'],
  ['/v1/logs?__proto__[a]=1', 'invalid_request'],
  ['/v1/logs?constructor[prototype][a]=1', 'invalid_request'],
  ['/v1/logs?limit=1&limit=2', 'invalid_request'],
  ['/v1/logs?limit[]=1', 'invalid_request'],
  ['/v1/logs?limit=%00', 'invalid_request'],
  ['/v1/logs?limit=1e2', 'invalid_request'],
  [`/v1/logs?cursor=${CANARY}`, 'invalid_request'],
  [`/v1/logs?cursor=${'%ff'.repeat(40)}`, 'invalid_request'],
  ['/v1/usage?groupBy=__proto__', 'invalid_request'],
  ['/v1/usage?groupBy=constructor,toString', 'invalid_request'],
  [`/v1/usage?groupBy=day');drop%20table%20accounts;--`, 'invalid_request'],
  [`/v1/usage?groupBy=${','.repeat(1_000)}`, 'invalid_request'],
  ['/v1/usage?from=0000-01-01&to=9999-12-31', 'invalid_request'],
  ['/v1/usage?from=0000-01-01&to=0000-02-01', 'ok'],
  ['/v1/usage?from=9999-12-01&to=9999-12-31T23:59:59-23:59', 'ok'],
  ['/v1/usage?from=2026-02-30', 'invalid_request'],
  [`/v1/lo\0gs`, 'invalid_request'],
  [`/v1/lo\x01gs`, 'invalid_request'],
  [`/v1/key\x80${CANARY}`, 'invalid_request'],
  ['http://example.com/v1/key', 'ok'],
  ['https://example.com:99999/v1/key?x=1', 'ok'],
  ['http://example.com', 'not_found'],
  ['http://example.com?/v1/key', 'not_found'],
  ['ftp://example.com/v1/key', 'not_found'],
  ['*', 'not_found'],
]

/** What can stand in a request's first line. */
export function lineCases(target: Target): HostileCase[] {
  const asked = (requestLine: string, answer: HostileCase['answer'], lines: string[] = []): HostileCase => ({
    name: requestLine.slice(0, 60),
    parts: [head(target, lines, requestLine)],
    answer,
  })
  return [
    ...PATHS.map(([path, answer]) => asked(`GET ${path} HTTP/1.1`, answer)),
    asked('CONNECT example.com:443 HTTP/1.1', 'method_not_allowed'),
    asked('CONNECT /v1/key HTTP/1.1', 'method_not_allowed'),
    asked('TRACE /v1/key HTTP/1.1', 'method_not_allowed'),
    asked('PROPFIND /v1/key HTTP/1.1', 'method_not_allowed'),
    asked('QUERY /v1/key HTTP/1.1', 'method_not_allowed'),
    asked('QUERY /nowhere HTTP/1.1', 'method_not_allowed'),
    asked(`PUT ${target.path} HTTP/1.1`, 'method_not_allowed'),
    { ...asked(`HEAD ${target.path}/x/y HTTP/1.1`, 'not_found'), isBodiless: true },
    asked(`${CANARY} /v1/key HTTP/1.1`, 'invalid_request'),
    asked('get /v1/key HTTP/1.1', 'invalid_request'),
    asked('OPTIONS * HTTP/1.1', 'not_found'),
    asked('GET /v1/key HTTP/1.2', 'invalid_request'),
    asked('GET /v1/key HTTP/1.1 HTTP/1.1', 'invalid_request'),
    asked('GET  /v1/key HTTP/1.1', 'ok'),
    asked('OPTIONS /v1/key HTTP/1.1', 'invalid_request', [
      'Origin: null',
      'Access-Control-Request-Method: GET',
      `Access-Control-Request-Headers: a\x01${CANARY}`,
    ]),
    { name: 'HTTP/0.9', parts: ['GET /v1/models\r\n\r\n'], answer: 'invalid_request' },
    { name: 'the preface of HTTP/2', parts: ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'], answer: 'invalid_request' },
    {
      name: 'a hello in TLS',
      parts: [Buffer.from('16030100c8010000c40303', 'hex')],
      answer: 'invalid_request',
    },
    {
      name: 'no host',
      parts: ['GET /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n'],
      answer: 'invalid_request',
    },
    { name: 'a hello and nothing more', parts: [''], options: { hangUp: true }, answer: 'closed' },
  ]
}

/** The same in the shape of OpenAI's Responses. */
export function responseMediaCases(target: Target): HostileCase[] {
  const part = (content: object) => ({ input: [{ role: 'user', content: [content] }] })
  const image = (url: string) => part({ type: 'input_image', image_url: url })
  const megabytes = `data:image/png;base64,${'A'.repeat(8_000_000)}`
  const output = (content: unknown) => ({
    input: [{ type: 'function_call_output', call_id: 'a', output: content }],
  })
  const cases: readonly (readonly [name: string, more: object, answer: HostileCase['answer']])[] = [
    ['eight megabytes of base64', image(megabytes), 'ok'],
    ['base64 with one wrong character at its end', image(`${megabytes}!AAA`), 'invalid_request'],
    ['an image that can hold a script', image('data:image/svg+xml;base64,AAAA'), 'invalid_request'],
    ['a file of this machine', image(`file:///etc/${CANARY}`), 'invalid_request'],
    ['a script', part({ type: 'input_file', file_url: `javascript:${CANARY}` }), 'invalid_request'],
    [
      'a file that MESH does not keep',
      part({ type: 'input_file', file_id: CANARY }),
      'unsupported_parameter',
    ],
    [
      'a thousand images in a result',
      output(Array(1_000).fill(image('data:image/png;base64,AAAA').input[0]?.content[0])),
      'invalid_request',
    ],
    ['results within results', output([{ type: 'function_call_output', output: CANARY }]), 'invalid_request'],
    [
      'an item that MESH does not keep',
      { input: [{ type: 'item_reference', id: CANARY }] },
      'unsupported_parameter',
    ],
    ['an item of no known type', { input: [{ type: CANARY }] }, 'unsupported_parameter'],
    ['a hosted tool', { tools: [{ type: `web_search_${CANARY}` }] }, 'unsupported_parameter'],
  ]
  return cases.map(([name, more, answer]) => ({
    name: `${name}, in a response`,
    parts: withBody(target, JSON.stringify({ ...target.good, ...more })),
    answer,
  }))
}

/** The same in Anthropic's shape. */
export function messageMediaCases(target: Target): HostileCase[] {
  const part = (content: object) => ({ messages: [{ role: 'user', content: [content] }] })
  const image = (data: string, media_type = 'image/png') =>
    part({ type: 'image', source: { type: 'base64', media_type, data } })
  const byUrl = (type: 'image' | 'document', url: string) => part({ type, source: { type: 'url', url } })
  const megabytes = 'A'.repeat(8_000_000)
  const cases: readonly (readonly [name: string, more: object, answer: HostileCase['answer']])[] = [
    ['eight megabytes of base64', image(megabytes), 'ok'],
    ['base64 with one wrong character at its end', image(`${megabytes}!AAA`), 'invalid_request'],
    ['an image that can hold a script', image('AAAA', 'image/svg+xml'), 'invalid_request'],
    ['a file of this machine', byUrl('document', `file:///etc/${CANARY}`), 'invalid_request'],
    ['a script', byUrl('image', `javascript:${CANARY}`), 'invalid_request'],
    ['a data URL', byUrl('image', `data:image/png;base64,${CANARY}`), 'invalid_request'],
    [
      'a file that MESH does not keep',
      part({ type: 'document', source: { type: 'file', file_id: CANARY } }),
      'unsupported_parameter',
    ],
    [
      'a thousand images in a result',
      part({
        type: 'tool_result',
        tool_use_id: 'a',
        content: Array(1_000).fill(image('AAAA').messages[0]?.content[0]),
      }),
      'invalid_request',
    ],
    [
      'results within results',
      part({
        type: 'tool_result',
        tool_use_id: 'a',
        content: [{ type: 'tool_result', tool_use_id: 'b', content: CANARY }],
      }),
      'invalid_request',
    ],
    ['a hosted tool', { tools: [{ type: `web_search_${CANARY}`, name: CANARY }] }, 'unsupported_parameter'],
  ]
  return cases.map(([name, more, answer]) => ({
    name: `${name}, in a message`,
    parts: withBody(target, JSON.stringify({ ...target.good, ...more })),
    answer,
  }))
}
