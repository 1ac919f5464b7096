// A chat in the terminal: each line is a question, and the whole conversation goes along.
import { createInterface } from 'node:readline/promises'
import OpenAI from 'openai'

// Reads OPENAI_BASE_URL and OPENAI_API_KEY.
const client = new OpenAI()
const messages = []

async function answer(question) {
  messages.push({ role: 'user', content: question })
  const stream = await client.chat.completions.create({
    model: 'mesh/claude-sonnet-4.5',
    models: ['mesh/gpt-5-mini'], // who answers when the first one cannot
    messages,
    stream: true,
  })
  let said = ''
  for await (const { choices, usage, routing } of stream) {
    const text = choices[0]?.delta.content ?? ''
    said += text
    process.stdout.write(text)
    if (usage) process.stdout.write(`\n[${routing.selected.model}, ${usage.cost_details.total} USD]\n`)
  }
  messages.push({ role: 'assistant', content: said })
}

for await (const line of createInterface({ input: process.stdin })) {
  if (line.trim() === '') continue
  try {
    await answer(line)
  } catch (error) {
    // A stream that breaks off throws as well, and is not charged. The question is taken back, so that it can be asked again.
    messages.pop()
    console.error(`\n${error.code ?? error.name}: ${error.message}`)
    process.exitCode = 1
  }
}
