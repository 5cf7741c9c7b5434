// An issuer of oauth2-mock-server on the port of the first argument. Each line of its input is a JSON object: claims of a
// token, which it prints, or {"rotate": true}. A new key signs all later tokens.
import { createInterface } from "node:readline";
import { OAuth2Server } from "oauth2-mock-server";

const port = Number(process.argv[1]);
const server = new OAuth2Server();
await server.start(port, "127.0.0.1");
server.issuer.url = `http://127.0.0.1:${port}`;
let { kid } = await server.issuer.keys.generate("RS256");
for await (const line of createInterface({ input: process.stdin })) {
  const { rotate, ...claims } = JSON.parse(line);
  if (rotate) kid = (await server.issuer.keys.generate("RS256")).kid;
  const add = (header, payload) => Object.assign(payload, claims);
  console.log(await server.issuer.buildToken({ kid, scopesOrTransform: add }));
}
