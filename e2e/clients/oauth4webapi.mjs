// Every grant with oauth4webapi, step by step. ISSUER, RESOURCE, MACHINE_ID and MACHINE_SECRET come from the environment.
import * as oauth from 'oauth4webapi'
import { opens, done, shows, list, headers, end } from './person.mjs'

const { ISSUER, RESOURCE, MACHINE_ID, MACHINE_SECRET } = process.env
const redirect_uri = 'http://127.0.0.1:7777/callback'
const http = { [oauth.allowInsecureRequests]: true } // on this machine alone

// From the resource to its issuer, as a client that knows nothing but the resource's URL (RFC 9728).
const resource = await oauth.processResourceDiscoveryResponse(new URL(RESOURCE), await oauth.resourceDiscoveryRequest(new URL(RESOURCE), http))
const issuer = new URL(resource.authorization_servers[0])
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...http }))
done(`discovery ${as.issuer === ISSUER && resource.resource === RESOURCE}`)

// Everybody is shown the claims by the library's own RFC 9068 validator, too.
async function use(token) {
  const request = new Request(RESOURCE, { headers: { Authorization: `Bearer ${token}` } })
  const claims = await oauth.validateJwtAccessToken(as, request, RESOURCE, http)
  const answer = await oauth.protectedResourceRequest(token, 'POST', new URL(RESOURCE), new Headers(headers), list, http)
  return `${await shows(answer)} ${claims.tenant_id}`
}

async function register(metadata) {
  const answer = await oauth.dynamicClientRegistrationRequest(as, { client_name: 'oauth4webapi', redirect_uris: [redirect_uri], ...metadata }, http)
  return oauth.processDynamicClientRegistrationResponse(answer)
}

const app = await register({ token_endpoint_auth_method: 'none', grant_types: ['authorization_code', 'refresh_token'] })
const verifier = oauth.generateRandomCodeVerifier()
const state = oauth.generateRandomState()
const address = new URL(as.authorization_endpoint)
for (const [name, value] of Object.entries({
  client_id: app.client_id, redirect_uri, response_type: 'code', scope: 'customers:read knowledge:read', resource: RESOURCE, state,
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
})) address.searchParams.set(name, value)
const callback = oauth.validateAuthResponse(as, app, await opens(address), state)
const redeemed = await oauth.authorizationCodeGrantRequest(as, app, oauth.None(), callback, redirect_uri, verifier, { additionalParameters: { resource: RESOURCE }, ...http })
let tokens = await oauth.processAuthorizationCodeResponse(as, app, redeemed)
done(`authorization_code ${await use(tokens.access_token)}`)

const narrower = { additionalParameters: { scope: 'customers:read' }, ...http }
tokens = await oauth.processRefreshTokenResponse(as, app, await oauth.refreshTokenGrantRequest(as, app, oauth.None(), tokens.refresh_token, narrower))
done(`refresh_token ${await use(tokens.access_token)}`)

await oauth.processRevocationResponse(await oauth.revocationRequest(as, app, oauth.None(), tokens.refresh_token, http))
try {
  await oauth.processRefreshTokenResponse(as, app, await oauth.refreshTokenGrantRequest(as, app, oauth.None(), tokens.refresh_token, http))
  done('revocation lives on')
} catch (e) {
  done(`revocation ${e.error}`)
}

const machine = { client_id: MACHINE_ID }
const basic = oauth.ClientSecretBasic(MACHINE_SECRET)
const asked = await oauth.clientCredentialsGrantRequest(as, machine, basic, new URLSearchParams({ scope: 'customers:read', resource: RESOURCE }), http)
tokens = await oauth.processClientCredentialsResponse(as, machine, asked)
done(`client_credentials ${await use(tokens.access_token)}`)
const { active } = await oauth.processIntrospectionResponse(as, machine, await oauth.introspectionRequest(as, machine, basic, tokens.access_token, http))
done(`introspection ${active}`)

// DPoP (RFC 9449): the key is this program's alone. A server that wants a nonce is asked once more, which is all that a client has to know of nonces.
const bound = await register({ token_endpoint_auth_method: 'none', grant_types: ['authorization_code', 'refresh_token'], dpop_bound_access_tokens: true })
const DPoP = oauth.DPoP(bound, await oauth.generateKeyPair('ES256'))
let nonces = 0
async function again(ask) {
  try {
    return await ask()
  } catch (e) {
    if (!oauth.isDPoPNonceError(e)) throw e
    nonces++
    return ask()
  }
}
address.searchParams.set('client_id', bound.client_id)
address.searchParams.set('dpop_jkt', await DPoP.calculateThumbprint())
const answered = oauth.validateAuthResponse(as, bound, await opens(address), state)
tokens = await again(async () => oauth.processAuthorizationCodeResponse(as, bound,
  await oauth.authorizationCodeGrantRequest(as, bound, oauth.None(), answered, redirect_uri, verifier, { DPoP, ...http })))
async function prove(token) {
  const answer = await again(() => oauth.protectedResourceRequest(token, 'POST', new URL(RESOURCE), new Headers(headers), list, { DPoP, ...http }))
  return shows(answer)
}
done(`dpop ${tokens.token_type} ${await prove(tokens.access_token)}`)
tokens = await again(async () => oauth.processRefreshTokenResponse(as, bound,
  await oauth.refreshTokenGrantRequest(as, bound, oauth.None(), tokens.refresh_token, { DPoP, ...http })))
done(`dpop refreshed ${await prove(tokens.access_token)} after ${nonces} nonces`)
const stolen = await fetch(RESOURCE, { method: 'POST', headers: { ...headers, Authorization: `Bearer ${tokens.access_token}` }, body: list })
done(`dpop stolen ${stolen.status}`)

const device = await register({ redirect_uris: [], token_endpoint_auth_method: 'none', grant_types: ['urn:ietf:params:oauth:grant-type:device_code'] })
const parameters = new URLSearchParams({ scope: 'customers:read', resource: RESOURCE })
const begun = await oauth.processDeviceAuthorizationResponse(as, device, await oauth.deviceAuthorizationRequest(as, device, oauth.None(), parameters, http))
const poll = async () => oauth.processDeviceCodeResponse(as, device, await oauth.deviceCodeGrantRequest(as, device, oauth.None(), begun.device_code, http))
done(`device_code ${await poll().catch((e) => e.error)}`)
await opens(begun.verification_uri_complete)
tokens = await poll()
done(`device_code ${await use(tokens.access_token)}`)
end()
