// Ship a version after a person has approved it, in the SDK's generator API. async.ts is the same in the other API.

import { type Context, Resonate } from "@resonatehq/sdk";

const DAY_MS = 86_400_000;

function* deploy(ctx: Context, version: string): Generator<any, string, any> {
  yield* ctx.run(check, version);
  let approval: unknown;
  try {
    // Waits for a person; no process needs to run meanwhile. `hitl pending` shows `data` and needs `tags`.
    const asked = yield* ctx.promise({
      timeout: 30 * DAY_MS,
      data: { prompt: `Ship ${version}?` },
      tags: { "hitl:request": "1" },
    });
    approval = yield* asked;
  } catch (error) {
    return `${version} stays here: ${reason(error)}`;
  }
  return yield* ctx.run(ship, version, approval);
}

// A slow step. Its result is saved: it does not run again when the workflow resumes.
async function check(_ctx: Context, version: string): Promise<void> {
  console.log(`checking ${version}`);
}

// Ships the version. Only an approval gets here.
async function ship(_ctx: Context, version: string, approval: unknown): Promise<string> {
  return `${version} is out, approved with ${JSON.stringify(approval)}`;
}

// A rejection is an error with the reason. After the deadline there is no reason.
function reason(error: unknown): string {
  return error instanceof Error ? error.message : "not answered before the deadline";
}

const url = process.env.RESONATE_URL ?? "http://127.0.0.1:8001";
const resonate = new Resonate({ url, group: "typescript", token: process.env.RESONATE_TOKEN });
resonate.register(deploy);
console.log(`serving deploy for group typescript on ${url}`);
