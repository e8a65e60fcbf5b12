// A real sign-in provider: the npm package oidc-provider, with its own pages to sign in and to consent.
// node provider.mjs PORT GATEWAY [GROUPS]: prints a line once it listens. GROUPS is JSON, by account.
import { createServer } from "node:http";
import Provider from "oidc-provider";

const [port, gateway, groups = "{}"] = process.argv.slice(2);
const groupsOf = JSON.parse(groups);
const issuer = `http://127.0.0.1:${port}`;
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "hitl",
      client_secret: "a secret of the test, long enough",
      redirect_uris: [`${gateway}/sign-in/oidc/callback`],
      post_logout_redirect_uris: [`${gateway}/sign-in`],
      backchannel_logout_uri: `${gateway}/sign-in/oidc/logout`,
      backchannel_logout_session_required: true,
    },
  ],
  claims: { openid: ["sub"], email: ["email", "email_verified"], groups: ["groups"] },
  scopes: ["openid", "email", "groups"],
  // By default it calls no address of this machine.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  cookies: { keys: ["a key of the test"] },
  features: { devInteractions: { enabled: true }, backchannelLogout: { enabled: true } },
  findAccount: (_context, id) => ({
    accountId: id,
    claims: () => ({
      sub: id,
      email: `${id}@example.org`,
      email_verified: true,
      groups: groupsOf[id] ?? ["acme-ops"],
    }),
  }),
});
createServer(provider.callback()).listen(Number(port), "127.0.0.1", () => console.log("listening"));
