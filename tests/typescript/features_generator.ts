// Workflows that the tests run, in the SDK's generator API; features_async.ts has the same in the other one.

import { type Context, Resonate } from "@resonatehq/sdk";
import { finish, handled, slow, whoami } from "./steps.ts";

const group = process.argv[2] ?? "typescript";
const resonate = new Resonate({ group, ttl: 4_000 });

type Workflow<T> = Generator<any, T, any>;

function* nap(ctx: Context, ms: number): Workflow<string> {
  yield* ctx.sleep(ms);
  return "rested";
}

function* call(ctx: Context, name: string, target: string, ...args: unknown[]): Workflow<unknown> {
  try {
    return { got: yield* ctx.rpc(name, ...args, ctx.options({ target })) };
  } catch (error) {
    return { failed: handled(error) };
  }
}

function* leave(ctx: Context, name: string, target: string, ...args: unknown[]): Workflow<string> {
  yield* ctx.detached(name, ...args, ctx.options({ target }));
  return "gone";
}

function* two(ctx: Context, timeout: number): Workflow<unknown[]> {
  const asked = [yield* ctx.promise({ timeout }), yield* ctx.promise({ timeout })];
  const answers: unknown[] = [];
  for (const one of asked) {
    try {
      answers.push(yield* one);
    } catch (error) {
      answers.push(handled(error));
    }
  }
  return answers;
}

function* careful(ctx: Context, folder: string): Workflow<unknown> {
  const first = yield* ctx.run(slow, folder);
  const answer = yield* yield* ctx.promise();
  return yield* ctx.run(finish, folder, first, answer);
}

function* where(ctx: Context): Workflow<number> {
  return yield* ctx.run(whoami);
}

function* multiply(_ctx: Context, one: number, other: number): Workflow<number> {
  if (other === 0) throw new Error("not by zero");
  return one * other;
}

for (const workflow of [nap, call, leave, two, careful, where, multiply]) resonate.register(workflow as any);
console.log("serving");
