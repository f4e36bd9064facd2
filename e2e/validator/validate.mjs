// Validates the access token on standard input as servers written in TypeScript commonly do, and prints whom it belongs to.
// JWKS_URI, ISSUER and AUDIENCE come from the environment. Exit code 1 and the reason when it is invalid.
import jwt from 'jsonwebtoken'
import jwksClient from 'jwks-rsa'

const { JWKS_URI, ISSUER, AUDIENCE } = process.env
const client = jwksClient({ jwksUri: JWKS_URI, cache: true, rateLimit: true })

function getKey(header, callback) {
  client.getSigningKey(header.kid, (err, key) => callback(err, key?.getPublicKey()))
}

function verify(token) {
  return new Promise((resolve, reject) => {
    jwt.verify(token, getKey, { algorithms: ['RS256'], issuer: ISSUER, audience: AUDIENCE }, (err, claims) => (err ? reject(err) : resolve(claims)))
  })
}

let token = ''
for await (const chunk of process.stdin) token += chunk

try {
  const claims = await verify(token.trim())
  if (typeof claims.tenant_id !== 'string' || claims.tenant_id === '') throw new Error('tenant_id is not a string')
  if (!Array.isArray(claims.scopes) || !claims.scopes.every((s) => typeof s === 'string')) throw new Error('scopes is not an array of strings')
  console.log(JSON.stringify({ tenant_id: claims.tenant_id, scopes: claims.scopes }))
} catch (err) {
  console.log(err.message)
  process.exit(1)
}
