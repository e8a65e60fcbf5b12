// Reads promise values, one a line, and writes what the npm SDK's codec makes of each.

import { Codec } from "@resonatehq/sdk";
import { createInterface } from "node:readline";

const codec = new Codec();
for await (const line of createInterface({ input: process.stdin })) {
  const value = codec.decode(JSON.parse(line));
  const kind = value instanceof Error ? "error" : "json";
  console.log(JSON.stringify({ kind, text: kind === "error" ? String(value.message) : JSON.stringify(value) }));
}
