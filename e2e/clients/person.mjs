// The person at the browser is the test: what is to be opened goes out as a line, and the address that the browser is sent to comes back as one.
import { createInterface } from 'node:readline'

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()

export async function opens(address) {
  console.log(`open ${address}`)
  const { value } = await lines.next()
  return new URL(value)
}

export const done = (what) => console.log(`done ${what}`)

export const list = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' })

export const headers = { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream', 'MCP-Protocol-Version': '2025-11-25' }

// shows says which tools an answer lists.
export async function shows(response) {
  if (response.status !== 200) throw new Error(`tools/list: ${response.status}`)
  return (await response.json()).result.tools.map((t) => t.name).join(',')
}

export const end = () => process.stdin.destroy()
