// A client, not a worker: asks what its arguments say through the SDK's own client, and prints the answer as JSON.

import { Resonate } from "@resonatehq/sdk";

// The SDK's handles need it; node has it from version 22 on.
Promise.withResolvers ??= function <T>() {
  let resolve!: (value: T | PromiseLike<T>) => void;
  let reject!: (reason?: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    [resolve, reject] = [yes, no];
  });
  return { promise, resolve, reject };
};

const [what, id, ...rest] = process.argv.slice(2);
const resonate = new Resonate({ group: "clients" });
const target = resonate.options({ target: "typescript" });

async function here(_ctx: unknown, text: string): Promise<string> {
  return `${text}, here`;
}
resonate.register(here);

async function answer(): Promise<unknown> {
  switch (what) {
    case "rpc":
      return await resonate.rpc(id, rest[0], ...rest.slice(1).map((one) => JSON.parse(one)), target);
    case "run":
      return await resonate.run(id, here, rest[0]);
    case "get":
      return await (await resonate.get(id)).result();
    case "schedule":
      await resonate.schedule(id, rest[0], rest[1], target);
      return await resonate.schedules.get(id);
    case "unschedule":
      return (await resonate.schedules.delete(id)) ?? null;
    default:
      throw new Error(`it cannot ${what}`);
  }
}

try {
  console.log(JSON.stringify({ got: await answer() }));
} catch (error) {
  console.log(JSON.stringify({ failed: error instanceof Error ? error.message : String(error) }));
}
await resonate.stop();
