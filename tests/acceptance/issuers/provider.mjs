// An issuer of oidc-provider on the port of the first argument. It gives the client `robot` tokens for the audience of the
// second argument, which a key of ECDSA signs.
import { exportJWK, generateKeyPair } from "jose";
import Provider from "oidc-provider";

const [, port, audience] = process.argv;
const key = await exportJWK((await generateKeyPair("ES256", { extractable: true })).privateKey);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys: [{ ...key, alg: "ES256", use: "sig" }] },
  clients: [
    { client_id: "robot", client_secret: "secret", grant_types: ["client_credentials"], redirect_uris: [], response_types: [],
      id_token_signed_response_alg: "ES256" },
  ],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      getResourceServerInfo: () => ({
        scope: "call",
        audience,
        accessTokenFormat: "jwt",
        accessTokenTTL: 600,
        jwt: { sign: { alg: "ES256" } },
      }),
    },
  },
});
provider.listen(Number(port), "127.0.0.1");
