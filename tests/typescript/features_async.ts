// Workflows that the tests run, in the SDK's async API; features_generator.ts has the same in the other one.

import { type Context, Resonate } from "@resonatehq/sdk/async";
import { finish, handled, repeat, slow, whoami } from "./steps.ts";

const group = process.argv[2] ?? "typescript";
const resonate = new Resonate({ group, ttl: 4_000 });

// A timer.
async function nap(ctx: Context, ms: number): Promise<string> {
  await ctx.sleep(ms);
  return "rested";
}

// A call of another workflow, in whichever group and language.
async function call(ctx: Context, name: string, target: string, ...args: unknown[]): Promise<unknown> {
  try {
    return { got: await ctx.rpc(name, ...args, ctx.options({ target })) };
  } catch (error) {
    return { failed: handled(error) };
  }
}

// A call that nobody waits for.
async function leave(ctx: Context, name: string, target: string, ...args: unknown[]): Promise<string> {
  await ctx.detached(name, ...args, ctx.options({ target }));
  return "gone";
}

// Two questions at once, each of which may go unanswered.
async function two(ctx: Context, timeout: number): Promise<unknown[]> {
  const asked = [ctx.promise({ timeout }), ctx.promise({ timeout })];
  return await Promise.all(asked.map((one) => one.catch(handled)));
}

// A step that lasts until it is told to end, a question, a step.
async function careful(ctx: Context, folder: string): Promise<unknown> {
  const first = await ctx.run(slow, folder);
  const answer = await ctx.promise();
  return await ctx.run(finish, folder, first, answer);
}

// Only a step: which process did it.
async function where(ctx: Context): Promise<number> {
  return await ctx.run(whoami);
}

// What another workflow calls, and how it fails.
async function multiply(_ctx: Context, one: number, other: number): Promise<number> {
  if (other === 0) throw new Error("not by zero");
  return one * other;
}

// A step with a result of so many characters.
async function large(ctx: Context, folder: string, length: number): Promise<number> {
  return (await ctx.run(repeat, folder, length)).length;
}

for (const workflow of [nap, large, call, leave, two, careful, where, multiply]) resonate.register(workflow as any);
console.log("serving");
