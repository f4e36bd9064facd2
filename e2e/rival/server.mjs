// A protected MCP server as it is commonly written in TypeScript: express, jsonwebtoken, jwks-rsa, and a new SDK server for every request that has only the
// tools of the token's scopes. ISSUER and JWKS come from the environment; it says its URL, the audience of its tokens, when it listens.
import express from 'express'
import jwt from 'jsonwebtoken'
import jwksClient from 'jwks-rsa'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { z } from 'zod'

const { ISSUER, JWKS } = process.env
let resource
const keys = jwksClient({ jwksUri: JWKS, cache: true, rateLimit: true })
const ended = new Set()

// No database: the answers are at hand.
const customers = { acme: { cus_acme_1001: { id: 'cus_acme_1001', name: 'Road Runner Logistics', email: 'dispatch@roadrunner.example' } } }

const customer = { id: z.string(), name: z.string(), email: z.string() }
const id = z.string().min(1).max(64)

const tools = [
  {
    name: 'read_customer', scope: 'customers:read',
    config: {
      title: 'Read a customer', description: 'Returns the id, name and e-mail address of one customer of your organisation.',
      inputSchema: { customer_id: id.describe("The customer's id, e.g. cus_acme_1001") }, outputSchema: customer, annotations: { readOnlyHint: true, idempotentHint: true },
    },
    run: (tenant) => async ({ customer_id }) => {
      const found = customers[tenant]?.[customer_id]
      if (!found) return { isError: true, content: [{ type: 'text', text: 'There is no customer of this id.' }] }
      return { content: [{ type: 'text', text: JSON.stringify(found) }], structuredContent: found }
    },
  },
  {
    name: 'update_customer', scope: 'customers:write',
    config: {
      title: 'Change a customer', description: 'Changes the name or the e-mail address of one customer of your organisation.',
      inputSchema: { customer_id: id, name: z.string().min(1).max(200).optional(), email: z.string().min(3).max(254).optional() }, outputSchema: customer,
    },
    run: () => unmeasured,
  },
  {
    name: 'create_ticket', scope: 'tickets:write',
    config: {
      title: 'Open a support ticket', description: 'Opens a support ticket about one customer of your organisation.',
      inputSchema: { customer_id: id, subject: z.string().min(1).max(200), body: z.string().max(10000).optional() },
    },
    run: () => unmeasured,
  },
  {
    name: 'search_knowledge_base', scope: 'knowledge:read',
    config: {
      title: 'Search the knowledge base', description: "Searches your organisation's articles for words and returns the best ones.",
      inputSchema: { query: z.string().min(1).max(500), limit: z.number().int().min(1).max(20).default(5) }, annotations: { readOnlyHint: true, idempotentHint: true },
    },
    run: () => unmeasured,
  },
]

const unmeasured = async () => ({ isError: true, content: [{ type: 'text', text: 'only read_customer is measured' }] })

function authenticate(req, res, next) {
  const [scheme, token] = (req.headers.authorization ?? '').split(' ')
  if (scheme !== 'Bearer' || !token) return res.status(401).json({ error: 'invalid_token' })
  const key = (header, done) => keys.getSigningKey(header.kid, (err, found) => done(err, found?.getPublicKey()))
  jwt.verify(token, key, { algorithms: ['RS256'], issuer: ISSUER, audience: resource }, (err, claims) => {
    if (err || !claims.exp || !claims.tenant_id || ended.has(claims.grant_id)) return res.status(401).json({ error: 'invalid_token' })
    req.claims = claims
    next()
  })
}

const app = express()
app.post('/mcp', express.json(), authenticate, async (req, res) => {
  const server = new McpServer({ name: 'rival', version: '1' })
  const scopes = new Set(req.claims.scope.split(' '))
  for (const tool of tools) if (scopes.has(tool.scope)) server.registerTool(tool.name, tool.config, tool.run(req.claims.tenant_id))
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined, enableJsonResponse: true })
  res.on('close', () => { transport.close(); server.close() })
  await server.connect(transport)
  await transport.handleRequest(req, res, req.body)
})
const listener = app.listen(0, '127.0.0.1', () => {
  resource = `http://127.0.0.1:${listener.address().port}/mcp`
  console.log(resource)
})
process.stdin.on('end', () => process.exit()).resume() // ends with whoever started it
