// An agent that looks up orders: the model decides which tool it calls, the tools run here.
import { ChatOpenAI } from '@langchain/openai'
import { createAgent, tool } from 'langchain'
import { z } from 'zod'

const ORDERS = new Map([
  ['A-17', { status: 'sent', parcel: 'P-204' }],
  ['A-18', { status: 'open', parcel: null }],
])

const orderStatus = tool(
  ({ order }) => {
    console.log(`order_status(${order})`)
    return JSON.stringify(ORDERS.get(order) ?? { error: 'There is no such order.' })
  },
  {
    name: 'order_status',
    description: 'The status of an order by its number, as in A-17',
    schema: z.object({ order: z.string() }),
  },
)

const model = new ChatOpenAI({
  model: 'mesh/claude-sonnet-4.5',
  apiKey: process.env.OPENAI_API_KEY,
  configuration: { baseURL: process.env.OPENAI_BASE_URL },
  // MESH's own fields go along with every call: who answers when the first one cannot.
  modelKwargs: { models: ['mesh/gpt-5-mini'], route: 'fallback' },
})

const agent = createAgent({ model, tools: [orderStatus] })
const question = process.argv[2] ?? 'Use order_status: where is my order A-17?'
const { messages } = await agent.invoke(
  { messages: [{ role: 'user', content: question }] },
  // A model that calls tools for ever costs for ever.
  { recursionLimit: 10 },
)
console.log(messages.at(-1)?.text)
