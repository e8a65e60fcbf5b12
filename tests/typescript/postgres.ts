// The workflow of examples/typescript, on PostgreSQL. The tag has the promise wait for the outside there too.

import { type Context, Resonate } from "@resonatehq/sdk/async";
import { PostgresNetwork } from "@resonatehq/sdk/postgres";

async function deploy(ctx: Context, version: string): Promise<string> {
  await ctx.run(check, version);
  let approval: unknown;
  try {
    approval = await ctx.promise({
      timeout: 86_400_000,
      data: { prompt: `Ship ${version}?`, to: ["ada"] },
      tags: { "hitl:request": "1", "resonate:external": "true" },
    });
  } catch (error) {
    return `${version} stays here: ${error instanceof Error ? error.message : "expired"}`;
  }
  await ctx.sleep(50);
  return await ctx.run(ship, version, approval);
}

async function check(_ctx: Context, version: string): Promise<void> {
  console.log(`checking ${version}`);
}

async function ship(_ctx: Context, version: string, approval: unknown): Promise<string> {
  return `${version} is out, approved with ${JSON.stringify(approval)}`;
}

const network = new PostgresNetwork({ connectionString: process.env.HITL_SERVER ?? "", group: "typescript" });
new Resonate({ network }).register(deploy);
console.log("serving deploy for group typescript");
