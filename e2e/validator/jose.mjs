// Verifies an access token of a Gatehouse issuer, or throws. npm install jose
import { createRemoteJWKSet, jwtVerify } from 'jose'

const { ISSUER, RESOURCE } = process.env // https://auth.example.com, and your server's own URL
const keys = createRemoteJWKSet(new URL(`${ISSUER}/oauth2/jwks`)) // keeps them, and fetches anew for a key that it has not seen

export async function verify(/** @type {string} */ token) {
  const { payload } = await jwtVerify(token, keys, {
    typ: 'at+jwt', // an ID token is no access token
    issuer: ISSUER,
    audience: RESOURCE,
    algorithms: ['ES256', 'RS256', 'EdDSA'], // or only the one that your resource has
    clockTolerance: 30,
    requiredClaims: ['exp', 'sub', 'client_id', 'tenant_id', 'grant_id', 'scopes'],
  })
  if (payload.cnf) throw new Error('the token is bound to a key and needs a proof of it') // RFC 9449 §7
  return { subject: payload.sub, client: payload.client_id, tenant: payload.tenant_id, scopes: payload.scopes }
}

let token = ''
for await (const chunk of process.stdin) token += chunk
console.log(JSON.stringify(await verify(token.trim())))
