// Every grant with openid-client. ISSUER, RESOURCE and the clients that the operator made, MACHINE, PARTY and MANAGED, come from the environment.
import * as client from 'openid-client'
import { opens, done, shows, list, headers, end } from './person.mjs'

const { ISSUER, RESOURCE, MACHINE_ID, MACHINE_SECRET, PARTY_ID, PARTY_SECRET, MANAGED_ID, MANAGED_SECRET, IDP_ISSUER, IDP_KEY } = process.env
const issuer = new URL(ISSUER)
const redirect_uri = 'http://127.0.0.1:7777/callback'
const options = { algorithm: 'oauth2', execute: [client.allowInsecureRequests] } // http, on this machine alone

async function tools(config, token) {
  return shows(await client.fetchProtectedResource(config, token, new URL(RESOURCE), 'POST', list, new Headers(headers)))
}

async function signIn(config, build) {
  const pkceCodeVerifier = client.randomPKCECodeVerifier()
  const expectedState = client.randomState()
  const address = await build(config, {
    redirect_uri,
    scope: 'customers:read knowledge:read',
    resource: RESOURCE,
    state: expectedState,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
  })
  return client.authorizationCodeGrant(config, await opens(address), { pkceCodeVerifier, expectedState }, { resource: RESOURCE })
}

const register = (metadata, authentication) =>
  client.dynamicClientRegistration(issuer, { client_name: 'openid-client', redirect_uris: [redirect_uri], ...metadata }, authentication, options)

// A public client: code, renewal, revocation, a request pushed ahead.
const app = await register({ token_endpoint_auth_method: 'none', grant_types: ['authorization_code', 'refresh_token'] }, client.None())
let tokens = await signIn(app, client.buildAuthorizationUrl)
done(`authorization_code ${await tools(app, tokens.access_token)}`)
tokens = await client.refreshTokenGrant(app, tokens.refresh_token, { resource: RESOURCE })
done(`refresh_token ${await tools(app, tokens.access_token)}`)
await client.tokenRevocation(app, tokens.refresh_token)
const after = await tools(app, tokens.access_token).then(() => 'lives on', (e) => e.cause?.[0]?.parameters?.error ?? String(e))
done(`revocation ${after}`)
tokens = await signIn(app, client.buildAuthorizationUrlWithPAR)
done(`pushed ${await tools(app, tokens.access_token)}`)

// An ordinary relying party, that knows nothing of MCP: who is it, and signing out again.
const party = await client.discovery(issuer, PARTY_ID, {}, client.ClientSecretBasic(PARTY_SECRET), { execute: options.execute })
const expectedNonce = client.randomNonce()
const pkceCodeVerifier = client.randomPKCECodeVerifier()
const asked = client.buildAuthorizationUrl(party, {
  redirect_uri, scope: 'openid profile email', nonce: expectedNonce, max_age: '3600',
  code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: 'S256',
})
tokens = await client.authorizationCodeGrant(party, await opens(asked), { pkceCodeVerifier, expectedNonce, maxAge: 3600, idTokenExpected: true })
const { sub, email, tenant_id } = tokens.claims()
const info = await client.fetchUserInfo(party, tokens.access_token, sub)
done(`openid ${email} ${tenant_id} ${info.email} ${info.name}`)
tokens = await client.refreshTokenGrant(party, tokens.refresh_token)
done(`renewed ${tokens.claims().sub === sub}`)
const left = await opens(client.buildEndSessionUrl(party, { id_token_hint: tokens.id_token, post_logout_redirect_uri: 'http://127.0.0.1:7777/out', state: 'bye' }))
done(`signed out ${left.pathname} ${left.searchParams.get('state')}`)

// An organisation's own identity provider lets a client in for ann, who is not asked (ID-JAG).
const managed = await client.discovery(issuer, MANAGED_ID, {}, client.ClientSecretBasic(MANAGED_SECRET), options)
const segment = (v) => Buffer.from(JSON.stringify(v)).toString('base64url')
const now = Math.floor(Date.now() / 1000)
const input = `${segment({ alg: 'ES256', typ: 'oauth-id-jag+jwt', kid: 'idp' })}.${segment({
  iss: IDP_ISSUER, sub: '00u1', aud: ISSUER, client_id: MANAGED_ID, jti: crypto.randomUUID(), iat: now, exp: now + 300,
  resource: RESOURCE, scope: 'customers:read knowledge:read', email: 'ann@acme.example', email_verified: true,
})}`
const idpKey = await crypto.subtle.importKey('jwk', JSON.parse(IDP_KEY), { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
const signature = await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, idpKey, Buffer.from(input))
tokens = await client.genericGrantRequest(managed, 'urn:ietf:params:oauth:grant-type:jwt-bearer', {
  assertion: `${input}.${Buffer.from(signature).toString('base64url')}`, resource: RESOURCE,
})
done(`jwt-bearer ${await tools(managed, tokens.access_token)} ${tokens.refresh_token ?? 'no refresh token'}`)

// The same client hands a narrower token on (RFC 8693).
const narrower = await client.genericGrantRequest(managed, 'urn:ietf:params:oauth:grant-type:token-exchange', {
  subject_token: tokens.access_token, subject_token_type: 'urn:ietf:params:oauth:token-type:access_token', scope: 'customers:read',
})
done(`token-exchange ${await tools(managed, narrower.access_token)} ${narrower.issued_token_type.split(':').at(-1)}`)

// A client that signs.
const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', pair.publicKey)
const signing = await register(
  { token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [{ kty, crv, x, y, kid: 'one', alg: 'ES256', use: 'sig' }] } },
  client.PrivateKeyJwt({ key: pair.privateKey, kid: 'one' }),
)
tokens = await signIn(signing, client.buildAuthorizationUrlWithPAR)
done(`private_key_jwt ${await tools(signing, tokens.access_token)}`)

// A machine.
for (const [name, authentication] of [['client_secret_basic', client.ClientSecretBasic], ['client_secret_post', client.ClientSecretPost]]) {
  const machine = await client.discovery(issuer, MACHINE_ID, {}, authentication(MACHINE_SECRET), options)
  tokens = await client.clientCredentialsGrant(machine, { scope: 'customers:read', resource: RESOURCE })
  const { active, scope } = await client.tokenIntrospection(machine, tokens.access_token)
  done(`${name} ${await tools(machine, tokens.access_token)} active=${active} ${scope}`)
}

// A program without a browser.
const device = await register(
  { redirect_uris: [], token_endpoint_auth_method: 'none', grant_types: ['urn:ietf:params:oauth:grant-type:device_code'] }, client.None(),
)
const begun = await client.initiateDeviceAuthorization(device, { scope: 'customers:read', resource: RESOURCE })
await opens(begun.verification_uri_complete)
tokens = await client.pollDeviceAuthorizationGrant(device, begun)
tokens = await client.refreshTokenGrant(device, tokens.refresh_token)
done(`device_code ${await tools(device, tokens.access_token)}`)
end()
